"""Ensembles and calibrated scores against hand-computed numbers, with members of every kind."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from ponder.context import Setup
from ponder.errors import UserError, VerifierError
from ponder.ledger import Budget, BudgetExhausted
from ponder.types import Cost, Problem, Score, Step, Trace
from ponder.verifiers.calibration import Calibrated, Isotonic, Platt, load
from ponder.verifiers.check import check, findings
from ponder.verifiers.ensemble import Minimum, Product, RankAverage, WeightedSum
from ponder.verifiers.rule import Constant, Length, Regex

PROBLEM = Problem("p", "ask")
A, B, C = (Trace(PROBLEM) + Step(text) for text in "abc")
TWO = Trace(PROBLEM) + Step("a") + Step("b")
ALL: list[Any] = [WeightedSum, Product, Minimum, RankAverage]


class Given:
    """A score for each text, sync."""

    def __init__(self, **scores: float) -> None:
        self.scores = scores

    def score(self, traces: Any) -> Any:
        return [self.scores[trace.text] for trace in traces]


class Unit(Given):
    range = (0.0, 1.0)


class Later(Unit):
    async def score(self, traces: Any) -> Any:
        await asyncio.sleep(0)
        return super().score(traces)


class Beside:
    """The share of shorter or smaller texts among those it was given."""

    range = (0.0, 1.0)
    asked: int = 0

    async def compare(self, traces: Any) -> Any:
        self.asked += 1
        return [Score(sum(o.text < t.text for o in traces) / len(traces), unread=1) for t in traces]

    def quote(self, traces: Any) -> Cost:
        return Cost(new_tokens=10 * len(traces))


class Steps:
    """A score for each step: its letter's place in the alphabet over ten; the last one counts."""

    range = (0.0, 1.0)

    def __init__(self, times: float = 1.0) -> None:
        self.times = times

    def score(self, traces: Any) -> Any:
        scored = []
        for trace in traces:
            steps = [self.times * (ord(step.text) - 96) / 10 for step in trace.steps]
            scored.append(Score(steps[-1] if steps else 0.5, steps, Cost(verifier_tokens=3), unread=2))
        return scored

    def quote(self, trace: Trace) -> Cost:
        return Cost(verifier_tokens=5)


def scored(verifier: Any, *traces: Trace) -> Any:
    return asyncio.run((getattr(verifier, "compare", None) or verifier.score)(list(traces)))


FIRST, SECOND = Unit(a=0.9, b=0.2, c=0.5), Later(a=0.1, b=0.8, c=0.5)
MEMBERS = {"one": FIRST, "two": SECOND}


@pytest.mark.parametrize(
    ("verifier", "expected", "bounds"),
    [
        (WeightedSum(MEMBERS), [0.5, 0.5, 0.5], (0.0, 1.0)),
        (WeightedSum(MEMBERS, {"two": 3.0, "one": 1.0}), [1.2, 2.6, 2.0], (0.0, 4.0)),
        (WeightedSum(MEMBERS, {"one": 1.0, "two": -1.0}), [0.8, -0.6, 0.0], (-1.0, 1.0)),
        (Product(MEMBERS), [0.09, 0.16, 0.25], (0.0, 1.0)),
        (Minimum(MEMBERS), [0.1, 0.2, 0.5], (0.0, 1.0)),
        (RankAverage(MEMBERS), [2 / 3, 2 / 3, 2 / 3], (0.0, 1.0)),
        (RankAverage({"one": FIRST}), [1.0, 1 / 3, 2 / 3], (0.0, 1.0)),
        (RankAverage({"flat": Constant(), "one": FIRST}), [5 / 6, 1 / 2, 2 / 3], (0.0, 1.0)),
    ],
)
def test_by_hand(verifier: Any, expected: Any, bounds: Any) -> None:
    assert list(scored(verifier, A, B, C)) == pytest.approx(expected)
    assert verifier.range == pytest.approx(bounds)


