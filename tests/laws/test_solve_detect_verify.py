"""Solve-Detect-Verify: hesitation, early stop, verification, refinement, and giving up."""

from typing import Any

import pytest

from ponder.protocols import Until
from ponder.search.solve_detect_verify import COMPLETE, SolveDetectVerify
from ponder.types import Problem, Score
from tests.laws.speaking import Speaker, prompts


@pytest.fixture
def by_lines(lab: Any) -> Any:
    lab.step = Until(stop=("\n",))
    return lab


class Reader:
    """Accepts solutions that hold a word; else names the second step as wrong."""

    range = (0.0, 1.0)

    def __init__(self, word: str) -> None:
        self.word = word

    def score(self, traces: Any) -> list[float]:
        return [1.0 if self.word in t.text else Score(0.0, [1.0, *[0.0] * (len(t) - 1)]) for t in traces]


def texts(population: Any) -> list[str]:
    return [trace.text for trace in population.traces]


def test_a_complete_solution_is_stopped_where_it_hesitates(by_lines: Any) -> None:
    model = Speaker({"solve": ["it is 4\n", "Wait, maybe\n", "4"]}, lambda _: [0.8, 0.2])
    population, ctx = by_lines.run(SolveDetectVerify(1, rounds=0, answer="\nSo: "), model)
    assert texts(population) == ["it is 4\nWait, maybe\n\nSo: 4"]
    assert model.probed == [("it is 4\nWait, maybe\n", COMPLETE)]
    assert ctx.notes == {"stopped early": 1}


def test_an_incomplete_one_goes_on(by_lines: Any) -> None:
    model = Speaker({"solve": ["one\n", "Wait\n", "two"]}, lambda _: [0.2, 0.8])
    population, ctx = by_lines.run(SolveDetectVerify(1, rounds=0), model)
    assert texts(population) == ["one\nWait\ntwo"]
    assert len(model.probed) == 1
    assert ctx.notes == {}


def test_who_does_not_hesitate_is_not_probed(by_lines: Any) -> None:
    model = Speaker({"solve": ["one\n", "two"]})
    by_lines.run(SolveDetectVerify(1, rounds=0), model)
    assert model.probed == []


def test_an_accepted_solution_is_final(by_lines: Any) -> None:
    model = Speaker({"solve": ["fine"]})
    population, ctx = by_lines.run(SolveDetectVerify(1), model, Reader("fine"))
    assert texts(population) == ["fine"]
    assert ctx.ledger.total.verifier_calls == 1


def test_a_rejected_one_is_solved_anew_with_the_step_that_was_wrong(by_lines: Any) -> None:
    model = Speaker({"solve": ["a\n", "b"], "refinement": ["fine"]})
    population, ctx = by_lines.run(SolveDetectVerify(1), model, Reader("fine"), problem=Problem("p", "How many?"))
    assert texts(population) == ["fine"]
    assert "step 2 is wrong: b" in prompts(model)[1]
    assert prompts(model)[1].startswith("How many?")
    assert population.traces[0].problem.prompt == "How many?"
    assert ctx.notes == {"refined": 1}


def test_after_the_last_round_it_gives_up(by_lines: Any) -> None:
    model = Speaker({"solve": ["a"], "refinement": ["b", "c", "d"]})
    population, ctx = by_lines.run(SolveDetectVerify(1, rounds=2), model, Reader("fine"))
    assert texts(population) == ["c"]
    assert ctx.ledger.total.verifier_calls == 2  # what is left is not verified again


def test_only_rejected_chains_are_redone(by_lines: Any) -> None:
    model = Speaker({"solve": ["fine", "b", "fine"], "refinement": ["C"]})
    population, _ = by_lines.run(SolveDetectVerify(3), model, Reader("fine"))
    assert texts(population) == ["fine", "C", "fine"]
