"""Solve-Detect-Verify: stop a solution that is complete, verify it, solve anew where it fails (arXiv 2505.11966)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ponder.context import Context, gather
from ponder.search.arguments import number, whole
from ponder.search.asking import answering, follow_up, told
from ponder.types import Population, Problem, Score, Trace

HESITATIONS = ("wait", "hmm", "alternatively", "but", "let me check", "double-check", "however", "hold on")
COMPLETE = "\n\nIs the solution above complete, with its final answer found? Reply Yes or No: "
REFINEMENT = """{question}

An earlier attempt:
{solution}

A reader has checked it: {feedback} Solve the question anew, without that mistake."""


@dataclass(frozen=True)
class SolveDetectVerify:
    """Solve-Detect-Verify (Zhong et al. 2025, arXiv 2505.11966); N is the number of chains, which vote.

    Solve: each chain goes on step by step. Detect: where a step holds a word of hesitation, the model is probed
    whether the solution is complete; if Yes is likelier than No its thought is ended and it answers. Verify: a verifier
    scores the solution; one below `threshold` is solved anew with the first step that was found wrong, `rounds` times
    at most. With `verifier=flexive` this is the paper's pipeline.

    The paper's keywords, probe and number of refinements were not found: ours are set here. The hesitation is looked
    for when a step has ended, not inside it; the feedback names the wrong step without the verifier's own words.

    Args:
        n: chains, from 1.
        rounds: refinements of a chain, from 0, which leaves the verifier out.
        threshold: a solution is accepted from this score on.
        hesitations: words that make it look, in any case.
        complete: what is appended to ask; it is no part of the solution.
        answer: what ends the thought of a complete solution.

    Raises:
        UserError: an argument out of range.
    """

    n: int
    rounds: int = 1
    threshold: float = 0.5
    hesitations: Sequence[str] = HESITATIONS
    complete: str = COMPLETE
    answer: str = "\n</think>\n\nFinal Answer:"

    def __post_init__(self) -> None:
        whole("n", self.n)
        whole("rounds", self.rounds, least=0)
        number("threshold", self.threshold, "(-inf, inf)")

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Solves n times, each as often as the verifier asks for; see `ponder.protocols.Strategy`."""
        traces = await self._solved([Trace(problem)] * self.n, (), ctx)
        for attempt in range(1, self.rounds + 1):
            scores = await ctx.score(traces)
            wrong = [i for i, score in enumerate(scores) if score < self.threshold]
            if not wrong:
                break
            started = [Trace(self._refinement(problem, traces[i], attempt, ctx)) for i in wrong]
            kept = [trace for i, trace in enumerate(traces) if i not in wrong]
            redone = dict(zip(wrong, await self._solved(started, kept, ctx), strict=True))
            traces = [answering(problem, redone[i]) if i in redone else trace for i, trace in enumerate(traces)]
            ctx.note("refined", len(wrong))
        population = Population.equal(traces)
        ctx.report(population)
        return population

    async def _solved(self, traces: list[Trace], others: Sequence[Trace], ctx: Context) -> list[Trace]:
        """Solve and detect: the traces at their end; what there is of all chains is reported on the way."""
        looking = [True] * len(traces)
        while any(trace.alive for trace in traces):
            traces = await ctx.step(traces)
            ctx.report(Population.equal([*others, *traces]))
            asked = [i for i, trace in enumerate(traces) if looking[i] and trace.alive and self._hesitates(trace)]
            found = await gather(ctx.probe(traces[i], self.complete, ("Yes", "No")) for i in asked)
            for i, (yes, no) in zip(asked, found, strict=True):
                if yes > no:
                    traces[i], looking[i] = told(traces[i], self.answer), False
                    ctx.note("stopped early", 1)
        return traces

    def _hesitates(self, trace: Trace) -> bool:
        last = trace.steps[-1].text.lower()
        return any(word in last for word in self.hesitations)

    def _refinement(self, problem: Problem, trace: Trace, attempt: int, ctx: Context) -> Problem:
        """The question to solve anew, with what the verifier found."""
        score = ctx.known_score(trace)
        steps = score.steps if isinstance(score, Score) else ()
        first = next((i for i, one in enumerate(steps) if one < self.threshold), None)
        feedback = "it is wrong." if first is None else f"step {first + 1} is wrong: {trace.steps[first].text.strip()}"
        told_of = {"question": problem.prompt, "solution": trace.text.strip(), "feedback": feedback}
        return follow_up(problem, REFINEMENT.format(**told_of), f"refinement {attempt}")
