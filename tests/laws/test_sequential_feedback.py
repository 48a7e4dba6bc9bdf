"""Sequential feedback: accepted, rejected to the end, out of context; no word of the answer."""

from typing import Any

import numpy as np
import pytest

from ponder.errors import UserError
from ponder.ledger import Budget
from ponder.search import select
from ponder.search.sequential_feedback import SequentialFeedback
from tests.laws.speaking import Speaker, prompts

RNG = np.random.default_rng(0)


class Marks:
    """Scores texts by a table."""

    range = (0.0, 1.0)

    def __init__(self, **marks: float) -> None:
        self.marks = marks

    def score(self, traces: Any) -> list[float]:
        return [self.marks[trace.text] for trace in traces]


def chosen(population: Any) -> Any:
    return select.argmax(population, lambda trace: trace.text, RNG)


def test_an_accepted_attempt_ends_it(lab: Any) -> None:
    model = Speaker({"solve": ["bad"], "attempt": ["good", "never"]})
    population, ctx = lab.run(SequentialFeedback(5), model, Marks(bad=0.2, good=0.9))
    assert [trace.text for trace in population.traces] == ["bad", "good"]
    assert chosen(population) == "good"
    assert ctx.ledger.total.verifier_calls == 2


def test_the_next_attempt_hears_a_verdict_and_nothing_else(lab: Any) -> None:
    model = Speaker({"solve": ["bad"], "attempt": ["worse", "good"]})
    lab.run(SequentialFeedback(5), model, Marks(bad=0.2, worse=0.1, good=0.9))
    first, second, third = prompts(model)
    assert "bad" not in first
    assert "Attempt 1:\nbad" in second
    assert "This attempt is wrong." in second
    assert "Attempt 2:\nworse" in third
    assert "None of these attempts is right." in third
    assert not any(word in second + third for word in ("0.2", "0.9", "good"))


def test_where_none_is_accepted_the_best_scored_is_chosen(lab: Any) -> None:
    model = Speaker({"solve": ["bad"], "attempt": ["fair", "worse"]})
    population, _ = lab.run(SequentialFeedback(3), model, Marks(bad=0.2, fair=0.4, worse=0.1))
    assert len(population) == 3
    assert chosen(population) == "fair"


def test_only_the_last_attempts_may_be_shown(lab: Any) -> None:
    model = Speaker({"solve": ["bad"], "attempt": ["fair", "worse"]})
    lab.run(SequentialFeedback(3, shown=1), model, Marks(bad=0.2, fair=0.4, worse=0.1))
    assert "bad" not in prompts(model)[2]
    assert "fair" in prompts(model)[2]


def test_a_full_context_ends_it(lab: Any) -> None:
    model = Speaker({"solve": ["bad"], "attempt": ["fair"]})
    population, _ = lab.run(SequentialFeedback(9, context=7), model, Marks(bad=0.2, fair=0.4))
    assert [trace.text for trace in population.traces] == ["bad", "fair"]  # 4 tokens, then 9


def test_inline_the_model_goes_on_after_the_verdict(lab: Any) -> None:
    model = Speaker({"solve": ["bad", "worse", "good"]})
    marks = Marks(**{"bad": 0.2, "bad No: worse": 0.1, "bad No: worse No: good": 0.9})
    strategy = SequentialFeedback(5, inline=" No: ")
    population, ctx = lab.run(strategy, model, marks)
    assert [trace.text for trace in population.traces] == ["bad", "bad No: worse", "bad No: worse No: good"]
    assert chosen(population) == "bad No: worse No: good"
    assert prompts(model) == ["ask"]
    assert strategy.instructed is None
    assert ctx.ledger.total.new_tokens == 4 + 6 + 5


def test_inline_an_attempt_that_was_cut_off_is_the_last(lab: Any) -> None:
    lab.max_tokens = 8
    model = Speaker({"solve": ["bad", "much too long"]})
    marks = Marks(**{"bad": 0.2, "bad? much ": 0.1})
    population, _ = lab.run(SequentialFeedback(5, inline="? "), model, marks)
    assert [trace.text for trace in population.traces] == ["bad", "bad? much "]


def test_inline_a_budget_that_ends_leaves_what_there_was(lab: Any) -> None:
    model = Speaker({"solve": ["bad", "good"]})
    population, _ = lab.run(SequentialFeedback(5, inline="?"), model, Marks(bad=0.2), budget=Budget(new_tokens=6))
    assert [trace.text for trace in population.traces] == ["bad"]


@pytest.mark.parametrize(("key", "value"), [("threshold", float("nan")), ("shown", 0), ("context", 0)])
def test_arguments_out_of_range(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}"):
        SequentialFeedback(2, **{key: value})
