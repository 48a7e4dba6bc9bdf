"""The knock-out: brackets, both orders, ties, byes, costs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from ponder.context import Context, Setup
from ponder.errors import UserError
from ponder.ledger import Budget, BudgetExhausted, Ledger
from ponder.samplers.scripted import Scripted
from ponder.search.best_of_n import BestOfN
from ponder.search.particle_filtering import ParticleFiltering
from ponder.types import Cost, Problem, Step, Trace
from ponder.verifiers.check import acheck
from ponder.verifiers.comparing import candidates, shuffled
from ponder.verifiers.knockout import Knockout

PROBLEM = Problem("q", "What is 2 + 2? {0} {question}")


def solution(text: str) -> Trace:
    return Trace(PROBLEM, (Step(text, tuple(map(ord, text)), why="eos"),))


class Umpire(Scripted):
    """Probes answer by what stands in both places."""

    def __init__(self, prefer: Callable[[str, str], Sequence[float]]) -> None:
        super().__init__([""])
        self.prefer = prefer
        self.asked: list[tuple[str, str]] = []

    def _probabilities(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Sequence[float]:
        first, second = re.findall(
            r"\[The Begin of Response \w\]\n(.*?)\n\[The End", trace.problem.prompt, flags=re.DOTALL
        )
        self.asked.append((first, second))
        assert (suffix, list(choices)) == ("Better response:", [" A", " B"])
        return self.prefer(first, second)


def longer() -> Umpire:
    """Prefers the longer response, and always leans to the first place."""
    return Umpire(lambda a, b: [0.6, 0.1] if len(a) > len(b) else [0.3, 0.4])


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 8, 13])
async def test_the_best_wins_n_minus_1_comparisons_for_every_order(n: int) -> None:
    traces = [solution("x" * i) for i in range(1, n + 1)]
    found = []
    for order in (traces, traces[::-1], traces[n // 2 :] + traces[: n // 2]):
        judge = longer()
        scores = await Knockout(judge).compare(order)
        assert judge.probes == 2 * (n - 1)
        assert sorted(judge.asked) == sorted((b, a) for a, b in judge.asked)  # each pair in both orders
        found.append({trace.text: float(score) for trace, score in zip(order, scores, strict=True)})
    assert found[0] == found[1] == found[2]
    rounds = (n - 1).bit_length()
    assert found[0]["x" * n] == 1
    assert sum(score == 1 for score in found[0].values()) == 1
    # Each round leaves the next lower power of two: so many survived r rounds or more.
    for r in range(1, rounds + 1):
        assert sum(score >= r / rounds - 1e-9 for score in found[0].values()) == 2 ** (rounds - r)


async def test_a_liking_for_a_place_decides_nothing() -> None:
    """0.9 for whatever stands first averages to a tie: the earlier one in the bracket goes on, whatever the order."""
    traces = [solution(text) for text in ("one", "two {}", "drei", "四")]
    bracket = shuffled(candidates(traces))
    for order in itertools.permutations(traces):
        scores = await Knockout(Umpire(lambda a, b: [0.9, 0.1])).compare(order)
        by_text = {trace.text: score for trace, score in zip(order, scores, strict=True)}
        assert [by_text[trace.text] for trace in bracket] == [1, 0, 0.5, 0]
        assert [score.unread for score in scores] == [0, 0, 0, 0]


async def test_the_mean_of_both_orders_decides() -> None:
    """As A, "good" gets .5 of .5; as B it gets .1 of .4: .625 in the mean."""
    judge = Umpire(lambda a, b: [0.5, 0.0] if a == "good" else [0.3, 0.1])
    assert await Knockout(judge).compare([solution("good"), solution("bad")]) == [1, 0]
    judge = Umpire(lambda a, b: [0.3, 0.2] if a == "good" else [0.3, 0.1])  # .6 and .25
    assert await Knockout(judge).compare([solution("good"), solution("bad")]) == [0, 1]


async def test_probes_that_say_neither_letter_are_counted_and_left_out() -> None:
    judge = Umpire(lambda a, b: [0.0, 0.0] if a == "good" else [0.1, 0.3])
    scores = await Knockout(judge).compare([solution("bad"), solution("good")])
    assert scores == [0, 1]
    assert [score.unread for score in scores] == [1, 1]
    traces = [solution(text) for text in "abcd"]
    scores = await Knockout(Umpire(lambda a, b: [0.0, 0.0])).compare(traces)
    by_text = {trace.text: score for trace, score in zip(traces, scores, strict=True)}
    bracket = shuffled(candidates(traces))
    assert [by_text[trace.text] for trace in bracket] == [1, 0, 0.5, 0]
    assert [by_text[trace.text].unread for trace in bracket] == [4, 2, 4, 2]


async def test_brackets_are_drawn_anew_for_other_texts() -> None:
    first = {shuffled([solution(f"a{i}"), solution(f"b{i}")])[0].text[0] for i in range(20)}
    assert first == {"a", "b"}


async def test_equal_texts_play_once_and_the_bill_is_whole() -> None:
    judge = longer()
    copy = Trace(PROBLEM, (Step("lon"), Step("ger\n", why="eos")))
    traces = [solution("longer"), solution("long"), copy, solution("long")]
    scores = await Knockout(judge).compare(traces)
    assert scores == [1, 0, 1, 0]
    assert judge.probes == 2
    total = sum((score.cost for score in scores), Cost())
    assert (total.new_tokens, total.prompt_tokens) == (judge.new_tokens, judge.prompt_tokens)


async def test_one_solution_wins_unasked_and_silence_never_does() -> None:
    judge = longer()
    verifier = Knockout(judge, neutral=0.3)
    silent = [Trace(PROBLEM), Trace(PROBLEM, (Step("", (0,), why="eos"),))]
    assert await verifier.compare([*silent, solution("x"), solution("x")]) == [0.3, 0, 1, 1]
    assert await verifier.compare(silent) == [0.3, 0]
    assert verifier.quote([*silent, solution("x")]) == Cost()
    assert judge.probes == 0


@pytest.mark.parametrize("n", [2, 3, 6])
async def test_a_quote_is_never_passed(n: int) -> None:
    verifier = Knockout(longer())
    traces = [solution("x{}" * i) for i in range(1, n + 1)]
    spent = sum((score.cost for score in await verifier.compare(traces)), Cost()).asdict()
    most = verifier.quote(traces).asdict()
    assert all(spent[name] <= most[name] for name in most)
    assert spent["new_tokens"] == most["new_tokens"] == 2 * (n - 1)


def context(texts: Sequence[str], verifier: Any, order: Any = "listed", budget: Budget | None = None) -> Context:
    setup = Setup(samplers={"policy": Scripted(texts, order)}, verifiers={"verifier": verifier})
    return Context(setup, Ledger(budget), np.random.default_rng(0))


async def test_best_of_n_takes_the_winner() -> None:
    judge = longer()
    ctx = context(["bad", "very good", "bad", "worse"], Knockout(judge))
    population = await BestOfN(4)(PROBLEM, ctx)
    assert population.traces[int(np.argmax(population.log_weights))].text == "very good"
    spent = ctx.ledger.spent["verifier"]
    assert spent.new_tokens == judge.probes == 4
    assert spent.verifier_tokens == judge.new_tokens + judge.prompt_tokens


async def test_particle_filtering_is_guided_by_it() -> None:
    ctx = context(["longer\n\nend", "short\n\nend"], Knockout(longer()), "seed")
    population = await ParticleFiltering(8, ess_threshold=1)(PROBLEM, ctx)
    assert {trace.text for trace in population.traces} == {"longer\n\nend"}


async def test_a_ceiling_holds_before_the_judge_is_asked() -> None:
    judge = longer()
    ctx = context(["bad", "good"], Knockout(judge), budget=Budget(verifier_tokens=100))
    with pytest.raises(BudgetExhausted):
        await ctx.score([solution("good"), solution("bad")])
    assert judge.probes == 0


def test_what_is_out_of_range_is_named() -> None:
    with pytest.raises(UserError, match=r"verifier\.neutral=1\.5"):
        Knockout(Scripted(["x"]), neutral=1.5)
    with pytest.raises(UserError, match=r"verifier\.judge=None"):
        Knockout(None)  # type: ignore[arg-type]


async def test_the_contract_holds() -> None:
    await acheck(Knockout(longer()))
