"""The figures of ProcessBench: does a verifier find the first wrong step of a solution (arXiv 2412.06559)?

Pure functions of numbers. A solution is labelled with its first wrong step, from 0, or with -1 if all are right. What a
verifier says is the first step that it scores below a threshold, -1 if there is none. The threshold is the one of
highest F1 on the split gsm8k, and serves all splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ponder.errors import UserError
from ponder.scripts.metrics import Interval, wilson
from ponder.types import Floats

TUNED_ON = "gsm8k"
RESAMPLES = 2000
UNKNOWN: Interval = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Judged:
    """A solution and what a verifier thinks of its steps.

    Attributes:
        split: gsm8k, math, olympiadbench or omnimath.
        label: the first wrong step, from 0; -1 if there is none.
        scores: one for each step; empty if the verifier failed, which is never right.
        unread: judgements behind the scores that could not be read.
    """

    split: str
    label: int
    scores: tuple[float, ...]
    unread: int = 0


@dataclass(frozen=True)
class Figures:
    """The figures of one split, or their average over splits.

    Attributes:
        wrong: solutions with a wrong step.
        right: solutions without one.
        wrong_accuracy: share of the wrong solutions whose first wrong step is found exactly; NaN if there are none.
        right_accuracy: share of the right solutions in which no step is called wrong; NaN if there are none.
        f1: their harmonic mean.
        wrong_interval: 95 % Wilson interval.
        right_interval: 95 % Wilson interval.
        f1_interval: 95 % bootstrap over solutions, at the same threshold; the average has such intervals only.
    """

    wrong: int
    right: int
    wrong_accuracy: float
    right_accuracy: float
    f1: float
    wrong_interval: Interval
    right_interval: Interval
    f1_interval: Interval


@dataclass(frozen=True)
class Result:
    """All figures of a verifier.

    Attributes:
        threshold: a step with a score below is called wrong.
        chosen: how the threshold came about.
        splits: by split, in the order of the data.
        average: accuracies and F1 averaged over splits, as in the paper.
        failed: solutions that the verifier gave no scores.
        unread: judgements that could not be read.
    """

    threshold: float
    chosen: str
    splits: dict[str, Figures]
    average: Figures
    failed: int
    unread: int


def first_wrong(scores: Sequence[float], threshold: float) -> int:
    """The first step whose score is below a threshold, from 0; -1 if there is none."""
    return next((step for step, score in enumerate(scores) if score < threshold), -1)


def harmonic(wrong_accuracy: Any, right_accuracy: Any) -> Any:
    """F1 as the paper has it: the harmonic mean of both accuracies, numbers or arrays; 0 if both are 0."""
    total = wrong_accuracy + right_accuracy
    return np.where(total == 0, 0.0, 2 * wrong_accuracy * right_accuracy / np.where(total == 0, 1.0, total))


def best_threshold(judged: Sequence[Judged]) -> float:
    """The threshold of highest F1 on some solutions.

    Between two neighbouring scores all thresholds say the same. Of several intervals with the highest F1 the lowest is
    taken together with its equal neighbours, and the threshold is their middle; the lowest score itself if nothing
    should be called wrong.

    Args:
        judged: solutions of the split it is chosen on, wrong and right ones.
    """
    scored = [one for one in judged if one.scores]
    edges = np.unique([score for one in scored for score in one.scores])
    above = np.nextafter(edges[-1], np.inf)
    thresholds = np.append(edges, above)  # the highest of each interval (edges[k-1], edges[k]]
    f1 = np.round(harmonic(*_shares(judged, thresholds)), 12)
    first = int(np.argmax(f1))
    if first == 0:
        return float(edges[0])
    last = first
    while last + 1 < len(edges) and f1[last + 1] == f1[first]:
        last += 1
    return float(above) if first == len(edges) else float((edges[first - 1] + edges[last]) / 2)


def evaluate(judged: Sequence[Judged], threshold: float | None = None, seed: int = 0) -> Result:
    """The paper's figures of a verifier.

    Args:
        judged: all solutions.
        threshold: the lowest score of a right step; None chooses it on gsm8k, but scores that are all 0 or 1 need none.
        seed: of the bootstrap.

    Raises:
        UserError: a threshold has to be chosen, and gsm8k has not both wrong and right solutions with scores.
    """
    tuned = [one for one in judged if one.split == TUNED_ON]
    chosen = "given"
    if threshold is None and {score for one in judged for score in one.scores} <= {0.0, 1.0}:
        threshold, chosen = 0.5, "scores are 0 or 1"
    elif threshold is None:
        if len({one.label >= 0 for one in tuned if one.scores}) < 2:
            raise UserError(
                f"no threshold can be chosen: there are not both wrong and right solutions of {TUNED_ON} with scores",
                f"threshold=NUMBER (a step that scores below it is called wrong), or more rows of {TUNED_ON}",
            )
        threshold, chosen = best_threshold(tuned), f"highest F1 on {len(tuned)} solutions of {TUNED_ON}"
    rng = np.random.default_rng(seed)
    counts = {split: _counts([one for one in judged if one.split == split], threshold) for split in _splits(judged)}
    drawn = {split: rng.multinomial(sum(of), np.array(of) / sum(of), size=RESAMPLES) for split, of in counts.items()}
    figures = {split: _figures(of, _accuracies(drawn[split], of)) for split, of in counts.items()}
    return Result(
        threshold,
        chosen,
        figures,
        _average(list(figures.values()), [_accuracies(drawn[split], of) for split, of in counts.items()]),
        sum(not one.scores for one in judged),
        sum(one.unread for one in judged),
    )


def _shares(judged: Sequence[Judged], thresholds: Floats) -> tuple[Floats, Floats]:
    """Both accuracies at each threshold: a label is met above its own score, up to the lowest one before it."""
    hits = {wrong: np.zeros(len(thresholds)) for wrong in (True, False)}
    counts = dict.fromkeys(hits, 0)
    for one in judged:
        wrong = one.label >= 0
        counts[wrong] += 1
        if one.scores:
            before, own = (one.scores[: one.label], one.scores[one.label]) if wrong else (one.scores, -np.inf)
            hits[wrong] += (own < thresholds) & (thresholds <= min(before, default=np.inf))
    return hits[True] / max(counts[True], 1), hits[False] / max(counts[False], 1)


def _splits(judged: Sequence[Judged]) -> list[str]:
    return list(dict.fromkeys(one.split for one in judged))


def _counts(judged: Sequence[Judged], threshold: float) -> list[int]:
    """Wrong solutions met and missed, right solutions met and missed."""
    counts = [0, 0, 0, 0]
    for one in judged:
        met = bool(one.scores) and first_wrong(one.scores, threshold) == one.label
        counts[(0 if one.label >= 0 else 2) + (not met)] += 1
    return counts


def _accuracies(counts: Any, observed: Sequence[int]) -> Floats:
    """Accuracies on wrong and on right solutions, and F1, shape (3, ...); NaN where none were observed."""
    met_wrong, missed_wrong, met_right, missed_right = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    wrong = met_wrong / np.maximum(met_wrong + missed_wrong, 1) if sum(observed[:2]) else met_wrong * np.nan
    right = met_right / np.maximum(met_right + missed_right, 1) if sum(observed[2:]) else met_right * np.nan
    return np.array([wrong, right, harmonic(wrong, right)])


def _figures(counts: Sequence[int], drawn: Floats) -> Figures:
    wrong, right = counts[0] + counts[1], counts[2] + counts[3]
    wrong_accuracy, right_accuracy, f1 = map(float, _accuracies(counts, counts))
    return Figures(
        wrong,
        right,
        wrong_accuracy,
        right_accuracy,
        f1,
        wilson(counts[0], wrong) if wrong else UNKNOWN,
        wilson(counts[2], right) if right else UNKNOWN,
        _middle(drawn[2]),
    )


def _average(figures: Sequence[Figures], drawn: Sequence[Floats]) -> Figures:
    """The mean over the splits that have wrong and right solutions."""
    whole = [i for i, one in enumerate(figures) if one.wrong and one.right]
    means = [[figures[i].wrong_accuracy, figures[i].right_accuracy, figures[i].f1] for i in whole]
    wrong_accuracy, right_accuracy, f1 = map(float, np.mean(means, axis=0) if whole else [np.nan] * 3)
    resampled = np.mean([drawn[i] for i in whole], axis=0) if whole else np.full((3, 1), np.nan)
    return Figures(
        sum(one.wrong for one in figures),
        sum(one.right for one in figures),
        wrong_accuracy,
        right_accuracy,
        f1,
        *map(_middle, resampled),
    )


def _middle(drawn: Floats) -> Interval:
    """The middle 95 % of resampled figures."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
