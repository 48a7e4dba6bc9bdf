"""Statistics of stored samples: accuracy at smaller N, intervals, paired differences.

Pure functions of numbers. One question's independent samples form a `Pool`; accuracy at k < n is an
expectation over all size-k subsets of it, so it never depends on the order in which samples were stored.

Intervals and tests resample questions, each with all its seeds: the bootstrap for nested data that gets the mean's
variance right (Davison and Hinkley 1997, *Bootstrap Methods*, section 3.8); redrawn seeds would count theirs twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import ceil, comb, isnan
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

from ponder.types import Floats

EXACT = 2000  # up to this many subsets are enumerated; beyond it, as many random ones are averaged if not more
COUNTED = 256  # up to this many samples, votes of equal weight are counted in closed form
Interval = tuple[float, float]
Values = Mapping[Any, Sequence[float]]  # by problem: its accuracy in [0, 1] under each seed


class Expectation(NamedTuple):
    """An expected accuracy and its Monte-Carlo standard error (0 when exact)."""

    value: float
    stderr: float = 0.0


class Difference(NamedTuple):
    """A mean paired difference over common problems, its 95 % interval, and the p-value of no difference."""

    value: float
    low: float
    high: float
    p: float
    questions: int
    test: Literal["McNemar", "sign-flip"]


class Sample(NamedTuple):
    """One sample: its answer, standing (2 finished, 1 cut off, 0 no answer), weight, and whether it is right."""

    answer: str
    standing: int
    log_weight: float
    right: bool


@dataclass(frozen=True)
class Pool:
    """Independent samples of one question.

    Attributes:
        answers: the answer of each sample; None where none was parsed, which is never right.
        correct: whether it is right.
        log_weights: its weight in a vote and its rank in best-of-k, in nats; NaN is the lowest.
        finished: whether the model ended it; all did if None. As in `search/select.py`, a cut-off sample
            can win only where no finished one has an answer.
    """

    answers: Sequence[str | None]
    correct: Sequence[bool]
    log_weights: Sequence[float]
    finished: Sequence[bool] | None = None

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.answers)

    @cached_property
    def samples(self) -> list[Sample]:
        """The samples in a canonical order, those without an answer last."""
        finished = [True] * len(self) if self.finished is None else self.finished
        rows = zip(self.answers, finished, self.log_weights, self.correct, strict=True)
        return sorted(
            (
                Sample("", 0, -np.inf, False)
                if answer is None
                else Sample(answer, 1 + bool(done), -np.inf if isnan(weight) else weight, bool(right))
                for answer, done, weight, right in rows
            ),
            key=lambda sample: (sample.standing == 0, sample),
        )


def pass_at_k(n: int, c: int, k: int) -> float:
    """Probability that k of n samples, drawn without replacement, hold one of the c right ones.

    1 - C(n-c, k)/C(n, k) as a stable product (Chen et al. 2021, arXiv:2107.03374).

    Raises:
        ValueError: unless 0 <= c <= n and 1 <= k <= n.
    """
    _check(n, k)
    if not 0 <= c <= n:
        raise ValueError(f"c={c} right samples: c must lie in 0..n={n}")
    return 1.0 if n - c < k else float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def g_pass_at_k(n: int, c: int, k: int, threshold: float) -> float:
    """Probability that of k samples at least a share of `threshold`, and one at least, are right.

    A hypergeometric tail (Liu et al. 2024, "Are Your LLMs Capable of Stable Reasoning?", arXiv:2412.13147). Threshold 0
    is pass@k, threshold 1 asks that all be right.

    Raises:
        ValueError: unless 0 <= c <= n, 1 <= k <= n and 0 <= threshold <= 1.
    """
    _check(n, k)
    if not (0 <= c <= n and 0.0 <= threshold <= 1.0):
        raise ValueError(f"c={c}, threshold={threshold}: c must lie in 0..n={n}, the threshold in [0, 1]")
    least = max(1, ceil(round(k * threshold, 9)))
    return sum(comb(c, right) * comb(n - c, k - right) for right in range(least, k + 1)) / comb(n, k)


def mean_g_pass_at_k(n: int, c: int, k: int) -> float:
    """G-pass@k averaged over thresholds from a half to all (mG-pass@k of the same paper); 0 for k=1."""
    return 2.0 / k * sum(g_pass_at_k(n, c, k, right / k) for right in range(ceil(k / 2) + 1, k + 1))


def best_of_k(pool: Pool, k: int) -> Expectation:
    """Expected accuracy of the best of k samples by weight: exact, ties in random order, unparsed last."""
    n = len(pool)
    _check(n, k)
    groups: dict[tuple[int, float], list[bool]] = {}
    for sample in pool.samples:
        groups.setdefault((sample.standing, sample.log_weight), []).append(sample.right)
    value, below = 0.0, 0
    for _, group in sorted(groups.items()):
        upto = below + len(group)  # the best is in this group: all k lie below its end, but not all below its start
        value += (comb(upto, k) - comb(below, k)) / comb(n, k) * sum(group) / len(group)
        below = upto
    return Expectation(value)


def vote_at_k(
    pool: Pool, k: int, by: Literal["majority", "weighted_vote"], seed: int = 0, subsets: int = EXACT
) -> Expectation:
    """Expected accuracy of a vote among k samples, over all size-k subsets.

    A majority tie goes to the higher summed weight, a tie of weights to the higher count. What is tied even then
    counts as a fair draw: the expectation of "first seen" over all orders. An unparsed answer never wins.

    Exact where the weights are all equal (up to `COUNTED` samples) or the subsets are few.

    Args:
        pool: the samples.
        k: the subset size.
        by: count answers, or sum their weights.
        seed: of the random subsets, used when there are more than `EXACT`.
        subsets: how many random ones are averaged then; the standard error is at most 0.5 / sqrt(subsets).
    """
    n = len(pool)
    _check(n, k)
    samples = [sample for sample in pool.samples if sample.standing]
    if not samples:
        return Expectation(0.0)
    if len({sample.log_weight for sample in samples}) == 1 and n <= COUNTED and comb(n, k) > EXACT:
        return Expectation(_counted(samples, n, k))
    names = {answer: i for i, answer in enumerate(dict.fromkeys(sample.answer for sample in samples))}
    member = np.zeros((len(samples), len(names)))
    member[np.arange(len(samples)), [names[sample.answer] for sample in samples]] = 1.0
    share = member.T @ np.array([float(sample.right) for sample in samples]) / member.sum(axis=0)
    chosen = _subsets(n, k, seed, subsets)[:, : len(samples)]  # those without an answer, last, have no voice
    done = chosen * np.array([float(sample.standing == 2) for sample in samples])
    chosen = np.where(done.any(axis=1, keepdims=True), done, chosen)
    logs = np.where(chosen > 0, np.array([sample.log_weight for sample in samples]), -np.inf)
    top = logs.max(axis=1, keepdims=True)
    weights = np.exp(logs - np.where(np.isfinite(top), top, 0.0))
    counts, sums = chosen @ member, np.round(weights @ member, 12)
    wins = counts > 0
    for tally in (counts, sums) if by == "majority" else (sums, counts):
        tally = np.where(wins, tally, -1.0)
        wins &= tally == tally.max(axis=1, keepdims=True)
    values = (wins @ share) / np.maximum(wins.sum(axis=1), 1)
    exact = comb(n, k) <= EXACT
    return Expectation(float(values.mean()), 0.0 if exact else float(values.std(ddof=1) / np.sqrt(len(values))))


def _counted(samples: Sequence[Sample], n: int, k: int) -> float:
    """`vote_at_k` where all weights are equal: finished samples vote; cut-off ones where no finished one is drawn."""
    answers: dict[str, list[Sample]] = {}
    for sample in samples:
        answers.setdefault(sample.answer, []).append(sample)
    value, absent = 0.0, 0
    for standing in (2, 1):
        counts = [sum(sample.standing == standing for sample in of) for of in answers.values()]
        shares = [sum(sample.right for sample in of) / len(of) for of in answers.values()]
        if n - absent >= k:
            value += _plurality([*zip(counts, shares, strict=True)], n - absent, k) * comb(n - absent, k) / comb(n, k)
        absent = sum(counts)
    return value


def _plurality(voters: Sequence[tuple[int, float]], n: int, k: int) -> float:
    """Expected share of right ones in the answer that k of n samples name most often; a tie is a fair draw.

    Each sample is in the subset with chance k/n, alone, given that the subset has k: so the counts of answers are
    independent binomials, and their sums are convolutions. For each winning count m, of the answers that can reach it,
    `mass[t, v]` is the probability that t of them have m votes, the others fewer, and all have v together; and
    `right[t, v]` that times the summed share of the t. Answers that cannot reach m count as samples without a voice.
    """
    chance, value = k / n, 0.0
    for m in range(1, min(k, max((count for count, _ in voters), default=0)) + 1):
        able = [(count, share) for count, share in voters if count >= m]
        most = min(len(able), k // m)
        mass, right = np.zeros((2, most + 1, k + 1))
        mass[0, 0] = 1.0
        for count, share in able:
            votes = stats.binom.pmf(np.arange(m + 1), count, chance)
            won, told = (np.apply_along_axis(np.convolve, 1, of, votes[:m])[:, : k + 1] for of in (mass, right))
            won[1:, m:] += mass[:-1, : k + 1 - m] * votes[m]
            told[1:, m:] += (right + share * mass)[:-1, : k + 1 - m] * votes[m]
            mass, right = won, told
        rest = stats.binom.pmf(k - np.arange(k + 1), n - sum(count for count, _ in able), chance)
        value += float((right[1:] @ rest / np.arange(1, most + 1)).sum())
    return value / float(stats.binom.pmf(k, n, chance))


def wilson(successes: float, n: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval of a proportion (Wilson 1927)."""
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: need n >= 1 and 0 <= successes <= n")
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    p, slack = successes / n, z * z / n
    centre, half = p + slack / 2, z * float(np.sqrt(p * (1 - p) / n + slack / (4 * n)))
    return max(0.0, (centre - half) / (1 + slack)), min(1.0, (centre + half) / (1 + slack))


