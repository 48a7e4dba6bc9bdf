"""Planning and navigation: checkers and solvers against brute force, on small puzzles of every level's generator."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import lil_matrix
from scipy.sparse.csgraph import shortest_path

from ponder.errors import UserError
from ponder.tasks import calendar_planning, maze, spatial_map, three_sat, travelling_salesman
from ponder.tasks.generated import Generated
from ponder.tasks.validation import validate
from ponder.types import Problem, Step, Trace

KINDS: dict[str, Any] = {
    "calendar_planning": calendar_planning.calendar_planning,
    "travelling_salesman": travelling_salesman.travelling_salesman,
    "three_sat": three_sat.three_sat,
    "maze": maze.maze,
    "spatial_map": spatial_map.spatial_map,
}
seeds = st.integers(0, 10**6)


def read(task: Generated, problem: Problem, text: str) -> str | None:
    """What a task makes of a reply."""
    return task.answer(Trace(problem, (Step(text, why="eos"),)))


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_every_level_grades_its_own_answers(kind: str, level: int) -> None:
    found = validate(KINDS[kind](level, limit=8, seed=3))
    assert (found.problems, found.proven) == (8, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_puzzle_is_the_same_whatever_the_limit_and_another_with_another_seed(kind: str) -> None:
    few, many = (list(KINDS[kind](2, limit).problems()) for limit in (3, 9))
    assert few == many[:3]
    other = list(KINDS[kind](2, 9, seed=1).problems())
    assert len({p.prompt for p in many} & {p.prompt for p in other}) <= 2
    assert len({p.prompt for p in many}) == 9


@pytest.mark.parametrize("kind", KINDS)
def test_higher_levels_have_longer_prompts(kind: str) -> None:
    lengths = [sum(len(p.prompt) for p in KINDS[kind](level, 10).problems()) for level in range(1, 6)]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("key", "value"), [("level", 0), ("level", 6), ("level", "3"), ("limit", 0), ("limit", True)])
def test_mistakes(kind: str, key: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"task\.{key}={value!r}"):
        KINDS[kind](**{key: value})


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from([1, 2]))
def test_formulas_agree_with_truth_tables(seed: int, level: int) -> None:
    formula = three_sat.drawn(random.Random(seed), level)
    table = {"".join(row) for row in itertools.product("TF", repeat=formula.variables)}
    holding = {
        row for row in table if all(any((row[abs(v) - 1] == "T") == (v > 0) for v in c) for c in formula.clauses)
    }
    assert {row for row in table if formula.right(row)} == holding
    assert formula.right("unsatisfiable") == (not holding)
    assert formula.gold in (holding or {"unsatisfiable"})


def test_about_half_of_the_formulas_are_satisfiable() -> None:
    task = three_sat.three_sat(3, 300)
    golds = [task.puzzle(problem).gold for problem in task.problems()]
    assert 120 < golds.count("unsatisfiable") < 180


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from([1, 2]))
def test_trips_agree_with_all_permutations(seed: int, level: int) -> None:
    trip = travelling_salesman.drawn(random.Random(seed), level)
    n = len(trip.distances)
    lengths = {way: trip.length([0, *way]) for way in itertools.permutations(range(1, n))}
    least = min(lengths.values())
    for way, length in lengths.items():
        assert trip.right(" ".join(map(str, (0, *way)))) == (length == least)
    assert not trip.right(" ".join(map(str, range(1, n))))


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from([1, 2, 3]))
def test_ways_agree_with_dijkstra(seed: int, level: int) -> None:
    grid = maze.drawn(random.Random(seed), level)
    number = {cell: i for i, cell in enumerate(sorted(grid.free))}
    graph = lil_matrix((len(number), len(number)))
    for (row, column), i in number.items():
        for neighbour in ((row + 1, column), (row, column + 1)):
            if neighbour in number:
                graph[i, number[neighbour]] = 1
    least = shortest_path(graph.tocsr(), directed=False, indices=number[grid.start])[number[grid.end]]
    assert len(grid.gold) == least
    assert grid.right(grid.gold)
    for wrong in (grid.gold[:-1], grid.gold + "UD", "UD" + grid.gold, grid.gold[1:], "U", ""):
        assert not grid.right(wrong)


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from([1, 2]))
def test_maps_that_agree_with_the_relations_agree_on_the_answer(seed: int, level: int) -> None:
    puzzle = spatial_map.drawn(random.Random(seed), level)
    n, answers = len(puzzle.names), set()
    for rows in itertools.permutations(range(n)):
        if not all(("north" in where) == (rows[a] < rows[b]) for a, b, where in puzzle.relations):
            continue
        for columns in itertools.permutations(range(n)):
            if all(("west" in where) == (columns[a] < columns[b]) for a, b, where in puzzle.relations):
                lies = [
                    spatial_map.DIRECTIONS[rows[a] < rows[puzzle.origin], columns[a] < columns[puzzle.origin]]
                    for a in range(n)
                ]
                others = [lies[a] for a in range(n) if a != puzzle.origin]
                answers.add(str(others.count(puzzle.direction)) if puzzle.direction else lies[puzzle.of])
    assert answers == {puzzle.gold}
    assert puzzle.direction or (puzzle.of, puzzle.origin) not in {(a, b) for a, b, _ in puzzle.relations}


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from([1, 2, 3, 4, 5]))
def test_meetings_agree_with_every_minute(seed: int, level: int) -> None:
    """Minute by minute: nobody's appointment, with its buffer, shares a minute with the meeting."""
    puzzle = calendar_planning.drawn(random.Random(seed), level)
    possible = False
    for day in puzzle.days:
        free = [True] * (24 * 60)
        for person in puzzle.people:
            for minute in range(24 * 60):
                taken = any(d == day and a - person.buffer <= minute < b + person.buffer for d, a, b in person.busy)
                inside = max(9 * 60, person.earliest) <= minute < min(17 * 60, person.latest)
                free[minute] &= inside and not taken and person.off != day
        for start in range(0, 24 * 60 - puzzle.minutes, 5):
            suits = all(free[start : start + puzzle.minutes])
            end = start + puzzle.minutes
            assert puzzle.right(calendar_planning._slot(day, start, end)) == suits
            possible |= suits
    assert puzzle.right("none") == (not possible)
    assert not puzzle.right("Sunday 9:00-10:00")


