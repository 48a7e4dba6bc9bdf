"""Context: what a strategy's awaits become, what they cost, and what they raise."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ponder.context import Context, Setup
from ponder.errors import SamplerError, UserError, VerifierError
from ponder.ledger import Budget, BudgetExhausted, Ledger
from ponder.protocols import Picking, Until
from ponder.runner import search
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.types import Cost, Population, Probabilities, Problem, Score, Step, Trace

PROBLEM = Problem("p", "ask")
LETTERS = {"^": {"a": 0.5, "b": 0.5}, "a": {"a": 0.5, "b": 0.5}, "b": {"a": 0.5, "b": 0.5}}


def spelled(text: str, why: Any = "stop", closed: bool = False) -> Trace:
    """A trace of one step a character."""
    steps = [Step(c, (ord(c),), why="stop") for c in text[:-1]] + [Step(c, (ord(c),), why=why) for c in text[-1:]]
    return Trace(PROBLEM, tuple(steps), closed)


class Noting(Scripted):
    """Plays texts and notes every request."""

    def __init__(self, texts: Any = ("abc", "abd"), **more: Any) -> None:
        super().__init__(texts, **more)
        self.asked: list[tuple[str, int, int, int]] = []

    async def sample(self, trace: Trace, n: int, until: Until, *, seed: int) -> list[Step]:
        self.asked.append((trace.text, n, until.max_tokens, seed))
        return await super().sample(trace, n, until, seed=seed)


class Lengths:
    """Scores by length, notes batches."""

    def __init__(self, cost: Cost | None = None) -> None:
        self.batches: list[list[str]] = []
        self.cost = cost

    async def score(self, traces: Sequence[Trace]) -> list[float]:
        self.batches.append([trace.text for trace in traces])
        return [Score(len(t.text), (), self.cost) if self.cost else float(len(t.text)) for t in traces]


def context(
    sampler: Any = None,
    verifier: Any = None,
    budget: Budget | None = None,
    step: Until | None = None,
    solution: Until | None = None,
    seed: int = 0,
    **more: Any,
) -> Context:
    setup = Setup(
        samplers=sampler if isinstance(sampler, dict) else {"policy": sampler or Noting()},
        verifiers={"verifier": verifier} if verifier else {},
        step=step or Until(every=1),
        solution=solution or Until(max_tokens=100),
        backoff=0.0,
        **more,
    )
    return Context(setup, Ledger(budget), np.random.default_rng(seed))


def texts(traces: Sequence[Trace]) -> list[str]:
    return [trace.text for trace in traces]


# ---------------------------------------------------------------- step


async def test_equal_prefixes_share_one_request() -> None:
    sampler = Noting()
    ctx = context(sampler)
    a, b = spelled("a"), spelled("ab")
    moved = await ctx.step([a, b, a, spelled("a")])
    assert sorted((prefix, n) for prefix, n, _, _ in sampler.asked) == [("a", 3), ("ab", 1)]
    assert texts(moved) == ["ab", "abc", "ab", "ab"]
    assert ctx.ledger.total.prompt_tokens == (3 + 1) + (3 + 2)


async def test_children_stand_in_the_order_of_their_parents() -> None:
    ctx = context(Noting(["xab", "xcd", "ya", "yb"]))
    x, y, done = spelled("x"), spelled("y"), spelled("z", "eos")
    moved = await ctx.step([y, done, x, y], fan_out=2)
    assert texts(moved) == ["ya", "yb", "z", "xa", "xc", "ya", "yb"]
    assert moved[2] is done
    assert moved[3].steps[0] is x.steps[0]


async def test_ended_traces_pass_through_at_no_cost() -> None:
    sampler = Noting()
    ctx = context(sampler)
    ended = [spelled("a", "eos"), spelled("a", "abort"), spelled("a", closed=True)]
    assert await ctx.step(ended, fan_out=3) == ended
    assert sampler.asked == []
    assert ctx.ledger.spent == {}
    assert ctx.rng.integers(2**31) == np.random.default_rng(0).integers(2**31)


@pytest.mark.parametrize("most", [1, 2, 3])
async def test_max_steps_is_exact(most: int) -> None:
    ctx = context(ToyLanguage(LETTERS), max_steps=most)
    traces = [Trace(PROBLEM)] * 4
    for _ in range(most):
        assert all(trace.alive for trace in traces)
        traces = await ctx.step(traces)
    assert all(trace.closed and not trace.finished and len(trace) == most for trace in traces)


async def test_the_end_of_the_last_allowed_step_finishes_rather_than_closes() -> None:
    (trace,) = await context(Noting([""]), max_steps=1).step([Trace(PROBLEM)])
    assert trace.finished
    assert not trace.closed


async def test_a_trace_closes_at_the_solutions_token_limit() -> None:
    sampler = Noting(["abcdefghij"])
    ctx = context(sampler, step=Until(every=4, max_tokens=9), solution=Until(max_tokens=6))
    (first,) = await ctx.step([Trace(PROBLEM)])
    assert (first.text, first.alive) == ("abcd", True)
    (second,) = await ctx.step([first])
    assert [limit for _, _, limit, _ in sampler.asked] == [4, 2]
    assert (second.text, second.closed, second.finished) == ("abcdef", True, False)
    assert second.steps[-1].why == "length"


async def test_a_step_cut_by_its_limit_is_not_finished_and_can_go_on() -> None:
    ctx = context(Noting(["abcde"]), step=Until(stop=("\n",), max_tokens=3))
    (cut,) = await ctx.step([Trace(PROBLEM)])
    assert (cut.text, cut.steps[-1].why, cut.finished, cut.alive) == ("abc", "length", False, True)
    (done,) = await ctx.step([cut])
    assert (done.text, done.finished) == ("abcde", True)


async def test_a_step_without_room_for_a_token_closes_the_trace() -> None:
    (stuck,) = await context(Noting(lambda trace, seed: Step("", (), why="length"))).step([spelled("a")])
    assert stuck.closed
    assert not stuck.finished


async def test_seeds_come_from_the_contexts_chance_and_nothing_else() -> None:
    async def seeds(seed: int) -> list[int]:
        sampler = Noting()
        ctx = context(sampler, seed=seed)
        await ctx.step(await ctx.step([Trace(PROBLEM)] * 2))
        return [one for *_, one in sampler.asked]

    assert await seeds(1) == await seeds(1)
    assert await seeds(1) != await seeds(2)
    assert len(set(await seeds(1))) == 2


# ---------------------------------------------------------------- sample


async def test_sampled_solutions_are_split_like_steps() -> None:
    ctx = context(Noting(["a\nb\nc"]), step=Until(stop=("\n",)))
    (whole,) = await ctx.sample(PROBLEM, 1)
    assert [step.text for step in whole.steps] == ["a\n", "b\n", "c"]
    assert [step.why for step in whole.steps] == ["stop", "stop", "eos"]
    grown = Trace(PROBLEM)
    while grown.alive:
        (grown,) = await ctx.step([grown])
    assert grown == whole


async def test_sampling_cut_by_the_limit_closes() -> None:
    sampler = Noting(["abcdef"])
    (cut,) = await context(sampler, solution=Until(max_tokens=4)).sample(PROBLEM, 1)
    assert (cut.text, cut.finished, cut.closed, cut.steps[-1].why) == ("abcd", False, True, "length")
    (rest,) = await context(sampler, solution=Until(max_tokens=4)).sample(spelled("ab"), 1)
    assert rest.text == "abcd"
    assert sampler.asked[-1][2] == 2


async def test_sampling_from_an_ended_trace_is_free() -> None:
    sampler = Noting()
    done = spelled("a", "eos")
    assert await context(sampler).sample(done, 3) == [done] * 3
    assert sampler.asked == []


async def test_n_solutions_are_one_request_and_n_samples() -> None:
    sampler = Noting()
    ctx = context(sampler)
    assert len(await ctx.sample(PROBLEM, 5)) == 5
    assert [n for _, n, _, _ in sampler.asked] == [5]
    assert ctx.ledger.spent["policy"] == Cost(samples=5, prompt_tokens=3, new_tokens=20)
    await ctx.sample(spelled("a"), 2)
    assert ctx.ledger.total.samples == 5, "continuing is not beginning"


# ---------------------------------------------------------------- budgets


async def test_sampling_returns_fewer_when_the_budget_ends() -> None:
    sampler = ToyLanguage({"^": {"a": 1.0}, "a": {"b": 1.0}, "b": {"$": 1.0}})
    ctx = context(sampler, budget=Budget(new_tokens=8), solution=Until(max_tokens=3))
    traces = await ctx.sample(PROBLEM, 5)
    assert texts(traces) == ["ab", "ab"]
    assert all(trace.finished for trace in traces)
    assert ctx.ledger.total.new_tokens == sampler.new_tokens <= 8


async def test_sampling_raises_when_not_even_one_fits() -> None:
    ctx = context(Noting(["abcdef"]), budget=Budget(new_tokens=4))
    with pytest.raises(BudgetExhausted):
        await ctx.sample(PROBLEM, 3)
    assert ctx.ledger.total.new_tokens == 4


async def test_a_ceiling_on_samples_is_a_number_of_solutions() -> None:
    ctx = context(budget=Budget(samples=3))
    assert len(await ctx.sample(PROBLEM, 5)) == 3
    with pytest.raises(BudgetExhausted, match="samples 3 of 3"):
        await ctx.sample(PROBLEM, 1)
    assert len(await ctx.sample(spelled("a"), 2)) == 2


async def test_a_step_cut_by_the_budget_is_not_returned_but_booked() -> None:
    sampler = Noting(["abcdef"])
    ctx = context(sampler, budget=Budget(new_tokens=4), step=Until(stop=("e",), max_tokens=10))
    with pytest.raises(BudgetExhausted):
        await ctx.step([Trace(PROBLEM)])
    assert ctx.ledger.total.new_tokens == sampler.new_tokens == 4


async def test_a_step_that_ends_within_the_budgets_last_tokens_is_returned() -> None:
    ctx = context(Noting(["abcdef"]), budget=Budget(new_tokens=4), step=Until(stop=("c",), max_tokens=10))
    (moved,) = await ctx.step([Trace(PROBLEM)])
    assert moved.text == "abc"
    assert moved.alive


async def test_what_runs_beside_a_failing_request_is_still_booked() -> None:
    def script(trace: Trace, seed: int) -> str:
        if trace.text == "x":
            raise ConnectionError("away")
        return "abc"

    sampler = Noting(script)
    ctx = context(sampler, attempts=1)
    with pytest.raises(SamplerError):
        await ctx.step([spelled("x"), spelled("y"), spelled("z")])
    assert ctx.ledger.total.new_tokens == sampler.new_tokens == 2


async def test_scoring_past_a_ceiling_raises_before_the_verifier_is_called() -> None:
    verifier = Lengths()
    ctx = context(verifier=verifier, budget=Budget(verifier_calls=3))
    await ctx.score([spelled("a"), spelled("b")])
    with pytest.raises(BudgetExhausted, match="verifier_calls 2 of 3"):
        await ctx.score([spelled("c"), spelled("d")])
    assert verifier.batches == [["a", "b"]]
    assert (await ctx.score([spelled("a"), spelled("ccc")])).tolist() == [1, 3]


async def test_a_budget_that_ends_in_a_task_group_gives_the_last_report() -> None:
    async def strategy(problem: Problem, ctx: Context) -> Population:
        population = Population.equal(await ctx.sample(problem, 2))
        ctx.report(population)
        async with asyncio.TaskGroup() as outer:
            outer.create_task(nested(ctx))
        return Population.equal([])

    async def nested(ctx: Context) -> None:
        async with asyncio.TaskGroup() as inner:
            for _ in range(3):
                inner.create_task(ctx.sample(PROBLEM, 1))

    ctx = context(budget=Budget(samples=2))
    population = await search(strategy, PROBLEM, ctx)
    assert population is ctx.reports[-1].population
    assert texts(population.traces) == ["abc", "abd"]


async def test_another_error_in_a_task_group_comes_out_bare() -> None:
    async def strategy(problem: Problem, ctx: Context) -> Population:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.sample(problem, 1, role="draft"))
        return Population.equal([])

    with pytest.raises(UserError, match="'draft'"):
        await search(strategy, PROBLEM, context())


async def test_out_of_budget_before_any_report_is_an_empty_population() -> None:
    async def strategy(problem: Problem, ctx: Context) -> Population:
        raise BudgetExhausted("at once")

    assert len(await search(strategy, PROBLEM, context())) == 0


# ---------------------------------------------------------------- failing engines


class Failing(Noting):
    """Raises on the first requests, then plays."""

    def __init__(self, failures: int, error: Exception) -> None:
        super().__init__()
        self.failures, self.error, self.tries = failures, error, 0

    async def sample(self, trace: Trace, n: int, until: Until, *, seed: int) -> list[Step]:
        self.tries += 1
        if self.tries <= self.failures:
            raise self.error
        return await super().sample(trace, n, until, seed=seed)


@pytest.mark.parametrize("failures", [1, 3])
async def test_a_request_is_repeated_with_the_same_seed(failures: int) -> None:
    shaken, steady = Failing(failures, ConnectionError("away")), Failing(0, ConnectionError())
    ctx = context(shaken)
    assert await ctx.sample(PROBLEM, 2) == await context(steady).sample(PROBLEM, 2)
    assert shaken.tries == failures + 1
    assert shaken.asked == steady.asked
    assert ctx.ledger.total.new_tokens == shaken.new_tokens


@pytest.mark.parametrize("error", [ConnectionError("the engine is away"), SamplerError("the engine is away")])
async def test_a_request_that_always_fails_is_given_up(error: Exception) -> None:
    sampler = Failing(99, error)
    ctx = context({"draft": sampler})
    with pytest.raises(SamplerError, match="the engine is away") as caught:
        await ctx.sample(PROBLEM, 2, role="draft")
    assert "draft" in str(caught.value) or caught.value is error
    assert sampler.tries == 4
    assert ctx.ledger.total == Cost()


async def test_another_exception_is_attributed_to_the_role() -> None:
    with pytest.raises(SamplerError, match=r"^draft: KeyError: 'x' \(2 attempts\)") as caught:
        await context({"draft": Failing(99, KeyError("x"))}, attempts=2).step([Trace(PROBLEM)], role="draft")
    assert isinstance(caught.value.__cause__, KeyError)


async def test_a_users_mistake_is_not_tried_again() -> None:
    sampler = Failing(99, UserError("no such model"))
    with pytest.raises(UserError, match="no such model"):
        await context(sampler).sample(PROBLEM, 2)
    assert sampler.tries == 1


async def test_backoff_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await real(0)

    ctx = context(Failing(3, ConnectionError("away")))
    ctx._setup.backoff = 0.5
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await ctx.sample(PROBLEM, 1)
    assert [wait for wait in waits if wait] == [0.5, 1.0, 2.0]


class Stingy(Noting):
    """Returns at most `most` completions."""

    def __init__(self, most: int) -> None:
        super().__init__(["ab", "cd", "ef"], order="seed")
        self.most = most

    async def sample(self, trace: Trace, n: int, until: Until, *, seed: int) -> list[Step]:
        return await super().sample(trace, min(n, self.most), until, seed=seed)


async def test_missing_completions_are_asked_for_with_fresh_seeds() -> None:
    sampler = Stingy(1)
    ctx = context(sampler)
    traces = await ctx.sample(PROBLEM, 30)
    assert len(traces) == 30
    assert set(texts(traces)) == {"ab", "cd", "ef"}
    assert len({seed for *_, seed in sampler.asked}) == 30
    assert ctx.ledger.total == Cost(samples=30, prompt_tokens=90, new_tokens=90)


@pytest.mark.parametrize("count", [0, 3])
async def test_no_completion_or_too_many_is_an_error_that_names_the_role(count: int) -> None:
    class Odd(Scripted):
        async def sample(self, trace: Trace, n: int, until: Until, *, seed: int) -> list[Step]:
            return [Step("a", (1,), why="eos")] * count

    with pytest.raises(SamplerError, match=r"^judge: "):
        await context({"judge": Odd(["a"])}).sample(PROBLEM, 2, role="judge")


@pytest.mark.parametrize("call", ["sample", "step", "probe", "score"])
async def test_a_missing_role_is_a_users_mistake_that_lists_the_bound_ones(call: str) -> None:
    ctx = context({"policy": Noting(), "draft": Noting()}, Lengths())
    work: dict[str, Any] = {
        "sample": lambda: ctx.sample(PROBLEM, 1, role="judge"),
        "step": lambda: ctx.step([Trace(PROBLEM)], role="judge"),
        "probe": lambda: ctx.probe(Trace(PROBLEM), "", ["a"], role="judge"),
        "score": lambda: ctx.score([Trace(PROBLEM)], role="judge"),
    }
    with pytest.raises(UserError, match="'judge'") as caught:
        await work[call]()
    assert caught.value.hint == "bound roles: " + ("verifier" if call == "score" else "policy, draft")


# ---------------------------------------------------------------- score


async def test_equal_traces_are_scored_once_and_a_second_call_is_free() -> None:
    verifier = Lengths(Cost(verifier_tokens=7, flops=2.0))
    ctx = context(verifier=verifier)
    scores = await ctx.score([spelled("ab"), spelled("a"), spelled("ab"), spelled("ab")])
    assert scores.tolist() == [2, 1, 2, 2]
    assert scores.dtype == np.float64
    assert verifier.batches == [["ab", "a"]]
    once = Cost(verifier_calls=2, verifier_tokens=14, flops=4.0)
    assert ctx.ledger.spent == {"verifier": once}
    assert (await ctx.score([spelled("a"), spelled("ab")])).tolist() == [1, 2]
    assert ctx.ledger.spent == {"verifier": once}
    await ctx.score([spelled("a"), spelled("abc")])
    assert verifier.batches == [["ab", "a"], ["abc"]]
    assert ctx.ledger.total.verifier_calls == 3
    assert (await ctx.score([])).shape == (0,)


async def test_known_scores_can_be_looked_up_for_nothing() -> None:
    ctx = context(verifier=Lengths(Cost(verifier_tokens=1)))
    await ctx.score([spelled("ab")])
    assert ctx.known_score(spelled("ab")) == 2
    assert isinstance(ctx.known_score(spelled("ab")), Score)
    assert ctx.known_score(spelled("a")) is None
    assert ctx.known_score(spelled("ab"), "judge") is None


class Ranks:
    """Compares: the share of the group that a trace is at least as long as."""

    range = (0.0, 1.0)

    def __init__(self) -> None:
        self.groups: list[list[str]] = []

    async def compare(self, traces: Sequence[Trace]) -> list[float]:
        self.groups.append([trace.text for trace in traces])
        return [sum(len(one.text) <= len(t.text) for one in traces) / len(traces) for t in traces]

    def quote(self, traces: Sequence[Trace]) -> Cost:
        return Cost(verifier_tokens=len(traces) ** 2)


async def test_a_verifier_that_compares_sees_the_traces_of_one_call() -> None:
    verifier = Ranks()
    ctx = context(verifier=verifier)
    short, middle, long = spelled("a"), spelled("ab"), spelled("abc")
    first, other = await asyncio.gather(ctx.score([short, middle, short]), ctx.score([long]))
    assert first.tolist() == pytest.approx([2 / 3, 1.0, 2 / 3])
    assert other.tolist() == [1.0]
    assert sorted(verifier.groups) == [["a", "ab", "a"], ["abc"]]
    assert (await ctx.score([short, long])).tolist() == pytest.approx([2 / 3, 1.0]), "both are known: nothing is asked"
    assert (await ctx.score([middle, long, spelled("abcd")])).tolist() == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert verifier.groups[2:] == [["ab", "abc", "abcd"]]
    assert ctx.ledger.spent["verifier"].verifier_calls == 6


async def test_a_comparison_is_quoted_as_a_whole() -> None:
    ctx = context(verifier=Ranks(), budget=Budget(verifier_tokens=8))
    await ctx.score([spelled("a"), spelled("ab")])
    with pytest.raises(BudgetExhausted):
        await ctx.score([spelled("a"), spelled("ab"), spelled("abc")])


async def test_what_is_no_comparison_names_the_method() -> None:
    class Short:
        async def compare(self, traces: Sequence[Trace]) -> list[float]:
            return [0.5]

    with pytest.raises(VerifierError, match=r"Short\.compare returned 1 scores for 2 traces"):
        await context(verifier=Short()).score([spelled("a"), spelled("ab")])


async def test_a_users_mistake_inside_a_verifier_stays_one() -> None:
    class Refused:
        async def score(self, traces: Sequence[Trace]) -> list[float]:
            raise UserError("verifier.model=x is missing", "give one")

    with pytest.raises(UserError, match=r"verifier\.model=x"):
        await context(verifier=Refused()).score([spelled("a")])


def verdict(answer: Any, **fields: Any) -> Any:
    """An instance of a class Harsh whose `score` gives or raises an answer."""

    def score(self: Any, traces: Sequence[Trace]) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer(traces) if callable(answer) else answer

    return type("Harsh", (), {"score": score, **fields})()


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ([], "returned 0 scores for 1"),
        ([0.1, 0.2, 0.3], "returned 3 scores for 1"),
        (None, "raised TypeError"),
        (lambda traces: [math.nan] * len(traces), "returned nan"),
        (lambda traces: [math.inf] * len(traces), "returned inf"),
        (lambda traces: [1.5] * len(traces), r"returned 1\.5, allowed are finite numbers in \[0\.0, 1\.0\]"),
        (lambda traces: [-0.5] * len(traces), r"returned -0\.5"),
        (lambda traces: [None] * len(traces), "returned None"),
        (lambda traces: ["high"] * len(traces), "returned high"),
        (lambda traces: [[0.1, 0.2]] * len(traces), r"returned \[0\.1, 0\.2\]"),
        (KeyError("gold"), "raised KeyError: 'gold'"),
    ],
)
async def test_what_is_no_score_names_the_verifier(answer: Any, complaint: str) -> None:
    ctx = context(verifier=verdict(answer, range=(0.0, 1.0)))
    with pytest.raises(VerifierError, match=rf"^Harsh\.score {complaint}"):
        await ctx.score([spelled("a"), spelled("b")])
    assert ctx.known_score(spelled("a")) is None


async def test_any_finite_number_is_a_score_without_a_range() -> None:
    answers = [-1e9, 3, np.float32(0.5), True]
    ctx = context(verifier=verdict(lambda traces: answers[: len(traces)]))
    assert (await ctx.score([spelled(letter) for letter in "abcd"])).tolist() == [-1e9, 3, 0.5, 1]


# ---------------------------------------------------------------- probe and report


async def test_a_probe_is_counted() -> None:
    sampler = Scripted(["ab"], probabilities=[0.25, 0.75])
    ctx = context(sampler)
    found = await ctx.probe(spelled("ab"), " so", ["y", "n"])
    assert found.tolist() == [0.25, 0.75]
    assert ctx.ledger.spent == {"policy": Cost(prompt_tokens=3 + 2 + 3, new_tokens=1)}
    assert sampler.new_tokens == 1


async def test_a_probe_without_a_cost_counts_one_token_and_failures_are_repeated() -> None:
    class Plain:
        tries = 0

        async def probe(self, trace: Trace, suffix: str, choices: Sequence[str]) -> list[float]:
            self.tries += 1
            if self.tries < 3:
                raise ConnectionError("away")
            return [1.0]

    ctx = context({"judge": Plain()})
    assert (await ctx.probe(Trace(PROBLEM), "", ["y"], role="judge")).tolist() == [1.0]
    assert ctx.ledger.spent == {"judge": Cost(new_tokens=1)}


async def test_a_probe_needs_a_token_of_the_budget() -> None:
    ctx = context(Scripted(["ab"]), budget=Budget(new_tokens=2))
    for _ in range(2):
        await ctx.probe(Trace(PROBLEM), "", ["y"])
    with pytest.raises(BudgetExhausted):
        await ctx.probe(Trace(PROBLEM), "", ["y"])


async def test_a_probes_suffix_counts_against_a_ceiling_of_prompt_tokens() -> None:
    class Judge(Scripted):
        def quote(self, trace: Trace, tokens: int) -> Cost:
            return Cost(prompt_tokens=len(trace.problem.prompt) + len(trace.text), new_tokens=tokens)

        async def probe(self, trace: Trace, suffix: str, choices: Sequence[str]) -> Probabilities:
            raise AssertionError("this probe does not fit")

    ctx = context(Judge(["ab"]), budget=Budget(prompt_tokens=5))
    with pytest.raises(BudgetExhausted, match="prompt_tokens"):
        await ctx.probe(Trace(PROBLEM), "long", ["y"])


async def test_a_report_keeps_what_was_spent_then() -> None:
    ctx = context()
    first = Population.equal(await ctx.sample(PROBLEM, 1))
    ctx.report(first)
    await ctx.sample(PROBLEM, 3)
    ctx.report(first)
    assert [report.cost["policy"].samples for report in ctx.reports] == [1, 4]
    assert 0 <= ctx.reports[0].seconds <= ctx.reports[1].seconds


async def test_a_strategy_may_pick_differently_and_read() -> None:
    toy = ToyLanguage({"^": {"a": 0.9, "b": 0.1}, "a": {"$": 1.0}, "b": {"$": 1.0}})
    ctx = Setup({"policy": toy}).context(PROBLEM, 0)
    greedy = await ctx.sample(PROBLEM, 20, picking=Picking(temperature=0.0))
    assert {trace.text for trace in greedy} == {"a"}
    (moved,) = await ctx.step([Trace(PROBLEM)], picking=Picking(temperature=0.0))
    assert moved.text == "a"
    read = await ctx.read(Trace(PROBLEM), Step("b", (98,)))
    assert read.logprobs == pytest.approx((np.log(0.1),))
    assert ctx.ledger.total.new_tokens == toy.new_tokens
    assert ctx.ledger.total.prompt_tokens == toy.prompt_tokens


async def test_a_sampler_that_cannot_is_named() -> None:
    class Bare:
        async def sample(self, trace: Any, n: Any, until: Any, *, seed: Any) -> Any:
            return [Step("x", why="eos")] * n

        async def probe(self, trace: Any, suffix: Any, choices: Any) -> Any:
            return [0.0]

    ctx = Setup({"policy": Bare()}).context(PROBLEM, 0)
    with pytest.raises(UserError, match="`varied`, which Bare"):
        await ctx.sample(PROBLEM, 1, picking=Picking(temperature=0.0))
    with pytest.raises(UserError, match="`read`, which Bare"):
        await ctx.read(Trace(PROBLEM), Step("x"))


async def test_a_verbatim_question_is_no_sample() -> None:
    ctx = Setup({"policy": Scripted(["x"])}).context(PROBLEM, 0)
    await ctx.sample(Problem("p/judge", "which?", verbatim=True), 2)
    assert ctx.ledger.total.samples == 0
    assert ctx.ledger.total.new_tokens == 4


async def test_answers_are_the_task_s() -> None:
    ctx = Setup({"policy": Scripted(["x"])}).context(PROBLEM, 0, lambda trace: trace.text.upper())
    (trace,) = await ctx.sample(PROBLEM, 1)
    assert ctx.answer(trace) == "X"
