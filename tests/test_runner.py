"""Runs: failed questions are rows, users' mistakes stop, resuming runs what is missing, concurrency is bounded."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ponder.context import Context, Setup
from ponder.errors import UserError
from ponder.ledger import Budget
from ponder.protocols import Until
from ponder.runner import run
from ponder.samplers.scripted import Scripted
from ponder.scripts.records import search_fields
from ponder.scripts.rows import RowFile, read_rows
from ponder.search.best_of_n import BestOfN
from ponder.search.select import SELECTORS
from ponder.types import Cost, Population, Problem, Score, Step, Trace
from ponder.verifiers.rule import Length


class Letters:
    """Questions q0, q1, ...; a text is its own answer, and "ab" is right."""

    def __init__(self, count: int = 4, fails: Mapping[str, Exception] | None = None) -> None:
        self.count, self.fails = count, fails or {}

    def problems(self) -> list[Problem]:
        return [Problem(f"q{i}", f"ask {i}", {"level": i}) for i in range(self.count)]

    def answer(self, trace: Trace) -> str | None:
        if trace.problem.id in self.fails:
            raise self.fails[trace.problem.id]
        return trace.text or None

    def grade(self, problem: Problem, answer: str | None) -> bool:
        return answer == "ab"


class Strategy:
    """Best-of-2, noting which questions it saw; raises where it is told to."""

    def __init__(self, fails: Mapping[str, BaseException] | None = None) -> None:
        self.fails = dict(fails or {})
        self.asked: list[str] = []
        self.running = self.most = 0

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        self.asked.append(problem.id)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(3):
                await asyncio.sleep(0)
            if problem.id in self.fails:
                raise self.fails[problem.id]
            return await BestOfN(2)(problem, ctx)
        finally:
            self.running -= 1


class Listener:
    """A recorder that remembers."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self, run: Mapping[str, Any]) -> None:
        self.told.append(dict(run))

    def row(self, row: Mapping[str, Any]) -> None:
        self.told.append(row["problem_id"])

    def close(self) -> None:
        self.told.append("closed")


class Poisoned(Scripted):
    """An engine that is away for one question."""

    def __init__(self, problem: str) -> None:
        super().__init__(["ab", "c"])
        self.problem = problem

    async def sample(self, trace: Trace, n: int, until: Until, *, seed: int) -> list[Step]:
        if trace.problem.id == self.problem:
            raise ConnectionError("the engine is away")
        return await super().sample(trace, n, until, seed=seed)


async def rows(
    path: Path,
    strategy: Any = None,
    task: Any = None,
    sampler: Any = None,
    verifier: Any = None,
    recorders: Sequence[Any] = (),
    concurrency: int = 64,
    seed: int = 0,
    **limits: Any,
) -> dict[str, Any]:
    """The rows that are on disk after a run, by problem."""
    setup = Setup(
        {"policy": sampler or Scripted(["ab", "c"])},
        {"verifier": verifier or Length(2)},
        step=Until(every=1),
        backoff=0.0,
        **{"solution": Until(max_tokens=8), **limits},
    )
    file = RowFile(path / "rows.jsonl")
    try:
        await run(
            task or Letters(),
            strategy or Strategy(),
            setup,
            rows=file,
            stamp={"run": "r1", "config_hash": "abc"},
            seed=seed,
            select="argmax",
            describe=search_fields,
            selectors=SELECTORS,
            config={"key": 1},
            recorders=recorders,
            concurrency=concurrency,
        )
    finally:
        file.close()
    return {row["problem_id"]: row for row in read_rows(path / "rows.jsonl")}


async def test_a_row_tells_the_question_and_every_selectors_answer(tmp_path: Path) -> None:
    found = await rows(tmp_path, seed=7)
    assert list(found) == ["q0", "q1", "q2", "q3"]
    row = found["q2"]
    told = {"run": "r1", "config_hash": "abc", "seed": 7, "prompt": "ask 2", "meta": {"level": 2}, "select": "argmax"}
    assert {key: row[key] for key in told} == told
    assert set(row["answers"]) == set(SELECTORS)
    assert row["answers"]["argmax"] == {"answer": "ab", "correct": True}
    assert row["answers"]["majority"] == {"answer": "ab", "correct": True}
    assert row["error"] is None
    assert row["cost"]["policy"]["new_tokens"] == 3 + 2
    assert row["cost"]["verifier"]["verifier_calls"] == 2
    assert row["seconds"] > 0
    assert [report["cost"].get("verifier") is None for report in row["reports"]] == [True, False]


