"""A solution with second thoughts is judged as it stands."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.tasks.arithmetic import Arithmetic, ArithmeticOracle
from ponder.types import Cost, Problem, Score, Step, Trace
from ponder.verifiers.settled import Settled

PROBLEM = Problem("toy", "79;a*6;b+9?")
FIRST = "a79*6=75\n\nb75+9=84\n\n\\boxed{84}"
SECOND = FIRST + "\n\n?a\n\na79*6=74\n\nb74+9=83\n\n\\boxed{83}"


def solution(text: str, why: Any = "eos") -> Trace:
    return Trace(PROBLEM, (Step(text, why=why),))


def scored(verifier: Any, *traces: Trace) -> list[Score]:
    async def ask() -> list[Score]:
        return list(await verifier.score(traces))

    return asyncio.run(ask())


def test_what_was_taken_back_is_not_seen() -> None:
    verifier = Settled(ArithmeticOracle(), Arithmetic())
    scores = scored(verifier, solution(FIRST), solution(SECOND))
    assert [float(score) for score in scores] == [0.0, 1.0]
    assert [float(score) for score in ArithmeticOracle().score([solution(SECOND)])] == [0.0]
    assert all(score.steps == () for score in scores)
    assert verifier.range == (0.0, 1.0)


def test_the_bill_is_the_inner_verifiers_for_what_it_read() -> None:
    class Reader:
        def score(self, traces: Any) -> list[Score]:
            return [Score(0.5, (), Cost(verifier_tokens=len(trace.text))) for trace in traces]

        def quote(self, trace: Trace) -> Cost:
            return Cost(verifier_tokens=len(trace.text))

    verifier = Settled(Reader(), Arithmetic())
    (score,) = scored(verifier, solution(SECOND))
    assert score.cost.verifier_tokens == len(FIRST) == verifier.quote(solution(SECOND)).verifier_tokens


def test_a_task_without_second_thoughts_is_refused() -> None:
    with pytest.raises(UserError, match=r"verifier\.task=str"):
        Settled(ArithmeticOracle(), "gsm8k")