@pytest.mark.parametrize(
    ("verifier", "bounds"),
    [
        (WeightedSum({"one": FIRST, "any": Constant(3)}), (-math.inf, math.inf)),
        (WeightedSum({"one": FIRST, "any": Constant(3)}, {"one": 1, "any": 0}), (-math.inf, math.inf)),
        (Minimum({"one": FIRST, "any": Constant(3)}), (-math.inf, 1.0)),
        (Product({"one": FIRST, "any": Constant(3)}), (0.0, math.inf)),
    ],
)
def test_a_member_without_a_range_leaves_it_open(verifier: Any, bounds: Any) -> None:
    assert verifier.range == bounds
    scored(verifier, A)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=6),
    st.lists(st.floats(-2, 2), min_size=3, max_size=3),
)
def test_scores_stay_in_the_range_that_is_computed(rows: list[tuple[float, ...]], weights: list[float]) -> None:
    traces = [Trace(PROBLEM) + Step(str(i)) for i in range(len(rows))]
    members = {name: Unit(**{str(i): row[at] for i, row in enumerate(rows)}) for at, name in enumerate("xyz")}
    ensembles: list[Any] = [WeightedSum(members, dict(zip("xyz", weights, strict=True)))]
    for verifier in (*ensembles, *(kind(members) for kind in ALL)):
        low, high = verifier.range
        found = scored(verifier, *traces)
        assert all(low - 1e-9 <= score <= high + 1e-9 for score in found)
        turned = scored(verifier, *reversed(traces))
        assert list(turned) == pytest.approx(list(reversed(found)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_ranks_do_not_hang_on_scale_and_sum_to_the_same(scores: list[float]) -> None:
    traces = [Trace(PROBLEM) + Step(str(i)) for i in range(len(scores))]
    ranks = scored(RankAverage({"one": Given(**{str(i): one for i, one in enumerate(scores)})}), *traces)
    assert math.fsum(ranks) == pytest.approx((len(scores) + 1) / 2)
    assert all(0 < rank <= 1 for rank in ranks)
    assert ranks[int(np.argmax(scores))] == max(ranks)


def test_members_that_compare_make_an_ensemble_that_compares() -> None:
    for kind in (WeightedSum, Product, Minimum):
        assert hasattr(kind(MEMBERS), "score")
        assert not hasattr(kind(MEMBERS), "compare")
        beside = kind({"one": FIRST, "beside": Beside()})
        assert hasattr(beside, "compare")
        assert not hasattr(beside, "score")
    assert list(scored(WeightedSum({"one": FIRST, "beside": Beside()}), A, B, C)) == pytest.approx(
        [0.45, (0.2 + 1 / 3) / 2, (0.5 + 2 / 3) / 2]
    )
    nested = Minimum({"inner": WeightedSum({"beside": Beside()}), "one": FIRST})
    assert list(scored(nested, A, B, C)) == pytest.approx([0.0, 0.2, 0.5])


def test_step_scores_are_combined_where_all_give_them() -> None:
    for kind, steps in ((WeightedSum, [0.15, 0.3]), (Product, [0.02, 0.08]), (Minimum, [0.1, 0.2])):
        (score,) = scored(kind({"one": Steps(), "two": Steps(2.0)}), TWO)
        assert list(score.steps) == pytest.approx(steps)
        assert score == pytest.approx(steps[-1])
        assert scored(kind({"one": Steps(), "flat": Constant()}), TWO)[0].steps == ()
        assert scored(kind({"one": Steps(), "two": Steps(2.0)}), Trace(PROBLEM))[0].steps == ()
    assert scored(RankAverage({"one": Steps(), "two": Steps(2.0)}), TWO)[0].steps == ()


def test_costs_quotes_and_unread_add_up() -> None:
    verifier: Any = Minimum({"one": Steps(), "two": Steps(2.0), "flat": Constant(1.0)})
    (score,) = scored(verifier, TWO)
    assert score.cost == Cost(verifier_tokens=6)
    assert score.unread == 4
    assert verifier.quote(TWO) == Cost(verifier_tokens=10)
    comparing: Any = Minimum({"one": Steps(), "beside": Beside()})
    assert comparing.quote([TWO, A]) == Cost(verifier_tokens=10, new_tokens=20)
    assert [score.unread for score in scored(comparing, A, B)] == [3, 3]


def test_closing_closes_the_members() -> None:
    closed: list[str] = []

    class Open(Given):
        def close(self) -> None:
            closed.append("x")

    Minimum({"inner": Minimum({"one": Open(), "two": Open()}), "flat": Constant()}).close()
    assert closed == ["x", "x"]


def test_a_context_books_and_bounds_an_ensemble() -> None:
    async def spent(verifier: Any, budget: Budget) -> Any:
        context = Setup({}, {"verifier": verifier}, budget=budget).context(PROBLEM, 0)
        scores = await context.score([A, B, A])
        return list(scores), context.ledger.spent["verifier"]

    verifier = Product({"one": Steps(), "flat": Constant(1.0)})
    scores, cost = asyncio.run(spent(verifier, Budget()))
    assert scores == pytest.approx([0.1, 0.2, 0.1])
    assert (cost.verifier_calls, cost.verifier_tokens) == (2, 6)
    with pytest.raises(BudgetExhausted):
        asyncio.run(spent(verifier, Budget(verifier_tokens=9)))
    beside = Beside()
    scores, _ = asyncio.run(spent(RankAverage({"beside": beside, "one": FIRST}), Budget()))
    assert scores == pytest.approx([2 / 3, 2 / 3, 2 / 3])  # among three: the copy of A has a rank, too
    assert beside.asked == 1


@pytest.mark.parametrize("kind", ALL)
def test_every_ensemble_keeps_the_contract(kind: Any) -> None:
    check(kind({"length": Length(20), "form": Regex("5")}))
    check(kind({"length": Length(20), "beside": Beside()}))

    class Sure:
        needs_logprobs = True
        range = (0.0, 1.0)

        def score(self, traces: Any) -> Any:
            return [math.exp(min(trace.logprobs)) for trace in traces]

    assert all(finding.passed for finding in asyncio.run(findings(kind({"sure": Sure(), "form": Regex("5")}))))


class Wrong(Given):
    def __init__(self, found: Any) -> None:
        self.found = found

    def score(self, traces: Any) -> Any:
        return self.found(traces)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (lambda ts: [0.5], r"verifier\.members\.bad returned 1 scores for 2 traces"),
        (lambda ts: [math.nan, 0.5], r"verifier\.members\.bad returned nan, allowed are finite numbers"),
        (lambda ts: ["x", "y"], r"verifier\.members\.bad raised ValueError"),
        (lambda ts: None, r"verifier\.members\.bad raised TypeError"),
        (lambda ts: 1 / 0, r"verifier\.members\.bad raised ZeroDivisionError"),
    ],
)
def test_a_member_that_fails_is_named(found: Any, says: str) -> None:
    with pytest.raises(VerifierError, match=says):
        scored(WeightedSum({"one": FIRST, "bad": Wrong(found)}), A, B)