class Noting(Letters):
    """Notes what it is asked to grade, and from where."""

    def __init__(self) -> None:
        super().__init__(1)
        self.graded: list[str | None] = []
        self.threads: set[int] = set()

    def answer(self, trace: Trace) -> str | None:
        self.threads.add(threading.get_ident())
        return super().answer(trace)

    def grade(self, problem: Problem, answer: str | None) -> bool:
        self.threads.add(threading.get_ident())
        self.graded.append(answer)
        return super().grade(problem, answer)


async def test_an_answer_is_graded_once_and_not_in_the_loops_thread(tmp_path: Path) -> None:
    task = Noting()
    found = await rows(tmp_path, BestOfN(6), task, Scripted(["ab", "c", "ab"]))
    assert sorted(map(str, task.graded)) == ["ab", "c"]
    assert threading.get_ident() not in task.threads
    assert [trace["correct"] for trace in found["q0"]["traces"]] == [t["answer"] == "ab" for t in found["q0"]["traces"]]


async def test_prefixes_that_others_continue_are_not_graded(tmp_path: Path) -> None:
    """A half-written program would run; only traces that a row stores have answers."""

    class Stepwise:
        async def __call__(self, problem: Problem, ctx: Context) -> Population:
            traces = [Trace(problem)] * 2
            for _ in range(3):
                traces = await ctx.step(traces)
                ctx.report(Population.equal(traces))
            return Population.equal(traces)

    task = Noting()
    await rows(tmp_path, Stepwise(), task, Scripted(["abc"]))
    assert task.graded == ["abc"]


class Judged(Letters):
    """Graded by something that costs."""

    async def grade(self, problem: Problem, answer: str | None) -> Score:  # type: ignore[override]
        await asyncio.sleep(0)
        return Score(float(answer == "ab"), cost=Cost(new_tokens=3))


async def test_a_judge_grades_and_its_cost_stands_apart(tmp_path: Path) -> None:
    found = await rows(tmp_path, BestOfN(4), Judged(2), Scripted(["ab", "c"]))
    for row in found.values():
        assert row["answers"]["argmax"] == {"answer": "ab", "correct": True}
        assert row["grading"]["new_tokens"] == 2 * 3
        assert set(row["cost"]) == {"policy", "verifier"}
        assert row["cost"]["policy"]["new_tokens"] == 2 * (3 + 2)


async def test_a_grade_that_fails_is_a_row_with_its_cause(tmp_path: Path) -> None:
    class Fails(Letters):
        def grade(self, problem: Problem, answer: str | None) -> bool:
            raise OSError("no grader")

    found = await rows(tmp_path, task=Fails(1))
    assert found["q0"]["error"] == {"type": "TaskError", "message": "Fails: OSError: no grader"}
    assert found["q0"]["answers"]["argmax"] == {"answer": "ab", "correct": False}


class Odd:
    """A verifier that gives one score too many for one question."""

    async def score(self, traces: Sequence[Trace]) -> list[float]:
        return [0.5] * (len(traces) + any(trace.problem.id == "q1" for trace in traces))


@pytest.mark.parametrize(
    ("parts", "kind", "message"),
    [
        ({"sampler": Poisoned("q1")}, "SamplerError", "policy: ConnectionError: the engine is away"),
        ({"verifier": Odd()}, "VerifierError", "Odd.score returned 2 scores for 1 traces"),
        ({"strategy": Strategy({"q1": KeyError("x")})}, "StrategyError", "Strategy: KeyError: 'x'"),
        (
            {"strategy": Strategy({"q1": ExceptionGroup("group", [ValueError("inside")])})},
            "StrategyError",
            "Strategy: ValueError: inside",
        ),
        ({"task": Letters(fails={"q1": ZeroDivisionError("by 0")})}, "TaskError", "Letters: ZeroDivisionError: by 0"),
    ],
)
async def test_a_failed_question_is_a_row_with_its_cause_and_the_rest_finish(
    tmp_path: Path, parts: dict[str, Any], kind: str, message: str
) -> None:
    listener = Listener()
    found = await rows(tmp_path, recorders=[listener], **parts)
    assert len(found) == 4
    failed = found.pop("q1")
    assert failed["error"]["type"] == kind
    assert message in failed["error"]["message"]
    assert failed["answers"] == {name: {"answer": None, "correct": False} for name in SELECTORS}
    assert failed["prompt"] == "ask 1"
    assert all(row["error"] is None and row["answers"]["argmax"]["correct"] for row in found.values())
    assert sorted(told for told in listener.told if str(told).startswith("q")) == ["q0", "q1", "q2", "q3"]


async def test_a_failed_question_tells_what_it_spent(tmp_path: Path) -> None:
    found = await rows(tmp_path, verifier=Odd())
    assert found["q1"]["cost"]["policy"]["new_tokens"] == 3 + 2


