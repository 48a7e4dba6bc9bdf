"""The arithmetic task: stable problems, gold that grades itself, and a checker that catches every kind of mistake."""

from __future__ import annotations

import pytest

from ponder.errors import UserError
from ponder.tasks.arithmetic import Arithmetic, ArithmeticOracle, Chain, check, held_out, settled
from ponder.types import Problem, Step, Trace, Why

PROBLEM = Problem("toy", "17;a*3;b-5;c+7?")
GOLD = ("a17*3=51\n\n", "b51-5=46\n\n", "c46+7=53\n\n", r"\boxed{53}")


def trace_of(*texts: str, problem: Problem = PROBLEM, why: Why = "eos") -> Trace:
    whys: list[Why] = [*(["stop"] * (len(texts) - 1)), why]  # type: ignore[list-item]
    return Trace(problem, tuple(Step(text, why=w) for text, w in zip(texts, whys, strict=True)))


def solved(problem: Problem) -> Trace:
    chain = Chain.parse(problem.prompt)
    assert chain is not None
    lines = chain.solution.split("\n\n")
    return trace_of(*(line + "\n\n" for line in lines[:-1]), lines[-1], problem=problem)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_gold_grades_itself(level: int) -> None:
    task = Arithmetic(level=level, limit=20)
    for problem in task.problems():
        trace = solved(problem)
        assert task.grade(problem, task.answer(trace))
        assert check(problem, trace) == [True] * len(trace)
        assert not task.grade(problem, f"{(int(task.gold(problem)) + 1) % 100:02d}")
        assert not task.grade(problem, None)
        assert problem.meta["level"] == level


def test_values_by_hand() -> None:
    chain = Chain.parse("17;a*3;b-5;c+7?")
    assert chain is not None
    assert chain.prompt == PROBLEM.prompt
    assert chain.solution == "".join(GOLD)
    assert Chain(2, (("-", 9), ("*", 4))).gold == "72"


def test_problems_are_stable_and_do_not_depend_on_the_limit() -> None:
    few, many = list(Arithmetic(limit=3).problems()), list(Arithmetic(limit=50).problems())
    assert [(p.id, p.prompt) for p in few] == [(p.id, p.prompt) for p in many[:3]]
    assert few[0].id == "arithmetic-l3-s0-00000"
    assert few[0].prompt == "10;a*9;b+9;c*9;d-2;e-9;f-4?"
    assert len({p.id for p in many}) == 50
    assert few[0].prompt != next(iter(Arithmetic(seed=1).problems())).prompt


def test_every_problem_is_held_out() -> None:
    for level in (1, 3, 5):
        assert all(held_out(p.prompt) for p in Arithmetic(level=level, limit=100, seed=3).problems())


def test_the_docstring_row_is_real() -> None:
    import ponder.tasks.arithmetic as module

    problem = next(iter(Arithmetic(level=1).problems()))
    assert module.__doc__ is not None
    assert problem.prompt in module.__doc__
    assert all(line in module.__doc__ for line in solved(problem).text.split("\n\n"))


@pytest.mark.parametrize(
    ("texts", "verdicts"),
    [
        (GOLD, [True] * 4),
        ((GOLD[0], "b51-5=45\n\n", "c45+7=52\n\n", r"\boxed{52}"), [True, False, False, False]),
        ((GOLD[0], "b51-5=45\n\n", GOLD[2], GOLD[3]), [True, False, False, False]),
        ((GOLD[0], "b15-5=10\n\n"), [True, False]),
        ((GOLD[0], "b51+5=56\n\n"), [True, False]),
        ((GOLD[0], "b51-6=45\n\n"), [True, False]),
        ((GOLD[0], "c51-5=46\n\n"), [True, False]),
        ((GOLD[0], GOLD[2]), [True, False]),
        ((GOLD[0], GOLD[0], GOLD[1]), [True, False, False]),
        ((GOLD[0], r"\boxed{51}"), [True, False]),
        ((*GOLD[:3], r"\boxed{46}"), [True, True, True, False]),
        ((*GOLD, GOLD[3]), [True, True, True, True, False]),
        ((GOLD[0], "a17*3"), [True, False]),
        (("a17*3\n\n", "=51\n\n"), [False, False]),
        (("a17*3=5\n\n",), [False]),
        (("".join(GOLD),), [True]),
        (("".join(GOLD[:2]),), [False]),
    ],
    ids=[
        "right", "result", "recovered", "copy", "sign", "operand", "letter", "skipped", "repeated", "early box",
        "wrong box", "after the box", "unfinished", "broken line", "broken number", "whole", "whole but unfinished",
    ],
)  # fmt: skip
def test_the_checker_catches_each_mistake(texts: tuple[str, ...], verdicts: list[bool]) -> None:
    assert check(PROBLEM, trace_of(*texts)) == verdicts


def test_a_step_cut_by_a_limit_is_judged_by_what_it_has() -> None:
    assert check(PROBLEM, trace_of(GOLD[0], "b51-", why="length")) == [True, True]
    assert check(PROBLEM, trace_of(GOLD[0], "b51-5=4", why="length")) == [True, False]
    assert check(PROBLEM, trace_of(GOLD[0], "b52-", why="length")) == [True, False]


def test_the_oracle_scores_steps() -> None:
    wrong, empty = trace_of(GOLD[0], r"\boxed{51}"), Trace(PROBLEM)
    foreign = Trace(Problem("x", "What is 2 + 2?"), (Step("4", why="eos"),))
    scores = ArithmeticOracle().score([trace_of(*GOLD), wrong, empty, foreign])
    assert [float(s) for s in scores] == [1.0, 0.0, 1.0, 0.0]
    assert scores[1].steps == (1.0, 0.0)


def test_answers_are_canonical() -> None:
    task = Arithmetic()
    assert task.answer(trace_of(r"\boxed{7}")) == "07" == task.answer(trace_of(r"\boxed{12} \boxed{07}"))
    assert task.answer(trace_of("53")) is None
    assert task.grade(PROBLEM, "53")
    assert not task.grade(PROBLEM, "fifty-three")


def test_settings_are_checked() -> None:
    with pytest.raises(UserError, match="level"):
        Arithmetic(level=6)
    with pytest.raises(UserError, match="limit"):
        Arithmetic(limit=-1)


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        (["a17*3=51", "b51-5=46"], ["a17*3=51", "b51-5=46"]),
        (["a1", "b2", r"\boxed{2}", "?a", "a3", "b4", r"\boxed{4}"], ["a3", "b4", r"\boxed{4}"]),
        (["a1", "b2", "c3", r"\boxed{3}", "?b", "b2", r"\boxed{3}"], ["a1", "b2", "c3", r"\boxed{3}"]),
        (["a1", "b2", r"\boxed{2}", "?a", "a3"], ["a3"]),
        (["a1", "b2", r"\boxed{2}", "?b", "b3", r"\boxed{3}", "?a", "a1", r"\boxed{3}"], ["a1", "b3", r"\boxed{3}"]),
        (["a1", r"\boxed{1}", "?z", "b2", r"\boxed{2}"], ["a1", "b2", r"\boxed{2}"]),
        (["a1", r"\boxed{1}", "?a"], ["a1"]),
        (["?"], []),
    ],
    ids=["none", "changed", "confirmed", "not done yet", "twice", "no such step", "only asked", "nothing left"],
)
def test_a_solution_as_it_stands(lines: list[str], left: list[str]) -> None:
    trace = trace_of("\n\n".join(lines))
    assert settled(trace).text == "\n\n".join(left)
    assert settled(trace).finished
