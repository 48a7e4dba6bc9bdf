"""CHOPS: one question, one choice."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
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
from ponder.verifiers.chops import CHOPS, chosen

PROBLEM = Problem("q", "What is 2 + 2? {0} {question}")


def solution(text: str) -> Trace:
    return Trace(PROBLEM, (Step(text, tuple(map(ord, text)), why="eos"),))


def shown(message: str) -> list[str]:
    """The responses in a question, in their order."""
    return re.findall(r"\[The Begin of Response \d+\]\n(.*?)\n\[The End", message, flags=re.DOTALL)


def fond_of(word: str) -> Scripted:
    """A judge who picks the first response that holds a word."""

    def pick(trace: Trace, seed: int) -> str:
        place = next(i for i, text in enumerate(shown(trace.problem.prompt), 1) if word in text)
        return f"Checklist:\n- not [[9]]\nComparison: so it is.\nBest: [[{place}]]"

    return Scripted(pick)


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("Best: [[2]]", 1),
        ("Best: [[1]] no, Best: [[3]]", 2),
        ("[[Response 3]]", 2),
        ("Best: [[ 1 ]].", 0),
        ("Best: [[0]]", None),
        ("Best: [[4]]", None),
        ("Best: [[1", None),
        ("Response 2 is best", None),
        ("\\boxed{2}", None),
        (f"[[{'9' * 5000}]]", None),
        ("", None),
    ],
)
def test_the_last_verdict_counts(reply: str, choice: int | None) -> None:
    assert chosen(reply, 3) == choice


async def test_the_chosen_one_scores_1_wherever_it_stands() -> None:
    traces = [solution(text) for text in ("a {x}", "b %s", "ç 数 good")]
    places = set()
    for order in itertools.permutations(traces):
        judge = fond_of("good")
        scores = await CHOPS(judge).compare(order)
        assert scores == ["good" in trace.text for trace in order]
        assert judge.requests == 1
        places.add(scores[0].cost.new_tokens)
    assert len(places) == 1


async def test_the_order_shown_depends_on_the_texts_alone() -> None:
    orders: list[list[str]] = []

    def note(trace: Trace, seed: int) -> str:
        orders.append(shown(trace.problem.prompt))
        return ""

    judge = Scripted(note)
    texts = ["one", "two", "three", "four", "five"]
    for _ in range(3):
        texts = texts[2:] + texts[:2]
        await CHOPS(judge).compare([solution(text) for text in texts])
    assert orders[0] == orders[1] == orders[2]
    for i in range(20):
        await CHOPS(judge).compare([solution(f"a{i}"), solution(f"b{i}")])
    assert {order[0][0] for order in orders[3:]} == {"a", "b"}  # no place belongs to what sorts first


async def test_equal_texts_are_shown_once_and_share_the_score() -> None:
    judge = fond_of("good")
    copy = Trace(PROBLEM, (Step("go"), Step("od\n", why="eos")))
    traces = [solution("good"), solution("bad"), copy, solution("bad")]
    scores = await CHOPS(judge).compare(traces)
    assert scores == [1, 0, 1, 0]
    assert sum((score.cost for score in scores), Cost()).new_tokens == judge.new_tokens
    assert sum((score.cost for score in scores), Cost()).prompt_tokens == judge.prompt_tokens


@pytest.mark.parametrize("verifier", [CHOPS(Scripted(["no idea"])), CHOPS(fond_of("a"), max_tokens=20)])
async def test_a_choice_that_cannot_be_read_favours_nobody(verifier: CHOPS) -> None:
    scores = await verifier.compare([solution("a"), solution("b"), Trace(PROBLEM)])
    assert scores == [0.5, 0.5, 0.5]
    assert [score.unread for score in scores] == [1, 1, 0]
    assert scores[0].cost.new_tokens > 0


@pytest.mark.parametrize(
    ("reply", "scores"),
    [("<think>[[1]]</think>Best: [[2]]", 1), ("<think>[[1]]</think>No [[", 0.5), ("<think>surely [[1]]", 0.5)],
)
async def test_a_thought_is_no_verdict(reply: str, scores: float) -> None:
    found = await CHOPS(Scripted([reply])).compare([solution("a"), solution("b")])
    assert max(found) == scores
    assert found[0].unread == (scores == 0.5)


async def test_one_solution_wins_unasked_and_silence_never_does() -> None:
    judge = fond_of("good")
    silent = [Trace(PROBLEM), Trace(PROBLEM, (Step("", (0,), why="eos"),))]
    verifier = CHOPS(judge, neutral=0.3)
    assert await verifier.compare([solution("bad")]) == [1]
    assert await verifier.compare([*silent, solution("bad"), solution("bad")]) == [0.3, 0, 1, 1]
    assert await verifier.compare(silent) == [0.3, 0]
    assert verifier.quote(silent) == verifier.quote([solution("bad")] * 2) == Cost()
    assert judge.requests == 0
    assert await verifier.compare([*silent, solution("bad"), solution("good")]) == [0.3, 0, 0, 1]


async def test_a_quote_is_never_passed() -> None:
    verifier = CHOPS(fond_of("good"), max_tokens=100)
    traces = [solution("bad"), solution("good {}"), solution("better")]
    spent = sum((score.cost for score in await verifier.compare(traces)), Cost()).asdict()
    assert spent["new_tokens"] > 0
    assert all(spent[name] <= most for name, most in verifier.quote(traces).asdict().items())


def context(texts: Sequence[str], verifier: Any, order: Any = "listed", budget: Budget | None = None) -> Context:
    setup = Setup(samplers={"policy": Scripted(texts, order)}, verifiers={"verifier": verifier})
    return Context(setup, Ledger(budget), np.random.default_rng(0))


async def test_best_of_n_takes_its_choice() -> None:
    judge = fond_of("good")
    ctx = context(["bad", "good", "bad", "worse"], CHOPS(judge))
    population = await BestOfN(4)(PROBLEM, ctx)
    assert population.traces[int(np.argmax(population.log_weights))].text == "good"
    assert ctx.ledger.spent["verifier"].new_tokens == judge.new_tokens
    assert ctx.ledger.spent["verifier"].verifier_tokens == judge.new_tokens + judge.prompt_tokens
    assert judge.requests == 1


async def test_particle_filtering_is_guided_by_it() -> None:
    ctx = context(["good\n\nend", "bad\n\nend"], CHOPS(fond_of("good")), "seed")
    population = await ParticleFiltering(8, ess_threshold=1)(PROBLEM, ctx)
    assert {trace.text for trace in population.traces} == {"good\n\nend"}


async def test_a_ceiling_holds_before_the_judge_is_asked() -> None:
    judge = fond_of("good")
    ctx = context(["bad", "good"], CHOPS(judge), budget=Budget(verifier_tokens=500))
    with pytest.raises(BudgetExhausted):
        await ctx.score([solution("good"), solution("bad")])
    assert judge.requests == 0


async def test_guided_replies_have_the_form_that_is_read() -> None:
    verifier = CHOPS(Scripted(["x"]), decoding="guided")
    pattern = verifier.judges.of(12).sampler._picking["pattern"]  # type: ignore[attr-defined]
    reply = "Checklist:\n- adds up\n- says so: 数\nComparison: both do.\nBest: [[{}]]"
    assert re.fullmatch(pattern, reply.format(12))
    assert not re.fullmatch(pattern, reply.format(13))
    assert not re.fullmatch(pattern, reply.format(0))
    assert chosen(reply.format(12), 12) == 11
    assert await verifier.compare([solution("a"), solution("b")]) == [0.5, 0.5]


@pytest.mark.parametrize("given", [{"neutral": -1}, {"max_tokens": 0}, {"decoding": "json"}])
def test_what_is_out_of_range_is_named(given: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"verifier.{next(iter(given))}="):
        CHOPS(Scripted(["x"]), **given)


async def test_the_contract_holds() -> None:
    await acheck(CHOPS(Scripted(["Best: [[2]]"])))