async def test_resuming_runs_what_is_missing_and_what_failed(tmp_path: Path) -> None:
    first = await rows(tmp_path, Strategy({"q1": KeyError("x")}), Letters(3))
    again, listener = Strategy(), Listener()
    second = await rows(tmp_path, again, Letters(5), recorders=[listener])
    assert sorted(again.asked) == ["q1", "q3", "q4"]
    assert second["q0"] == first["q0"]
    assert second["q1"]["error"] is None
    assert len(second) == 5
    assert listener.told[0] == {"run": "r1", "config_hash": "abc", "config": {"key": 1}, "questions": 5}
    assert listener.told[1:3] == ["q0", "q2"]
    assert sorted(listener.told[3:-1]) == ["q1", "q3", "q4"]
    assert listener.told[-1] == "closed"
    idle = Strategy()
    assert await rows(tmp_path, idle, Letters(5)) == second
    assert idle.asked == []


def without_clock(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_clock(one) for key, one in value.items() if key != "seconds"}
    return [without_clock(one) for one in value] if isinstance(value, list) else value


async def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"seed": 5}
    whole = await rows(tmp_path / "a", task=Letters(6), sampler=Scripted(["ab", "c", "abc"], order="seed"), **settings)
    for count in (2, 6):
        texts = Scripted(["ab", "c", "abc"], order="seed")
        parts = await rows(tmp_path / "b", task=Letters(count), sampler=texts, **settings)
    assert without_clock(parts) == without_clock(whole)


@pytest.mark.parametrize("where", ["strategy", "group", "task", "sampler"])
async def test_a_users_mistake_stops_the_run_and_is_no_result(tmp_path: Path, where: str) -> None:
    mistake = UserError("search.n=0", "allowed: from 1")
    cases: dict[str, dict[str, Any]] = {
        "strategy": {"strategy": Strategy({"q0": mistake})},
        "group": {"strategy": Strategy({"q0": ExceptionGroup("group", [mistake])})},
        "task": {"task": Letters(fails={"q0": mistake})},
        "sampler": {"sampler": Scripted(lambda trace, seed: raising(mistake))},
    }
    listener = Listener()
    with pytest.raises(UserError, match=r"search\.n=0"):
        await rows(tmp_path, concurrency=1, recorders=[listener], **cases[where])
    assert read_rows(tmp_path / "rows.jsonl") == []
    assert listener.told[1:] == ["closed"]


def raising(error: Exception) -> str:
    raise error


@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (3, 3), (64, 10)])
async def test_concurrency_is_bounded_and_used(tmp_path: Path, concurrency: int, most: int) -> None:
    strategy = Strategy()
    assert len(await rows(tmp_path, strategy, Letters(10), concurrency=concurrency)) == 10
    assert strategy.most == most


async def test_a_question_out_of_budget_has_its_last_report_for_a_result(tmp_path: Path) -> None:
    found = await rows(tmp_path, budget=Budget(verifier_calls=1))
    for row in found.values():
        assert row["error"] is None
        assert len(row["reports"]) == 1
        assert row["answers"]["majority"] == {"answer": "ab", "correct": True}
        assert row["population"] == [entry[::2] for entry in row["reports"][0]["population"]]
        assert all(trace["score"] is None for trace in row["traces"])


async def test_a_budget_too_small_for_anything_is_a_wrong_answer(tmp_path: Path) -> None:
    found = await rows(tmp_path, budget=Budget(new_tokens=1))
    for row in found.values():
        assert (row["error"], row["population"], row["traces"]) == (None, [], [])
        assert not any(answer["correct"] for answer in row["answers"].values())
        assert set(row["answers"]) == set(SELECTORS)


async def test_a_runs_budget_holds_for_all_questions_together(tmp_path: Path) -> None:
    found = await rows(tmp_path, task=Letters(6), run_budget=Budget(samples=5))
    assert sum(row["cost"].get("policy", {"samples": 0})["samples"] for row in found.values()) == 5
    assert len(found) == 6
    assert all(row["error"] is None for row in found.values())


async def test_questions_share_the_verifiers_calls(tmp_path: Path) -> None:
    class Counting:
        def __init__(self) -> None:
            self.batches: list[int] = []

        async def score(self, traces: Sequence[Trace]) -> list[float]:
            self.batches.append(len(traces))
            return [0.5] * len(traces)

    verifier = Counting()
    await rows(tmp_path, task=Letters(20), verifier=verifier)
    assert sum(verifier.batches) == 40
    assert len(verifier.batches) <= 2


async def test_a_run_without_questions_opens_and_closes(tmp_path: Path) -> None:
    listener = Listener()
    assert await rows(tmp_path, task=Letters(0), recorders=[listener]) == {}
    assert listener.told[0]["questions"] == 0
    assert listener.told[1:] == ["closed"]