READ = [
    ("three_sat", r"\boxed{T, F, T, T}", "TFTT"),
    ("three_sat", r"\boxed{tftt}", "TFTT"),
    ("three_sat", r"\boxed{TFT}", None),
    ("three_sat", r"\boxed{\text{Unsatisfiable}}", "unsatisfiable"),
    ("three_sat", "TFTT", None),
    ("travelling_salesman", r"\boxed{0 3 1 4 2 0}", "0 2 4 1 3"),
    ("travelling_salesman", r"\boxed{2, 4, 1, 3, 0}", "0 2 4 1 3"),
    ("travelling_salesman", r"\boxed{0 \to 2 \to 4 \to 1 \to 3 \to 0}", "0 2 4 1 3"),
    ("travelling_salesman", r"\boxed{0 1 2 3 0}", None),
    ("travelling_salesman", r"\boxed{0 1 2 3 3 4 0}", None),
    ("maze", r"\boxed{R R, D, d}", "RRDD"),
    ("maze", r"\boxed{right}", None),
    ("maze", r"\boxed{}", None),
    ("calendar_planning", r"\boxed{Monday 11:00-12:00}", "Monday 11:00-12:00"),
    ("calendar_planning", r"\boxed{\text{monday, 09:30 to 10:00}}", "Monday 9:30-10:00"),
    ("calendar_planning", r"\boxed{None}", "none"),
    ("calendar_planning", r"\boxed{Someday 9:00-10:00}", None),
    ("calendar_planning", r"\boxed{noon}", None),
]


@pytest.mark.parametrize(("kind", "reply", "answer"), READ)
def test_answers_are_read_strictly(kind: str, reply: str, answer: str | None) -> None:
    task = KINDS[kind](1, 1)
    (problem,) = task.problems()
    assert read(task, problem, f"I think so. {reply}") == answer
    assert read(task, problem, f"<think>{reply}</think>") is None


def test_directions_and_counts_are_read_strictly() -> None:
    task = spatial_map.spatial_map(1, 30)
    for problem in task.problems():
        counted = "How many" in problem.prompt
        assert read(task, problem, r"\boxed{\text{North-West}}") == (None if counted else "northwest")
        assert read(task, problem, r"\boxed{02}") == ("2" if counted else None)
        assert read(task, problem, r"\boxed{north}") is None
