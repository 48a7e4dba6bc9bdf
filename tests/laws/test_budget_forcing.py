"""Budget forcing: thoughts made to go on, cut off, left alone; NoThinking's prefill."""

from typing import Any

import pytest

from ponder.errors import UserError
from ponder.protocols import Until
from ponder.search.budget_forcing import BudgetForcing
from ponder.search.no_thinking import NoThinking
from tests.laws.speaking import Speaker


@pytest.fixture
def by_lines(lab: Any) -> Any:
    lab.step = Until(stop=("\n",))
    return lab


def texts(population: Any) -> list[str]:
    return [trace.text for trace in population.traces]


def test_the_end_of_a_thought_is_replaced_and_the_model_goes_on(by_lines: Any) -> None:
    model = Speaker({"solve": ["so 3.</think>It is 3", " no.\n", "4 then</think>It is 4"]})
    population, _ = by_lines.run(BudgetForcing(1), model)
    assert texts(population) == ["so 3.Wait no.\n4 then</think>It is 4"]
    assert population.traces[0].finished


def test_as_often_as_it_is_told(by_lines: Any) -> None:
    model = Speaker({"solve": ["a</think>", "b</think>", "c</think>", "d</think>"]})
    population, _ = by_lines.run(BudgetForcing(1, extensions=3, wait=" Hmm "), model)
    assert texts(population) == ["a Hmm b Hmm c Hmm d</think>"]


def test_a_model_that_thinks_in_its_answer(by_lines: Any) -> None:
    model = Speaker({"solve": ["it is 3", "no, 4"]})
    population, _ = by_lines.run(BudgetForcing(1, end=None, wait="\nWait, "), model)
    assert texts(population) == ["it is 3\nWait, no, 4"]
    assert population.traces[0].finished


def test_a_thought_that_takes_too_long_is_ended(by_lines: Any) -> None:
    model = Speaker({"solve": ["one\n", "two\n", "three\n", "8"]})
    population, _ = by_lines.run(BudgetForcing(1, extensions=2, cap=10), model)
    assert texts(population) == ["one\ntwo\nthree\n\n</think>\n\nFinal Answer:8"]  # 4, 8, 14 tokens


def test_an_answer_that_comes_before_the_cap_is_not_touched(by_lines: Any) -> None:
    model = Speaker({"solve": ["x</think>7"]})
    population, _ = by_lines.run(BudgetForcing(2, extensions=0, cap=100), model)
    assert texts(population) == ["x</think>7"] * 2


def test_a_chain_cut_off_by_the_token_limit_is_left_as_it_is(by_lines: Any) -> None:
    by_lines.max_tokens = 6
    model = Speaker({"solve": ["one\n", "two and more\n"]})
    (trace,) = by_lines.run(BudgetForcing(1), model)[0].traces
    assert trace.closed
    assert not trace.finished


@pytest.mark.parametrize(("key", "value"), [("extensions", -1), ("cap", 0)])
def test_arguments_out_of_range(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"search\.{key}={value}"):
        BudgetForcing(1, **{key: value})


def test_no_thinking_begins_with_a_thought_that_is_over(lab: Any) -> None:
    model = Speaker({"solve": ["4", "5", "4"]})
    population, ctx = lab.run(NoThinking(3, prefill="<think>done</think>"), model)
    assert texts(population) == ["<think>done</think>4", "<think>done</think>5", "<think>done</think>4"]
    assert ctx.ledger.total.new_tokens == 6
