"""Minimum Bayes risk: sums by hand, evidence, calls, costs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ponder.context import Context, Setup
from ponder.errors import UserError, VerifierError
from ponder.ledger import Budget, BudgetExhausted, Ledger
from ponder.samplers.scripted import Scripted
from ponder.search.best_of_n import BestOfN
from ponder.search.particle_filtering import ParticleFiltering
from ponder.types import Cost, Problem, Step, Trace
from ponder.verifiers.check import acheck
from ponder.verifiers.mbr import MBR, exact, sequence, token_f1

PROBLEM = Problem("q", "What is 2 + 2? {0} {question}")


def solution(text: str) -> Trace:
    return Trace(PROBLEM, (Step(text, tuple(map(ord, text)), why="eos"),))


TABLE = {"ab": 0.5, "ba": 0.4, "ac": 0.1, "ca": 0.2, "bc": 0.9, "cb": 0.7, "aE": 0.3, "bE": 0.8, "cE": 0.6}
"""Utility of a solution (first) against a text of the pool (second)."""


def utility(text: str, other: str) -> float:
    return TABLE[text + other]


class Reader(Scripted):
    """Says Yes as the table has it, and writes evidence."""

    def __init__(self, evidence: Any = ("E",), lost: Sequence[str] = ()) -> None:
        super().__init__(evidence)
        self.lost = lost
        self.pairs: list[str] = []

    def _probabilities(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Sequence[float]:
        prompt = trace.problem.prompt
        other, text = re.findall(r"\[The Begin of Response \d\]\n(.*?)\n\[The End", prompt, flags=re.DOTALL)
        self.pairs.append(text + other)
        assert (suffix, list(choices)) == ("Answer:", [" Yes", " No"])
        yes = TABLE.get(text + other, 0.5)
        return [0.0, 0.0] if text + other in self.lost else [yes / 2, (1 - yes) / 2]


@pytest.mark.parametrize("make", [lambda: MBR(utility=utility), lambda: MBR(Reader())])
async def test_a_pool_by_hand(make: Any) -> None:
    expected = {"a": 0.3, "b": 0.65, "c": 0.45}  # (.5 + .1) / 2, (.4 + .9) / 2, (.2 + .7) / 2
    for order in itertools.permutations("abc"):
        scores = await make().compare([solution(text) for text in order])
        assert scores == pytest.approx([expected[text] for text in order])


async def test_evidence_joins_the_pool_and_is_never_selected() -> None:
    judge = Reader()
    scores = await MBR(judge, evidence=3, language="Français").compare([solution(text) for text in "abc"])
    # Three equal answers in evidence count three times.
    assert scores == pytest.approx([(0.6 + 0.9) / 5, (1.3 + 2.4) / 5, (0.9 + 1.8) / 5])
    assert judge.requests == 1
    assert sorted(judge.pairs) == sorted(TABLE)
    assert [score.unread for score in scores] == [0, 0, 0]
    total = sum((score.cost for score in scores), Cost())
    assert (total.new_tokens, total.prompt_tokens) == (judge.new_tokens, judge.prompt_tokens)
    assert total.verifier_tokens == judge.new_tokens + judge.prompt_tokens


async def test_evidence_is_asked_for_in_its_language_with_the_question_verbatim() -> None:
    asked: list[Problem] = []

    def answer(trace: Trace, seed: int) -> str:
        asked.append(trace.problem)
        return "E"

    judge = Reader(answer)
    await MBR(judge, evidence=2, language="中文").compare([solution("a"), solution("b")])
    assert asked[0].prompt == f"{PROBLEM.prompt}\n\nGive your whole answer in this language: 中文."
    assert asked[0].verbatim


@pytest.mark.parametrize(("n", "m"), [(1, 0), (1, 3), (4, 0), (4, 3), (6, 2)])
async def test_calls_are_n_times_n_minus_1_plus_m(n: int, m: int) -> None:
    written = itertools.count()
    judge = Reader(lambda trace, seed: f"evidence {next(written)}")
    await MBR(judge, evidence=m).compare([solution(f"text {i}") for i in range(n)])
    assert judge.probes == n * (n - 1 + m)
    assert judge.requests == bool(m)
    calls = itertools.count()
    await MBR(utility=lambda text, other: float(next(calls) < 0)).compare([solution(f"text {i}") for i in range(n)])
    assert next(calls) == n * (n - 1)


async def test_copies_support_each_other_unasked() -> None:
    """The pool a, a, b: a meets a copy (1) and b; b meets a twice."""
    judge = Reader()
    copy = Trace(PROBLEM, (Step("a"), Step(" \n", why="eos")))
    scores = await MBR(judge).compare([solution("a"), solution("b"), copy])
    assert scores == pytest.approx([(1 + 0.5) / 2, 0.4, (1 + 0.5) / 2])
    assert sorted(judge.pairs) == ["ab", "ba"]
    answers = ["4", "4", "5", "4", "five"]
    scores = await MBR(utility=exact).compare([solution(text) for text in answers])
    assert scores == [0.5, 0.5, 0, 0.5, 0]  # with exact matches it is a majority vote


async def test_evidence_equal_to_a_solution_is_a_copy_of_it() -> None:
    judge = Reader(["b"])
    scores = await MBR(judge, evidence=1).compare([solution("a"), solution("b")])
    assert scores == pytest.approx([0.5, (1 + 0.4) / 2])
    assert sorted(judge.pairs) == ["ab", "ba"]


async def test_what_cannot_be_read_is_counted_and_left_out() -> None:
    judge = Reader(lost=["ab", "ca", "cb"])
    scores = await MBR(judge).compare([solution(text) for text in "abc"])
    assert scores == pytest.approx([0.1, 0.65, 0])
    assert [score.unread for score in scores] == [1, 0, 2]


async def test_evidence_that_was_cut_or_is_silent_is_counted_and_left_out() -> None:
    written = itertools.cycle(["E", "much too long", ""])
    judge = Reader(lambda trace, seed: next(written))
    scores = await MBR(judge, evidence=3, max_tokens=5).compare([solution("a"), solution("b")])
    assert scores == pytest.approx([(0.5 + 0.3) / 2, (0.4 + 0.8) / 2])
    assert [score.unread for score in scores] == [2, 2]


async def test_silence_is_neither_scored_nor_part_of_the_pool() -> None:
    judge = Reader()
    silent = [Trace(PROBLEM), Trace(PROBLEM, (Step("", (0,), why="eos"),))]
    verifier = MBR(judge, evidence=1, neutral=0.3)
    assert await verifier.compare(silent) == [0.3, 0]
    assert verifier.quote(silent) == Cost()
    assert judge.requests == 0
    assert await MBR(judge, neutral=0.3).compare([*silent, solution("a")]) == [0.3, 0, 0.3]
    assert await verifier.compare([solution("a"), *silent]) == pytest.approx([0.3, 0.3, 0])  # u(a, E) is .3
    scores = await MBR(utility=utility).compare([solution("b"), *silent, solution("a")])
    assert scores == pytest.approx([0.4, 0.5, 0, 0.5])


@pytest.mark.parametrize(
    ("measure", "text", "other", "value"),
    [
        (exact, "The  Answer\n", "the answer", 1),
        (exact, "\uff14", "4", 1),
        (exact, "4", "4.", 0),
        (token_f1, "a b c d", "c d e", 4 / 7),
        (token_f1, "a a b", "a b b", 2 / 3),
        (token_f1, "a", "b", 0),
        (token_f1, "", "", 1),
        (token_f1, "Ça VA", "ça va", 1),
        (sequence, "a b c d", "c d a b", 0.5),
        (sequence, "a b", "a b", 1),
        (sequence, "x", "", 0),
    ],
)
def test_utilities(measure: Any, text: str, other: str, value: float) -> None:
    assert measure(text, other) == measure(other, text) == pytest.approx(value)


async def test_a_utility_outside_0_to_1_is_named() -> None:
    for wrong in (2.0, -0.1, float("nan"), "high"):
        with pytest.raises(VerifierError, match=r"verifier\.utility returned"):
            await MBR(utility=lambda a, b, wrong=wrong: wrong).compare([solution("a"), solution("b")])  # type: ignore[misc]


@pytest.mark.parametrize("evidence", [0, 3])
@pytest.mark.parametrize("measure", [None, token_f1])
async def test_a_quote_is_never_passed(evidence: int, measure: Any) -> None:
    written = itertools.count()
    judge = Reader(lambda trace, seed: f"evidence {next(written)}")
    verifier = MBR(judge, measure, evidence, max_tokens=12)
    traces = [solution("x{}" * i) for i in (1, 2, 2, 5)]
    spent = sum((score.cost for score in await verifier.compare(traces)), Cost()).asdict()
    most = verifier.quote(traces).asdict()
    assert all(spent[name] <= most[name] for name in most)
    assert bool(spent["new_tokens"]) == (measure is None or evidence > 0)


def context(texts: Sequence[str], verifier: Any, order: Any = "listed", budget: Budget | None = None) -> Context:
    setup = Setup(samplers={"policy": Scripted(texts, order)}, verifiers={"verifier": verifier})
    return Context(setup, Ledger(budget), np.random.default_rng(0))


async def test_best_of_n_takes_the_one_that_agrees_most() -> None:
    judge = Reader(["the answer is four"])
    texts = ["I think the answer is four", "no idea at all", "the answer is five"]
    ctx = context(texts, MBR(judge, token_f1, evidence=1))
    population = await BestOfN(3)(PROBLEM, ctx)
    assert population.traces[int(np.argmax(population.log_weights))].text == texts[0]
    spent = ctx.ledger.spent["verifier"]
    assert (spent.new_tokens, spent.prompt_tokens) == (judge.new_tokens, judge.prompt_tokens)
    assert judge.probes == 0


async def test_particle_filtering_is_guided_by_it() -> None:
    ctx = context(["x y\n\nz", "x y\n\nz w", "q\n\nr"], MBR(utility=token_f1), "seed")
    population = await ParticleFiltering(12)(PROBLEM, ctx)
    assert "q" not in population.traces[int(np.argmax(population.log_weights))].text


async def test_a_ceiling_holds_before_the_judge_is_asked() -> None:
    judge = Reader()
    ctx = context(["a", "b"], MBR(judge, evidence=3), budget=Budget(verifier_tokens=2000))
    with pytest.raises(BudgetExhausted):
        await ctx.score([solution("a"), solution("b")])
    assert judge.requests == judge.probes == 0


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "judge=null"),
        ({"utility": exact, "evidence": 3}, "judge=null"),
        ({"utility": "f1"}, "utility='f1'"),
        ({"utility": exact, "evidence": -1}, "evidence=-1"),
        ({"utility": exact, "neutral": 7}, "neutral=7"),
        ({"judge": Scripted(["x"]), "max_tokens": 0}, "max_tokens=0"),
    ],
)
def test_what_is_out_of_range_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"verifier.{named}")):
        MBR(**given)


async def test_the_contract_holds() -> None:
    await acheck(MBR(utility=token_f1))
    await acheck(MBR(utility=sequence))
    await acheck(MBR(Reader(), evidence=2))


async def test_what_was_drawn_often_counts_as_often() -> None:
    """Two texts, 3 : 1, that nothing else tells apart: the frequent one agrees with more of the pool."""
    sampler = Scripted(["five it is", "six it is", "five it is", "five it is"], order="listed")
    verifier: Any = MBR(utility=token_f1)
    setup = Setup(samplers={"policy": sampler}, verifiers={"verifier": verifier})
    population = await BestOfN(4)(PROBLEM, setup.context(PROBLEM, 0))
    weights = dict(zip((t.text for t in population.traces), np.exp(population.log_weights), strict=True))
    assert weights == pytest.approx({"five it is": (1 + 1 + 2 / 3) / 3, "six it is": 2 / 3})
