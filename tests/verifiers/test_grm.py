"""DeepSeek-GRM: what a critique says, how votes add up, what cannot be read, what is paid."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from ponder.context import Context, Setup
from ponder.errors import UserError, VerifierError
from ponder.ledger import Budget, BudgetExhausted, Ledger
from ponder.samplers.scripted import Scripted
from ponder.search.best_of_n import BestOfN
from ponder.search.particle_filtering import ParticleFiltering
from ponder.types import Cost, Problem, Score, Step, Trace
from ponder.verifiers.check import acheck
from ponder.verifiers.grm import GroupwiseGRM, PointwiseGRM, boxed

PROBLEM = Problem("q", "What is 2 + 2? {0} {question}")


def solution(text: str, problem: Problem = PROBLEM) -> Trace:
    return Trace(problem, (Step(text, tuple(map(ord, text)), why="eos"),))


def responses(message: str) -> list[str]:
    """What a judge is shown, in order."""
    return re.findall(r"\[The Begin of Response \d+\]\n(.*?)\n\[The End", message, flags=re.DOTALL)


def opinionated(opinions: dict[str, float], **more: Any) -> Scripted:
    """A judge with a score for each text, wherever it stands."""

    def critique(trace: Trace, seed: int) -> str:
        scores = ", ".join(f"{opinions[text]:g}" for text in responses(trace.problem.prompt))
        return f"Specific Criteria: sums.\nAnalysis: one box was \\boxed{{7}}.\nScores: \\boxed{{{scores}}}"

    return Scripted(critique, **more)


@pytest.mark.parametrize(
    ("reply", "count", "scale", "found"),
    [
        (r"Scores: \boxed{3, 10}", 2, "1-10", [3, 10]),
        (r"\boxed{1, 2} but then \boxed{ 8 ,4}", 2, "1-10", [8, 4]),
        (r"\boxed{0, 99, -3}", 3, "1-10", [1, 10, 1]),
        (r"\boxed{7.5}", 1, "1-10", [7.5]),
        (r"\boxed{3, 4}", 3, "1-10", None),
        (r"\boxed{3, 4} \boxed{x, x}", 2, "1-10", None),
        (r"\boxed{3, 4", 2, "1-10", None),
        ("3, 4", 2, "1-10", None),
        (r"\boxed{}", 1, "1-10", None),
        (r"\boxed{nan}", 1, "1-10", None),
        (r"\boxed{1e9}", 1, "1-10", None),
        (r"\boxed{1}", 1, "0-1", [1]),
        (r"\boxed{0}", 1, "0-1", [0]),
        (r"\boxed{7}", 1, "0-1", None),
    ],
)
def test_the_last_box_is_read(reply: str, count: int, scale: Any, found: list[float] | None) -> None:
    assert boxed(reply, count, scale) == found


def noting(notes: list[str]) -> Scripted:
    """A judge who says nothing, and notes what it was asked."""

    def note(trace: Trace, seed: int) -> str:
        notes.append(trace.problem.prompt)
        return ""

    return Scripted(note)


class Meta:
    """A meta verifier that believes in some critiques."""

    def __init__(self, *beliefs: str) -> None:
        self.beliefs = beliefs
        self.seen: list[Trace] = []

    def score(self, traces: Sequence[Trace]) -> list[float]:
        self.seen += traces
        return [Score(float(t.text.startswith(self.beliefs)), (), Cost(verifier_tokens=100)) for t in traces]

    def quote(self, trace: Trace) -> Cost:
        return Cost(verifier_tokens=100 + len(trace.text))


def worked_example() -> Scripted:
    """Four critiques of a and b: (1, 5), (5, 6), (4, 8), (7, 6)."""
    votes = itertools.cycle([(1, 5), (5, 6), (4, 8), (7, 6)])
    numbers = itertools.count(1)

    def critique(trace: Trace, seed: int) -> str:
        given = dict(zip("ab", next(votes), strict=True))
        shown = ", ".join(str(given[text]) for text in responses(trace.problem.prompt))
        return f"#{next(numbers)}: Scores: \\boxed{{{shown}}}"

    return Scripted(critique)


@pytest.mark.parametrize("make_meta", [lambda: None, lambda: Meta("#1", "#3")])
async def test_the_papers_example_of_a_vote(make_meta: Callable[[], Any]) -> None:
    meta = make_meta()
    judge = worked_example()
    scores = await GroupwiseGRM(judge, k=4, meta=meta).compare([solution("a"), solution("b")])
    # Voting@4 sums to 17 and 25, the two critiques that the meta model believes in to 5 and 13.
    sums, voters = ((5, 13), 2) if meta else ((17, 25), 4)
    assert scores == pytest.approx([(total / voters - 1) / 9 for total in sums])
    assert [score.unread for score in scores] == [0, 0]
    if meta:
        assert len(meta.seen) == 4
        assert all("#### Responses to be Scored ####" in trace.problem.prompt for trace in meta.seen)
        assert scores[0].cost.verifier_calls == 4
        assert scores[0].cost.verifier_tokens == judge.prompt_tokens + judge.new_tokens + 400


async def test_an_async_meta_verifier_serves_as_well_and_a_broken_one_is_named() -> None:
    class Later(Meta):
        async def score(self, traces: Sequence[Trace]) -> list[float]:  # type: ignore[override]
            return super().score(traces)

    class Broken:
        def score(self, traces: Sequence[Trace]) -> list[float]:
            return [float("nan")] * len(traces)

    pair = [solution("a"), solution("b")]
    scores = await GroupwiseGRM(worked_example(), k=4, meta=Later("#2", "#4"), keep=2).compare(pair)
    assert scores == pytest.approx([(12 / 2 - 1) / 9, (12 / 2 - 1) / 9])
    with pytest.raises(VerifierError, match=r"verifier\.meta: Broken"):
        await GroupwiseGRM(worked_example(), k=4, meta=Broken()).compare(pair)


async def test_orders_are_shuffled_and_scores_come_back_to_their_texts() -> None:
    asked: list[str] = []
    opinions = {"a {x}": 9.0, "b %s": 3.0, "ç 数": 1.0}
    traces = [solution(text) for text in opinions]
    await GroupwiseGRM(noting(asked), k=12).compare(traces)
    shown = [tuple(responses(message)) for message in asked]
    assert len(set(shown)) >= 4
    assert {order[0] for order in shown} == set(opinions)
    for order in itertools.permutations(traces):
        scores = await GroupwiseGRM(opinionated(opinions), k=3).compare(order)
        assert scores == pytest.approx([(opinions[trace.text] - 1) / 9 for trace in order])


async def test_a_groups_scores_do_not_depend_on_its_order_or_its_copies() -> None:
    def moody(trace: Trace, seed: int) -> str:
        draws = np.random.default_rng(seed).integers(1, 11, len(responses(trace.problem.prompt)))
        return f"Scores: \\boxed{{{', '.join(map(str, draws))}}}"

    traces = [solution(text) for text in ("one", "two", "three", "four")]
    first = dict(zip(traces, await GroupwiseGRM(Scripted(moody), k=5).compare(traces), strict=True))
    assert len(set(first.values())) > 1
    copy = Trace(PROBLEM, (Step("tw"), Step("o \n", why="eos")))
    for order in ([*reversed(traces)], [copy, *traces, traces[2]]):
        scores = await GroupwiseGRM(Scripted(moody), k=5).compare(order)
        wanted = [first[traces[1] if trace is copy else trace] for trace in order]
        assert scores == wanted


async def test_equal_questions_get_different_critiques() -> None:
    """A single response has one order only: k samples of one question, not one sample k times."""
    replies = iter([r"\boxed{1}", r"\boxed{10}", r"\boxed{4}", r"\boxed{4}"])
    judge = Scripted(lambda trace, seed: next(replies))
    (score,) = await GroupwiseGRM(judge, k=4).compare([solution("a")])
    assert score == pytest.approx((19 / 4 - 1) / 9)
    assert judge.requests == 1


async def test_what_cannot_be_read_is_counted_and_no_score() -> None:
    replies = itertools.cycle([r"\boxed{2, 2}", "I cannot say.", r"\boxed{9, 9, 9}", r"\boxed{4, 4}", r"\boxed{4, "])
    judge = Scripted(lambda trace, seed: next(replies))
    scores = await GroupwiseGRM(judge, k=5).compare([solution("a"), solution("b")])
    assert scores == pytest.approx([2 / 9, 2 / 9])
    assert [score.unread for score in scores] == [3, 3]
    scores = await GroupwiseGRM(Scripted(["no box"]), k=5).compare([solution("a"), solution("b")])
    assert scores == [0, 0]
    assert [score.unread for score in scores] == [5, 5]


async def test_a_thought_is_no_verdict() -> None:
    replies = itertools.cycle([r"<think>\boxed{9}</think>\boxed{2}", r"<think>\boxed{9}</think>.", r"<think>\boxed{9}"])
    judge = Scripted(lambda trace, seed: next(replies))
    (score,) = await GroupwiseGRM(judge, k=3).compare([solution("a")])
    assert (score, score.unread) == (pytest.approx(1 / 9), 2)


async def test_a_critique_cut_before_its_scores_is_unread() -> None:
    judge = opinionated({"a": 9.0})
    (score,) = await GroupwiseGRM(judge, k=2, max_tokens=40).compare([solution("a")])
    assert (score, score.unread) == (0, 2)
    assert judge.new_tokens == 80


async def test_traces_without_text_are_not_shown_to_the_judge() -> None:
    judge = opinionated({"a": 10.0})
    silent = [Trace(PROBLEM), Trace(PROBLEM, (Step("", (0,), why="eos"),)), solution("  \n")]
    scores = await GroupwiseGRM(judge, k=2, neutral=0.4).compare([silent[0], solution("a"), *silent[1:]])
    assert scores == [0.4, 1, 0, 0]
    assert sum((score.cost for score in scores), Cost()).new_tokens == judge.new_tokens > 0
    before = judge.requests
    verifier = GroupwiseGRM(judge, neutral=0.4)
    assert await verifier.compare(silent) == [0.4, 0, 0]
    assert verifier.quote(silent) == Cost()
    assert await PointwiseGRM(judge, neutral=0.4).score(silent) == [0.4, 0, 0]
    assert PointwiseGRM(judge).quote(silent[0]) == Cost()
    assert judge.requests == before


@pytest.mark.parametrize(
    ("scale", "says", "value"), [("0-1", ["1", "0", "1", "7"], 2 / 3), ("1-10", ["7", "1"], 1 / 3)]
)
async def test_pointwise_is_the_mean_of_k_votes(scale: Any, says: list[str], value: float) -> None:
    replies = itertools.cycle(f"Scores: \\boxed{{{said}}}" for said in says)
    judge = Scripted(lambda trace, seed: next(replies))
    (score,) = await PointwiseGRM(judge, k=len(says), scale=scale).score([solution("a")])
    assert score == pytest.approx(value)
    assert score.unread == says.count("7") * (scale == "0-1")
    assert score.cost.new_tokens == judge.new_tokens
    assert score.cost.prompt_tokens == judge.prompt_tokens


async def test_pointwise_scores_alone_as_in_a_batch_and_equal_texts_once() -> None:
    def moody(trace: Trace, seed: int) -> str:
        return f"\\boxed{{{np.random.default_rng(seed).integers(1, 11)}}}"

    traces = [solution(text) for text in ("one", "two", "one ", "{three}", "quatre à 数")]
    judge = Scripted(moody)
    verifier = PointwiseGRM(judge, k=3, scale="1-10")
    together = await verifier.score(traces)
    assert judge.requests == 4
    assert together[0] == together[2]
    assert together[2].cost == Cost()
    alone = [(await verifier.score([trace]))[0] for trace in traces]
    assert alone == together
    assert len(set(alone)) > 2


async def test_pointwise_asks_the_meta_verifier_too() -> None:
    replies = itertools.cycle([r"#1 \boxed{0}", r"#2 \boxed{1}", "#3 no", r"#4 \boxed{1}"])
    verifier = PointwiseGRM(Scripted(lambda trace, seed: next(replies)), k=4, meta=Meta("#2", "#4"))
    (score,) = await verifier.score([solution("a")])
    assert (score, score.unread) == (1, 1)


async def test_a_quote_is_never_passed() -> None:
    traces = [solution(text) for text in ("one", "two", "one", "a longer one {}")]
    judge = opinionated(dict.fromkeys(("one", "two", "a longer one {}"), 5.0))
    for meta in (None, Meta("#")):
        group = GroupwiseGRM(judge, k=4, max_tokens=200, meta=meta)
        spent = sum((score.cost for score in await group.compare(traces)), Cost()).asdict()
        assert all(spent[name] <= most for name, most in group.quote(traces).asdict().items())
        single = PointwiseGRM(judge, k=4, max_tokens=200, scale="1-10", meta=meta)
        for trace in traces:
            spent = (await single.score([trace]))[0].cost.asdict()
            assert all(spent[name] <= most for name, most in single.quote(trace).asdict().items())


def context(sampler: Any, verifier: Any, budget: Budget | None = None) -> Context:
    setup = Setup(samplers={"policy": sampler}, verifiers={"verifier": verifier})
    return Context(setup, Ledger(budget), np.random.default_rng(0))


async def test_best_of_n_selects_by_it_and_books_what_the_judge_did() -> None:
    judge = opinionated({"bad": 2.0, "good": 9.0})
    ctx = context(Scripted(["bad", "good", "bad"]), GroupwiseGRM(judge, k=3))
    population = await BestOfN(3)(PROBLEM, ctx)
    assert population.traces[int(np.argmax(population.log_weights))].text == "good"
    spent = ctx.ledger.spent["verifier"]
    assert spent.new_tokens == judge.new_tokens
    assert spent.prompt_tokens == judge.prompt_tokens
    assert spent.verifier_tokens == judge.new_tokens + judge.prompt_tokens
    assert spent.verifier_calls == 2


async def test_particle_filtering_is_guided_by_it() -> None:
    def critique(trace: Trace, seed: int) -> str:
        return f"\\boxed{{{', '.join('9' if 'good' in t else '2' for t in responses(trace.problem.prompt))}}}"

    ctx = context(Scripted(["good\n\nend", "bad\n\nend"], order="seed"), GroupwiseGRM(Scripted(critique), k=2))
    population = await ParticleFiltering(8)(PROBLEM, ctx)
    best = population.traces[int(np.argmax(population.log_weights))]
    assert best.text == "good\n\nend"


async def test_a_ceiling_holds_before_the_judge_is_asked() -> None:
    judge = opinionated({"a": 2.0, "b": 9.0})
    ctx = context(Scripted(["a", "b"]), GroupwiseGRM(judge, k=3), Budget(verifier_tokens=2000))
    with pytest.raises(BudgetExhausted):
        await ctx.score([solution("a"), solution("b")])
    assert judge.requests == 0


@pytest.mark.parametrize(
    "given",
    [
        {"k": 0},
        {"k": 2.5},
        {"k": True},
        {"keep": 2},
        {"keep": 9, "meta": Meta()},
        {"keep": 0, "meta": Meta()},
        {"neutral": 2},
        {"max_tokens": 0},
        {"decoding": "strict"},
    ],
)
def test_what_is_out_of_range_is_named(given: dict[str, Any]) -> None:
    for kind in (GroupwiseGRM, PointwiseGRM):
        with pytest.raises(UserError, match=f"verifier.{next(iter(given))}="):
            kind(Scripted(["x"]), **given)


def test_other_mistakes() -> None:
    with pytest.raises(UserError, match=r"verifier\.scale='0-5'"):
        PointwiseGRM(Scripted(["x"]), scale="0-5")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="is no model"):
        GroupwiseGRM("gpt")  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 3])
async def test_guided_critiques_have_the_form_that_is_read(count: int) -> None:
    """The regular expression goes to the sampler, and what matches it can be read."""
    judge = Scripted(["x"])
    texts = ["a", "b", "c"][:count]
    verifier = GroupwiseGRM(judge, decoding="guided")
    pattern = verifier.judges.of(count).sampler._picking["pattern"]  # type: ignore[attr-defined]
    scores = ", ".join(["10"] * count)
    critique = f"Specific Criteria: sums 数 weigh 1.\nAnalysis: fine.\nScores: \\boxed{{{scores}}}"
    assert re.fullmatch(pattern, critique)
    assert not re.fullmatch(pattern, critique.replace("10}", "11}"))
    assert boxed(critique, count) == [10] * count
    assert verifier.judges.of(count) is verifier.judges.of(count)
    assert len(await verifier.compare([solution(text) for text in texts])) == count


async def test_an_instruction_of_ones_own_takes_the_place_of_ours() -> None:
    for verifier in (GroupwiseGRM(Scripted(["x"]), instruction="Be {kind}."), PointwiseGRM(Scripted(["x"]))):
        assert "{what}" not in verifier.instruction
        assert "{scale}" not in verifier.instruction
    asked: list[str] = []
    await GroupwiseGRM(noting(asked), k=1, instruction="Be {kind}.").compare([solution("a")])
    assert asked[0].startswith("Be {kind}.\n\n#### Conversation Context ####\nWhat is 2 + 2? {0} {question}\n")


async def test_the_contract_holds() -> None:
    await acheck(GroupwiseGRM(Scripted([r"\boxed{3, 9, 5}"]), k=3))
    await acheck(PointwiseGRM(Scripted(["\\boxed{1}"]), k=3))
