"""phi-decoding: choose steps by where they lead, how surely and in how much company (arXiv 2503.13288)."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist
from scipy.special import softmax

from ponder.context import Context
from ponder.search.arguments import divides, number, whole
from ponder.search.uncertainty import mean_logprob
from ponder.types import Floats, Population, Problem, Trace


@dataclass(frozen=True)
class PhiDecoding:
    """phi-decoding (Xu et al. 2025, arXiv 2503.13288); N is the candidate steps of a round, each with its foresight.

    Each round draws n / width steps from each of `width` beams, and a foresight path for each: what the model writes
    on from there. A path's advantage A is its mean log-probability less that of its parent's path; its alignment C is
    the share of all paths that fall into its cluster. The next beams are drawn without replacement with probability
    (softmax(A / temperature) + softmax(C / cluster_temperature)) / 2. When the paths agree, or after `rounds`, each
    beam is completed, and the same weights say which completion is best. Needs no verifier.

    Defaults are those of the authors' code; `docs/phi_decoding.md` lists where we differ.

    Args:
        n: candidates of a round, all beams together, from 1; `width` divides it.
        width: beams, from 1.
        rounds: the most rounds, from 1.
        foresight_steps: how many steps are looked ahead, from 1; None goes to the end of the solution.
        prune: in-width pruning: no foresight for candidates whose own mean log-probability lies more than so many
            standard deviations below the mean, above 0; at least `width` stay. None prunes none.
        temperature: of the advantage, above 0.
        cluster_temperature: of the alignment, above 0.
        clusters: the k of k-means, from 1; no more than there are different paths.
        agreement: in-depth pruning: end when the largest cluster holds this part of the paths, in (0, 1].
        least_rounds: rounds before that may happen, from 1.

    Raises:
        UserError: an argument out of range, or a sampler that gives no log-probabilities.
    """

    n: int
    width: int = 4
    rounds: int = 8
    foresight_steps: int | None = None
    prune: float | None = 1.0
    temperature: float = 0.1
    cluster_temperature: float = 1.0
    clusters: int = 3
    agreement: float = 0.7
    least_rounds: int = 4

    def __post_init__(self) -> None:
        whole("n", self.n)
        divides("width", self.width, self.n)
        for name in ("rounds", "clusters", "least_rounds"):
            whole(name, getattr(self, name))
        if self.foresight_steps is not None:
            whole("foresight_steps", self.foresight_steps)
        if self.prune is not None:
            number("prune", self.prune, "(0, inf)")
        number("temperature", self.temperature, "(0, inf)")
        number("cluster_temperature", self.cluster_temperature, "(0, inf)")
        number("agreement", self.agreement, "(0, 1]")

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """Looks ahead, weighs and draws beams, then completes them; see `ponder.protocols.Strategy`."""
        beams, values = [Trace(problem)] * self.width, np.zeros(self.width)
        for done in range(1, self.rounds + 1):
            candidates, parents = await self._candidates(ctx, beams, values)
            if done == 1:
                ctx.report(Population.equal(candidates))
            paths = await _ahead(ctx, candidates, self.foresight_steps)
            reached = _values(candidates, paths)
            weights, share = self.weigh(reached - parents, _texts(candidates, paths), ctx.rng)
            ctx.report(Population(tuple(paths), np.log(weights)))
            drawn = ctx.rng.choice(len(weights), min(self.width, len(weights)), replace=False, p=weights)
            beams, values = [candidates[i] for i in drawn], reached[drawn]
            if not any(beam.alive for beam in beams) or (share >= self.agreement and done >= self.least_rounds):
                break
        solutions = await _ahead(ctx, beams, None)
        gained = _values(beams, solutions) - values
        weights, _ = self.weigh(gained, _texts(beams, solutions), ctx.rng)
        population = Population(tuple(solutions), np.log(weights))
        ctx.report(population)
        return population

    async def _candidates(self, ctx: Context, beams: Sequence[Trace], values: Floats) -> tuple[list[Trace], Floats]:
        """Next steps that are worth a foresight, and the value of each one's parent.

        An ended beam stands for itself once.
        """
        fan_out = self.n // self.width
        drawn = await ctx.step(beams, fan_out)
        parents = np.repeat(values, [fan_out if beam.alive else 1 for beam in beams])
        sure = np.array([mean_logprob(trace.steps[-1]) for trace in drawn])
        if self.prune is None:
            return drawn, parents
        least = min(sure.mean() - self.prune * sure.std(), np.sort(sure)[::-1][: self.width][-1])
        kept = np.flatnonzero(sure >= least - 1e-12)  # equal ones differ by rounding from their mean
        return [drawn[i] for i in kept], parents[kept]

    def weigh(self, advantages: Floats, texts: Sequence[str], rng: np.random.Generator) -> tuple[Floats, float]:
        """Probability of each path, shape (m,), above 0 and summing to 1; and the largest cluster's share.

        Args:
            advantages: shape (m,), in nats.
            texts: of the m paths.
            rng: where the clusters begin.
        """
        labels = cluster(texts, self.clusters, rng)
        shares = np.bincount(labels)[labels] / len(labels)
        alone, together = softmax(advantages / self.temperature), softmax(shares / self.cluster_temperature)
        return np.asarray((alone + together) / 2, dtype=np.float64), float(shares.max())


def cluster(texts: Sequence[str], k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The cluster of each text, by k-means on TF-IDF vectors of its words, shape (len(texts),).

    Args:
        texts: from 1.
        k: how many clusters; no more than there are different vectors.
        rng: draws the text that the first cluster begins with; each other one begins with the text that is farthest
            from those before.
    """
    vectors = tf_idf(texts)
    begin = [int(rng.integers(len(texts)))]
    while len(begin) < k and (gaps := cdist(vectors, vectors[begin]).min(axis=1)).max() > 0:
        begin.append(int(np.argmax(gaps)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a cluster that loses all its members keeps its centre
        _, labels = kmeans2(vectors, vectors[begin], minit="matrix")
    return np.asarray(labels, dtype=np.int64)


def tf_idf(texts: Sequence[str]) -> Floats:
    """Counts of each word, weighted by how few texts have it, of length 1; shape (texts, words), at least one word.

    The weight is log((1 + texts) / (1 + texts with the word)) + 1, as in scikit-learn. A text without words is 0.
    """
    counts = [Counter(re.findall(r"\w+", text.lower())) for text in texts]
    words = sorted(set().union(*counts)) or [""]
    table = np.array([[count[word] for word in words] for count in counts], dtype=np.float64)
    rarity = np.array([log((1 + len(texts)) / (1 + found)) + 1 for found in (table > 0).sum(axis=0)])
    lengths = np.linalg.norm(table * rarity, axis=1, keepdims=True)
    return np.asarray(table * rarity / np.where(lengths > 0, lengths, 1.0), dtype=np.float64)


async def _ahead(ctx: Context, traces: Sequence[Trace], steps: int | None) -> list[Trace]:
    """Each trace sampled so many steps on, or to its end."""
    ahead, made = list(traces), 0
    while any(trace.alive for trace in ahead) and (steps is None or made < steps):
        ahead, made = await ctx.step(ahead), made + 1
    return ahead


def _values(candidates: Sequence[Trace], paths: Sequence[Trace]) -> Floats:
    """Mean log-probability of each path, from the candidate's own step on, in nats."""
    ends = zip(candidates, paths, strict=True)
    return np.array([mean_logprob(path.steps[len(candidate) - 1 :]) for candidate, path in ends])


def _texts(candidates: Sequence[Trace], paths: Sequence[Trace]) -> list[str]:
    """Each path's text, from the candidate's own step on."""
    ends = zip(candidates, paths, strict=True)
    return ["".join(step.text for step in path.steps[len(candidate) - 1 :]) for candidate, path in ends]