def mean_interval(values: Values, seed: int = 0) -> tuple[float, Interval]:
    """Mean accuracy over problems, and its 95 % interval.

    Wilson where each problem has one value and all are 0 or 1; otherwise a bootstrap over problems, each with all its
    seeds. Where all problems have the same 0 or 1, Wilson over problems serves again.
    """
    means = np.array([np.mean(of_problem) for of_problem in values.values()])
    single = all(len(of_problem) == 1 for of_problem in values.values())
    if np.isin(means, (0.0, 1.0)).all() and (single or np.ptp(means) == 0):
        return float(means.mean()), wilson(float(means.sum()), len(means))
    return float(means.mean()), _bootstrap(means, seed, (0.0, 1.0))


def paired(a: Values, b: Values, seed: int = 0) -> Difference:
    """Mean of a minus b over their common problems.

    The interval is a bootstrap over problems. The p-value is two-sided: exact McNemar where both have one 0/1 value a
    problem, otherwise a sign-flip permutation test (exact up to 13 problems that differ, 10,000 seeded flips beyond).

    Raises:
        ValueError: no problem in common.
    """
    common = [problem for problem in a if problem in b]
    if not common:
        raise ValueError("the two groups have no problem in common")
    deltas = np.array([np.mean(a[problem]) - np.mean(b[problem]) for problem in common])
    flips = deltas[np.abs(deltas) > 1e-12]
    binary = all(len(of[problem]) == 1 and of[problem][0] in (0.0, 1.0) for of in (a, b) for problem in common)
    low, high = _bootstrap(deltas, seed, (-1.0, 1.0))
    p = 1.0
    if binary and len(flips):
        p = float(stats.binomtest(int((flips > 0).sum()), len(flips)).pvalue)
    elif len(flips) > 1:
        rng, mean = np.random.default_rng(seed), np.mean
        test = stats.permutation_test((flips,), mean, permutation_type="samples", n_resamples=9999, batch=500, rng=rng)
        p = float(test.pvalue)
    return Difference(float(deltas.mean()), low, high, p, len(common), "McNemar" if binary else "sign-flip")


def _bootstrap(values: Floats, seed: int, widest: Interval) -> Interval:
    if len(values) < 2:
        return widest
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    method = "BCa" if len(values) <= 1000 else "percentile"  # the jackknife of BCa is quadratic
    found = stats.bootstrap((values,), np.mean, batch=500, method=method, rng=np.random.default_rng(seed))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _subsets(n: int, k: int, seed: int, subsets: int) -> Floats:
    """Rows of 0/1 that choose k of n: all of them, or some random ones."""
    if comb(n, k) <= EXACT:
        chosen = np.array(list(combinations(range(n), k)))
    else:
        chosen = np.argpartition(np.random.default_rng(seed).random((subsets, n)), k, axis=1)[:, :k]
    mask = np.zeros((len(chosen), n))
    np.put_along_axis(mask, chosen, 1.0, axis=1)
    return mask


def _check(n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k={k} of n={n} samples: k must lie in 1..n")
