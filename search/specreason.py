"""SpecReason: a small model drafts the steps, the policy judges each with one token (arXiv 2504.07891)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ponder.context import Context, gather
from ponder.errors import UserError
from ponder.search.arguments import choice, number, whole
from ponder.search.asking import question
from ponder.types import Population, Problem, Trace

PROMPT = """Below are a question and the steps of a solution so far. Judge the last step alone, and by its correctness \
alone: are its facts and its arithmetic right, and does it follow from the question and the steps before it? Style, \
wording and how useful it is do not count. Give it a score from 0 (wrong) to 9 (certainly right).

Question:
{question}

Steps before:
{before}

Last step:
{step}"""

SUFFIX = "The score of the last step is: "
DIGITS = tuple("0123456789")
Ready = list[Trace | None]
"""What the draft has written ahead of each trace."""


@dataclass(frozen=True)
class SpecReason:
    """SpecReason (Pan et al. 2025, arXiv 2504.07891); N is the number of solutions, which vote.

    The draft proposes a step. A judge scores it from 0 to 9; from `threshold` on it is kept, else the policy writes the
    step, which is kept unjudged. The judge is a model that is probed for one digit, or a process reward model. A
    solution ends with its end of sequence, when it has an answer, when it repeats a step, or at the run's limits on
    steps and tokens, which count kept steps only.

    With `ahead` the draft goes on from its own step while that is judged; where the step is rejected, what was drafted
    ahead is thrown away, and billed.

    The row's notes say how many steps were drafted, accepted, and written by the policy instead, and in tokens of which
    kind; the acceptance rate, and which share of the solutions' tokens the policy was saved. The ledger has drafts
    under the role "draft".

    Args:
        n: solutions, from 1.
        threshold: a step is accepted from this score on, in [0, 9]; the paper takes 3 to 9. At 0 nobody is asked.
        judge: the role that is probed, "policy" in the paper; or "verifier", whose score in [0, 1] counts ninefold.
        digit: of a probe: "greedy", the likeliest digit, or "expected", the mean under their probabilities.
        first_steps: the policy writes so many steps before the draft may.
        ahead: steps that the draft goes ahead while it is judged: 0 or 1.
        draft: the role that drafts.
        answers: a step with one of these holds the answer, and is the last.

    Raises:
        UserError: an argument out of range, or nobody is bound to a role.
    """

    n: int
    threshold: float = 7.0
    judge: str = "policy"
    digit: str = "greedy"
    first_steps: int = 0
    ahead: int = 0
    draft: str = "draft"
    answers: Sequence[str] = ("\\boxed{", "Answer:", "ANSWER:")

    def __post_init__(self) -> None:
        whole("n", self.n)
        number("threshold", self.threshold, "[0, 9]")
        choice("digit", self.digit, ("greedy", "expected"))
        whole("first_steps", self.first_steps, least=0)
        if self.ahead not in (0, 1):
            raise UserError(f"search.ahead={self.ahead!r} is out of range", "allowed: 0, 1")

    @property
    def instructed(self) -> str:
        """The role that is asked in words, and so needs a model that follows instructions."""
        return self.judge

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Drafts, judges and mends n solutions, a step at a time; see `ponder.protocols.Strategy`."""
        traces = [Trace(problem)] * self.n
        ready: Ready = [None] * self.n
        while any(trace.alive for trace in traces):
            if len(traces[0]) < self.first_steps:
                traces = await ctx.step(traces)
            else:
                traces, ready = await self._round(traces, ready, ctx)
            traces = [self._stopped(trace) for trace in traces]
            population = Population.equal(traces)
            ctx.report(population)
        return population

    async def _round(self, traces: list[Trace], ready: Ready, ctx: Context) -> tuple[list[Trace], Ready]:
        """One step of each trace, drafted or mended, and what the draft has ready for the next."""
        drafts = await self._drafted(traces, ready, ctx)
        scores = list[float]()
        further: Ready = [None] * len(drafts)

        async def judge() -> None:
            scores.extend(await self._scores(traces, drafts, ctx))

        async def go_ahead() -> None:
            further[:] = await ctx.step(drafts, role=self.draft)

        await gather([judge(), go_ahead()] if self.ahead else [judge()])
        accepted = [score >= self.threshold for score in scores]
        mended = iter(await ctx.step([old for old, good in zip(traces, accepted, strict=True) if not good]))
        moved = [new if good else next(mended) for new, good in zip(drafts, accepted, strict=True)]
        self._note(traces, drafts, moved, ctx)
        return moved, [draft if good else None for draft, good in zip(further, accepted, strict=True)]

    async def _drafted(self, traces: Sequence[Trace], ready: Ready, ctx: Context) -> list[Trace]:
        """The draft's next step of each trace, where it is not ready yet; ended traces as they are."""
        known = [draft if trace.alive else trace for trace, draft in zip(traces, ready, strict=True)]
        wanted = [trace for trace, draft in zip(traces, known, strict=True) if draft is None]
        made = iter(await ctx.step(wanted, role=self.draft))
        return [next(made) if draft is None else draft for draft in known]

    async def _scores(self, traces: Sequence[Trace], drafts: Sequence[Trace], ctx: Context) -> Sequence[float]:
        """From 0 to 9 for each draft; 9 for what had ended before."""
        if self.threshold <= 0:
            return [9.0] * len(drafts)  # whatever the judge would say
        new = [draft for trace, draft in zip(traces, drafts, strict=True) if trace.alive]
        if self.judge == "verifier":
            found = iter(9.0 * await ctx.score(new))
        else:
            distinct = list(dict.fromkeys(new))
            known = dict(zip(distinct, await gather(self._probed(draft, ctx) for draft in distinct), strict=True))
            found = iter([known[draft] for draft in new])
        return [float(next(found)) if trace.alive else 9.0 for trace in traces]

    async def _probed(self, draft: Trace, ctx: Context) -> float:
        """The judge's digit for the last step."""
        before = "".join(step.text for step in draft.steps[:-1]).strip() or "(none)"
        said = {"question": draft.problem.prompt, "before": before, "step": draft.steps[-1].text.strip()}
        asked = Trace(question(draft.problem, PROMPT.format(**said), "judge"))
        found = await ctx.probe(asked, SUFFIX, DIGITS, role=self.judge)
        if self.digit == "greedy" or not found.sum() > 0:
            return float(np.argmax(found)) if found.any() else 0.0  # no digit at all is no praise
        return float(found @ np.arange(10) / found.sum())

    def _stopped(self, trace: Trace) -> Trace:
        """The trace, ended where it has its answer or repeats itself."""
        if not trace.alive or not trace.steps:
            return trace
        last = trace.steps[-1]
        if any(mark in last.text for mark in self.answers):
            return replace(trace, steps=(*trace.steps[:-1], replace(last, why="eos")))
        return replace(trace, closed=len(trace) > 2 and last.text == trace.steps[-2].text)

    def _note(self, traces: Sequence[Trace], drafts: Sequence[Trace], moved: Sequence[Trace], ctx: Context) -> None:
        """Counts steps and tokens by who wrote them and what became of them."""
        for old, draft, new in zip(traces, drafts, moved, strict=True):
            if old.alive:
                good, drafted, kept = new is draft, len(draft.steps[-1].token_ids), len(new.steps[-1].token_ids)
                ctx.note("drafted steps", 1)
                ctx.note("accepted steps", good)
                ctx.note("rejected steps", not good)
                ctx.note("accepted tokens", drafted * good)
                ctx.note("rejected tokens", drafted * (not good))
                ctx.note("policy tokens", kept * (not good))
        noted, written = ctx.notes, sum(len(trace.token_ids) for trace in moved)
        noted["acceptance rate"] = noted["accepted steps"] / noted["drafted steps"]
        noted["saved token rate"] = noted["accepted tokens"] / max(1, written)