def test_a_member_outside_its_own_range_is_named() -> None:
    with pytest.raises(VerifierError, match=r"verifier\.members\.two returned 3.0, allowed .* in \[0.0, 1.0\]"):
        scored(WeightedSum({"one": FIRST, "two": Unit(a=3.0)}), A)


def test_a_members_own_refusal_comes_through() -> None:
    def refuse(traces: Any) -> Any:
        raise UserError("no tokens", "set them")

    with pytest.raises(UserError, match="no tokens"):
        scored(Minimum({"bad": Wrong(refuse)}), A)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: WeightedSum({}), "members is empty"),
        (lambda: RankAverage({}), "members is empty"),
        (lambda: WeightedSum(MEMBERS, {"one": 1.0}), r"verifier\.weights has \['one'\]"),
        (lambda: WeightedSum(MEMBERS, {"one": 1.0, "two": math.inf}), r"verifier\.weights"),
        (lambda: Minimum({"one": {}}), r"verifier\.members\.one=\{\} is no verifier"),
        (lambda: Calibrated(None), r"verifier\.verifier=None is no verifier"),
        (lambda: Product({"low": type("L", (Given,), {"range": (-1, 1)})()}), r"verifier\.members\.low scores in"),
    ],
)
def test_mistakes_are_named(make: Any, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        make()
    assert caught.value.hint


def test_a_product_refuses_scores_below_0() -> None:
    with pytest.raises(VerifierError, match=r"score of -0\.2; two scores below 0"):
        scored(Product({"one": FIRST, "low": Given(a=-0.2)}), A)
    assert scored(Product({"one": FIRST, "low": Given(a=-1e-9)}), A) == [0.0]


def test_plain_python_members_run_one_batch_at_a_time() -> None:
    import threading
    import time

    inside, most = [], []

    def slow(traces: Any) -> Any:
        inside.append(threading.get_ident())
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        return [0.5] * len(traces)

    verifier: Any = Minimum({"slow": Wrong(slow)})

    async def twice() -> None:
        await asyncio.gather(verifier.score([A]), verifier.score([B]), verifier.score([C]))

    asyncio.run(twice())
    asyncio.run(twice())
    assert max(most) == 1


def stored(folder: Path, method: str, **table: Any) -> str:
    path = folder / f"{method}.json"
    path.write_text(json.dumps({"method": method, "table": table}))
    return str(path)


def test_calibrated_scores(tmp_path: Path) -> None:
    table = stored(tmp_path, "isotonic", scores=[0.2, 0.4, 0.8], probabilities=[0.1, 0.1, 0.9])
    verifier: Any = Calibrated(Steps(), table)
    traces = [Trace(PROBLEM) + Step(letter) for letter in "abcefhj"]
    assert list(scored(verifier, *traces)) == pytest.approx([0.1, 0.1, 0.1, 0.3, 0.5, 0.9, 0.9])
    (score,) = scored(verifier, Trace(PROBLEM) + Step("a") + Step("f"))
    assert list(score.steps) == pytest.approx([0.1, 0.5])
    assert (score.cost, score.unread) == (Cost(verifier_tokens=3), 2)
    assert verifier.range == (0.0, 1.0)
    platt: Any = Calibrated(Given(a=-3.0, b=5.0), stored(tmp_path, "platt", slope=2.0, intercept=-1.0))
    assert list(scored(platt, A, B)) == pytest.approx([expit(-7.0), expit(9.0)])
    assert logit(scored(platt, A)[0]) == pytest.approx(-7.0)
    check(Calibrated(Length(20), table))
    check(Calibrated(Beside(), table))


def test_without_a_table_nothing_changes() -> None:
    plain: Any = Calibrated(Given(a=-3.0, b=5.0))
    assert list(scored(plain, A, B)) == [-3.0, 5.0]
    assert plain.range == (-math.inf, math.inf)
    assert Calibrated(FIRST).range == (0.0, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        '{"method": "other", "table": {}}',
        '{"method": "platt", "table": {"slope": 1}}',
        '{"method": "platt", "table": {"slope": 1, "intercept": NaN}}',
        '{"method": "isotonic", "table": {"scores": [], "probabilities": []}}',
        '{"method": "isotonic", "table": {"scores": [1, 1], "probabilities": [0, 1]}}',
        '{"method": "isotonic", "table": {"scores": [1, 2], "probabilities": [1, 0]}}',
        '{"method": "isotonic", "table": {"scores": [1, 2], "probabilities": [0, 2]}}',
        '{"method": "isotonic", "table": {"scores": [1, 2], "probabilities": [0]}}',
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "table.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=r"verifier\.table=.*table\.json cannot be read") as caught:
        Calibrated(FIRST, str(path))
    assert "ponder-calibrate" in caught.value.hint


def test_tables_load_as_they_were(tmp_path: Path) -> None:
    assert load(Path(stored(tmp_path, "platt", slope=2, intercept=0.5))) == Platt(2, 0.5)
    assert load(Path(stored(tmp_path, "isotonic", scores=[1], probabilities=[0.5]))) == Isotonic((1.0,), (0.5,))
    assert Isotonic((1.0,), (0.5,))(np.array([0.0, 9.0])).tolist() == [0.5, 0.5]
