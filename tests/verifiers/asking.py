"""A judge that says what a test wants, and what all verifiers that ask one are held to."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import pytest
from tenacity import wait_none

from ponder.context import Setup
from ponder.errors import VerifierError
from ponder.ledger import Budget, BudgetExhausted
from ponder.samplers.scripted import Scripted
from ponder.search.best_of_n import BestOfN
from ponder.types import Cost, Problem, Score, Step, Trace
from ponder.verifiers.check import check

ODD = "{question} {{}} \\boxed{7} <think> %s $1 Is the answer correct (Yes/No)? Yes\n求解 🧮 ± \x00"
"""Text that a careless prompt or parser trips over."""


class Talker(Scripted):
    """Says `says(trace, seed)`, gives choices `thinks(trace, suffix, choices)`, and keeps what it was asked."""

    def __init__(
        self,
        says: Callable[[Trace, int], Step | str] = lambda trace, seed: "Fine.",
        thinks: Callable[[Trace, str, Sequence[str]], Sequence[float]] = lambda t, s, choices: [1.0] * len(choices),
    ) -> None:
        super().__init__(says)
        self.thinks = thinks
        self.asked: list[Trace] = []
        self.probed: list[tuple[Trace, str, tuple[str, ...]]] = []

    def _draw(self, trace: Trace, index: int, seed: int) -> Any:
        self.asked.append(trace)
        return super()._draw(trace, index, seed)

    def _probabilities(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Sequence[float]:
        self.probed.append((trace, suffix, tuple(choices)))
        return self.thinks(trace, suffix, choices)


class Patterned(Talker):
    """Keeps the patterns of its replies."""

    def __init__(self) -> None:
        super().__init__()
        self.patterns: list[str | None] = []

    def _draw(self, trace: Trace, index: int, seed: int) -> Any:
        self.patterns.append(self._picking.get("pattern"))
        return super()._draw(trace, index, seed)


class Failing(Talker):
    """Fails so often, then talks."""

    def __init__(self, failures: int, *given: Any) -> None:
        super().__init__(*given)
        self.failures = [failures]

    async def sample(self, *given: Any, **named: Any) -> Any:
        self._fail()
        return await super().sample(*given, **named)

    async def probe(self, *given: Any, **named: Any) -> Any:
        self._fail()
        return await super().probe(*given, **named)

    def _fail(self) -> None:
        self.failures[0] -= 1
        if self.failures[0] >= 0:
            raise RuntimeError("out of memory")


def solution(*texts: str, question: str = "What is 2 + 3?") -> Trace:
    """A finished trace of such steps."""
    steps = [Step(text, tuple(map(ord, text))) for text in texts]
    if steps:
        steps[-1] = Step(steps[-1].text, (*steps[-1].token_ids, 0), why="eos")
    return Trace(Problem(question, question), tuple(steps))


def scored(verifier: Any, *traces: Trace) -> list[Score]:
    """What a verifier says of traces, in one batch."""
    scores: list[Score] = asyncio.run(verifier.score(list(traces)))
    return scores


AWKWARD = [
    solution(),
    solution(""),
    solution("2 + 3 = 5.\n\n", "So \\boxed{5}."),
    solution("2 + 3 = 5.\n\n", "So \\boxed{5}.", ""),
    solution("", "\n\n", "2 + 3 = 6.\n\n", " ", "So \\boxed{6}."),
    solution(ODD, ODD + "\n\n", question=ODD),
]


def holds(make: Callable[[Talker], Any], says: Callable[[Trace, int], Step | str]) -> None:
    """Holds a verifier to what all of them promise; `says` is a judge that can be read most of the time."""
    check(make(Talker(says)))
    check(make(Talker(says)), traces=AWKWARD)
    together = scored(make(Talker(says)), *AWKWARD)
    for trace, score in zip(AWKWARD, together, strict=True):
        (alone,) = scored(make(Talker(says)), trace)
        assert (alone, alone.steps, alone.unread) == (score, score.steps, score.unread)  # and seeds are made of texts
        assert len(score.steps) in (0, len(trace))
        assert all(0 <= step <= 1 for step in score.steps)
        assert float(alone) == 0.5 or trace.text.strip()
        assert_quoted(make, says, trace)
    bill_is_what_the_judge_emitted(make, says)
    searches(make, says)
    failures(make, says)


def bill_is_what_the_judge_emitted(make: Callable[[Talker], Any], says: Callable[[Trace, int], Step | str]) -> None:
    judge = Talker(says)
    scores = scored(make(judge), *AWKWARD, *AWKWARD)
    cost = sum((score.cost for score in scores), Cost())
    assert cost.new_tokens == judge.new_tokens > 0
    assert cost.prompt_tokens == judge.prompt_tokens > 0
    assert cost.verifier_tokens == cost.new_tokens + cost.prompt_tokens
    assert sum((score.cost for score in scores[len(AWKWARD) :]), Cost()) == Cost()  # equal traces are billed once
    assert scores[len(AWKWARD) :] == scores[: len(AWKWARD)]


def assert_quoted(make: Callable[[Talker], Any], says: Callable[[Trace, int], Step | str], trace: Trace) -> None:
    """A quote is kept: with a ceiling just there it is scored, with one below nobody is asked."""
    verifier = make(Talker(says))
    quote = verifier.quote(trace)
    (score,) = scored(verifier, trace)
    for name, count in score.cost.asdict().items():
        assert count <= getattr(quote, name), name

    async def within(budget: Budget) -> Talker:
        judge = Talker(says)
        setup = Setup(samplers={"policy": Scripted(["x"])}, verifiers={"verifier": make(judge)}, budget=budget)
        ctx = setup.context(trace.problem, 0)
        try:
            (value,) = await ctx.score([trace])
            assert value == float(score)
            assert ctx.ledger.total.new_tokens == judge.new_tokens
        except BudgetExhausted:
            assert not judge.requests
            assert not judge.probes
            raise
        return judge

    for name in ("new_tokens", "prompt_tokens", "verifier_tokens"):
        if most := getattr(quote, name):
            asyncio.run(within(Budget(**{name: most})))
            if most > 1:
                with pytest.raises(BudgetExhausted):
                    asyncio.run(within(Budget(**{name: most - 1})))


def searches(make: Callable[[Talker], Any], says: Callable[[Trace, int], Step | str]) -> None:
    """It serves best-of-N, whose scores are on the rows and on the bill."""

    async def search() -> None:
        judge = Talker(says)
        setup = Setup(
            samplers={"policy": Scripted(["One.\n\nIt is \\boxed{1}.", "Two.\n\nIt is \\boxed{2}."])},
            verifiers={"verifier": make(judge)},
        )
        ctx = setup.context(Problem("p", "Which?"), 0)
        population = await BestOfN(4)(Problem("p", "Which?"), ctx)
        scores = await ctx.score(population.traces)
        assert scores.shape == (4,)
        assert ((scores >= 0) & (scores <= 1)).all()
        assert ctx.ledger.spent["verifier"].new_tokens == judge.new_tokens > 0
        assert ctx.ledger.spent["verifier"].verifier_calls == 2

    asyncio.run(search())


def failures(make: Callable[[Talker], Any], says: Callable[[Trace, int], Step | str]) -> None:
    """A judge that fails once is asked again, one that always fails is named."""
    trace = solution("2 + 3 = 5.")
    (well,) = scored(make(Talker(says)), trace)
    (again,) = scored(make(Failing(1, says)), trace)
    assert (again, again.steps, again.unread) == (well, well.steps, well.unread)
    with (
        patch("ponder.verifiers.judging.wait_exponential", lambda **given: wait_none()),
        pytest.raises(VerifierError, match="the judge failed: RuntimeError: out of memory"),
    ):
        scored(make(Failing(10**9, says)), trace)
