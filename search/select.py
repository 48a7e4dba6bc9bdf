"""Selection: from a weighted population to one answer.

A selector is a function (population, answer, rng) -> answer or None. Answers are grouped by
the canonical string that the task returns. Who may be selected is the same for all: finished
traces with an answer; if there are none, unfinished or truncated ones with an answer; if
there are none either, nobody, and the selection is None.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

from ponder.types import Answer, Floats, Population

Select = Callable[[Population, Answer, np.random.Generator], str | None]


def argmax(population: Population, answer: Answer, rng: np.random.Generator) -> str | None:
    """The answer of the heaviest trace; the first of equally heavy ones. Best-of-N.

    Args:
        population: n weighted traces of one problem.
        answer: a trace's answer in canonical form, None if it has none.
        rng: not used.
    """
    answers, log_weights = _candidates(population, answer)
    return answers[int(np.argmax(log_weights))] if answers else None


def sample(population: Population, answer: Answer, rng: np.random.Generator) -> str | None:
    """The answer of one trace drawn by weight: one draw from the approximated posterior.

    Args:
        population: n weighted traces of one problem.
        answer: a trace's answer in canonical form, None if it has none.
        rng: the source of chance; one uniform is drawn, whatever the population.
    """
    point = rng.random()
    answers, log_weights = _candidates(population, answer)
    if not answers:
        return None
    edges = np.cumsum(_shares(log_weights))
    return answers[min(int(np.searchsorted(edges, point * edges[-1], side="right")), len(answers) - 1)]


def majority(population: Population, answer: Answer, rng: np.random.Generator) -> str | None:
    """The most frequent answer, weights aside (self-consistency, arXiv 2203.11171).

    Of equally frequent answers, the one of higher summed weight; then the first seen.

    Args:
        population: n weighted traces of one problem.
        answer: a trace's answer in canonical form, None if it has none.
        rng: not used.
    """
    return _heaviest(population, answer, lambda count, weight: (count, weight))


def weighted_vote(population: Population, answer: Answer, rng: np.random.Generator) -> str | None:
    """The answer of highest summed weight; of equal ones the most frequent, then the first.

    What is summed are the population's weights: a strategy whose weights are scores
    (`weights.probability`) makes this weighted best-of-N (arXiv 2206.02336).

    Args:
        population: n weighted traces of one problem.
        answer: a trace's answer in canonical form, None if it has none.
        rng: not used.
    """
    return _heaviest(population, answer, lambda count, weight: (weight, count))


SELECTORS: dict[str, Select] = {
    "argmax": argmax,
    "sample": sample,
    "majority": majority,
    "weighted_vote": weighted_vote,
}


def all_answers(population: Population, answer: Answer, rng: np.random.Generator) -> dict[str, str | None]:
    """Every selector's answer, by the selector's name."""
    return {name: select(population, answer, rng) for name, select in SELECTORS.items()}


def _candidates(population: Population, answer: Answer) -> tuple[list[str], Floats]:
    """Answers and log-weights of those who may be selected, in the population's order."""
    answers = [answer(trace) for trace in population.traces]
    for finished in (True, False):
        allowed = [i for i, t in enumerate(population.traces) if t.finished == finished and answers[i] is not None]
        if allowed:
            return [a for i in allowed if (a := answers[i]) is not None], population.log_weights[allowed]
    return [], np.zeros(0)


def _shares(log_weights: Floats) -> Floats:
    """Normalised weights among the candidates; uniform if all are zero."""
    total = logsumexp(log_weights)
    if not np.isfinite(total):
        return np.full(len(log_weights), 1.0 / len(log_weights))
    return np.asarray(np.exp(log_weights - total), dtype=np.float64)


def _heaviest(population: Population, answer: Answer, rank: Callable[[int, float], tuple[float, float]]) -> str | None:
    answers, log_weights = _candidates(population, answer)
    groups: dict[str, tuple[int, float]] = {}
    for text, share in zip(answers, _shares(log_weights) if answers else [], strict=True):
        count, weight = groups.get(text, (0, 0.0))
        groups[text] = (count + 1, weight + float(share))
    # Rounding lets sums that are equal on paper depend on their order; then "first seen" decides.
    return max(groups, key=lambda text: rank(groups[text][0], round(groups[text][1], 12)), default=None)
