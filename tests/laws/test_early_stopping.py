"""Early stopping: the number of windows is geometric, cut at n."""

import asyncio
from typing import Any

import numpy as np
import pytest

from ponder.errors import UserError
from ponder.samplers.scripted import Scripted
from ponder.samplers.toy_language import ToyLanguage
from ponder.search.early_stopping import EarlyStopping
from ponder.types import Problem


def text(trace: Any) -> Any:
    return trace.text


@pytest.mark.parametrize(("n", "window"), [(8, 2), (9, 3), (15, 5)])
def test_windows_follow_their_closed_form(lab: Any, n: Any, window: Any) -> None:
    """A window stops with probability q = sum p^w; of m windows, (1 - (1 - q)^m) / q are drawn on average."""
    language = ToyLanguage({"^": {"a": 0.7, "b": 0.3}, "a": {"$": 1.0}, "b": {"$": 1.0}})
    runs, m = 150, n // window
    q = sum(p**window for _, p in language.enumerate())
    done = lab.many(EarlyStopping(n, window), language, seeds=range(runs))
    windows = np.array([len(population) / window for population, _ in done])
    assert abs(np.mean(windows == 1) - q) < 4 * np.sqrt(q * (1 - q) / runs)
    exact = (1 - (1 - q) ** m) / q
    assert abs(windows.mean() - exact) < 4 * windows.std() / np.sqrt(runs), (windows.mean(), exact)


def test_a_window_stops_only_if_all_agree(lab: Any) -> None:
    """Windows of three from "a", "b": aba, aba, a ... and of two: ab, ab. Never unanimous, though each "a" leads."""
    assert len(lab.run(EarlyStopping(7, 3), Scripted(["a", "b"]))[0]) == 7
    assert len(lab.run(EarlyStopping(7, 3), Scripted(["a"]))[0]) == 3


def test_agreement_across_two_windows_does_not_stop(lab: Any) -> None:
    calls = iter("abbaabba")
    population, _ = lab.run(EarlyStopping(8, 2), Scripted(lambda _trace, _seed: next(calls)))
    assert "".join(t.text for t in population.traces) == "abbaabba"


def test_solutions_without_an_end_or_an_answer_do_not_agree(lab: Any, table: Any) -> None:
    lab.max_tokens = 3
    cases: list[tuple[str, Any]] = [("endless", text), ("a", lambda _: None)]
    for words, answer in cases:
        (ctx,) = lab.contexts(Scripted([words]), table, [0])
        ctx.answer = answer
        assert len(asyncio.run(EarlyStopping(9, 3)(Problem("p", "ask"), ctx))) == 9


def test_all_solutions_vote_with_equal_weights(lab: Any, even: Any) -> None:
    population, ctx = lab.run(EarlyStopping(11, 4), even)
    assert np.allclose(population.weights, 1 / len(population))
    assert [len(report.population) for report in ctx.reports] == [4, 8, 11]


@pytest.mark.parametrize("window", [0, 1, 2.5])
def test_a_window_of_less_than_two_is_a_mistake(window: Any) -> None:
    with pytest.raises(UserError, match=r"search\.window"):
        EarlyStopping(4, window)
