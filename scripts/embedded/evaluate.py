"""Measures the committed models on held-out problems: accuracy, voting curves, step errors."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ponder.scripts.embedded import models, vocabulary
from ponder.scripts.embedded.mistakes import VALUE_OF, Labelled, label, prompt_ids, split
from ponder.tasks.arithmetic import Arithmetic, Chain

SIZES = (1, 2, 4, 8, 16, 32, 64)
EVALUATION_SEED, SAMPLING_SEED = 7001, 77
PROBLEMS = {3: 200, 1: 100, 5: 60}
GATES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "single between .25 and .60": lambda r: 0.25 <= r["single"] <= 0.60,
    "pass@64 above .90": lambda r: r["pass"][64] > 0.90,
    "majority@64 below weighted@64 by .05": lambda r: r["majority"][64] < r["weighted"][64] - 0.05,
    "weighted rises from 32 to 64": lambda r: r["weighted"][64] > r["weighted"][32],
    "best@64 not below best@16": lambda r: r["best"][64] >= r["best"][16],
    "step AUC above .96": lambda r: r["auc"] > 0.96,
    "first errors missed below .04": lambda r: r["missed"] < 0.04,
}


@dataclass(frozen=True)
class Judged:
    """One solution: its boxed answer's token, whether it is right, step labels and step scores."""

    answer: int | None
    correct: bool
    right: list[bool]
    scores: list[float]


def auc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Chance that a right step scores above a wrong one; ties count half."""
    merged = np.concatenate([positive, negative])
    _, inverse, counts = np.unique(merged, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    pairs = len(positive) * len(negative)
    return float((ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2) / pairs)


def judge(folder: Path, level: int, problems: int, samples: int, seed: int = EVALUATION_SEED) -> list[list[Judged]]:
    """Samples and scores solutions of held-out problems; `samples` for each problem."""
    policy, prm = models.load_policy(folder / "policy"), models.load_prm(folder / "prm")
    chains = [Chain.parse(p.prompt) for p in Arithmetic(level=level, limit=problems, seed=seed).problems()]
    known = [chain for chain in chains if chain is not None]
    prompts = torch.tensor([prompt_ids(chain) for chain in known])
    length = 7 * len(known[0].operations) + 12
    drawn = models.sample(policy, prompts, samples, length, SAMPLING_SEED)
    rows = [[label(chain, split(s)) for s in part] for chain, part in zip(known, drawn, strict=True)]
    flat = models.score(prm, (row.ids for part in rows for row in part), vocabulary.ID[vocabulary.MARK])
    judged = []
    for chain, part, solutions in zip(known, rows, drawn, strict=True):
        judged.append([_judged(chain, row, tokens, next(flat)) for row, tokens in zip(part, solutions, strict=True)])
    return judged


def _judged(chain: Chain, row: Labelled, tokens: list[int], scores: list[float]) -> Judged:
    box = vocabulary.ID[vocabulary.BOX]
    at = len(tokens) - 1 - tokens[::-1].index(box) if box in tokens else None
    answer = VALUE_OF.get(tokens[at + 1]) if at is not None and at + 1 < len(tokens) else None
    # A right answer reached by two errors that cancel counts as right, as on any benchmark.
    return Judged(answer, answer is not None and f"{answer:02d}" == chain.gold, row.right, scores)


def vote(solutions: list[Judged], weighted: bool) -> bool:
    """Whether the most voted answer is right; a vote weighs 1 or the last step's score. Ties go to the first."""
    tally: dict[int, float] = defaultdict(float)
    correct: dict[int, bool] = {}
    for s in solutions:
        if s.answer is not None:
            tally[s.answer] += s.scores[-1] if weighted and s.scores else float(not weighted)
            correct[s.answer] = s.correct
    return bool(tally) and correct[max(tally, key=lambda a: tally[a])]


def best(solutions: list[Judged]) -> bool:
    """Whether the solution with the highest last score is right."""
    return max(solutions, key=lambda s: s.scores[-1] if s.scores else 0.0).correct


def measure(judged: list[list[Judged]]) -> dict[str, Any]:
    """All figures of one level; curves average over disjoint groups of N of each problem's samples."""
    total = len(judged[0])
    table: dict[str, Any] = {"problems": len(judged), "samples": total}
    curves: dict[str, dict[int, float]] = {"pass": {}, "majority": {}, "weighted": {}, "best": {}}
    errors: dict[str, dict[int, float]] = {name: {} for name in curves}
    for size in (s for s in SIZES if s <= total):
        hits: dict[str, list[float]] = {name: [] for name in curves}
        for solutions in judged:
            groups = [solutions[i : i + size] for i in range(0, total, size)]
            hits["pass"].append(float(np.mean([any(s.correct for s in group) for group in groups])))
            hits["majority"].append(float(np.mean([vote(group, weighted=False) for group in groups])))
            hits["weighted"].append(float(np.mean([vote(group, weighted=True) for group in groups])))
            hits["best"].append(float(np.mean([best(group) for group in groups])))
        for name, values in hits.items():
            curves[name][size] = float(np.mean(values))
            errors[name][size] = 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5
    every = [s for solutions in judged for s in solutions]
    table["single"] = float(np.mean([s.correct for s in every]))
    table |= curves
    table["interval"] = errors
    steps = [(score, right) for s in every for score, right in zip(s.scores, s.right, strict=True)]
    table["auc"] = auc(np.array([x for x, ok in steps if ok]), np.array([x for x, ok in steps if not ok]))
    firsts = [s.scores[s.right.index(False)] for s in every if False in s.right]
    table["missed"], table["wrong"] = float(np.mean([x > 0.5 for x in firsts])), len(firsts)
    rights = [min(s.scores) for s in every if s.scores and all(s.right)]
    table["doubted"] = float(np.mean([x < 0.5 for x in rights]))
    return table


def report(folder: Path, log: logging.Logger) -> None:
    """Logs every level's figures as a table, the level-3 gates, and one JSON line for each level."""
    for level, problems in PROBLEMS.items():
        begin = time.monotonic()
        table = measure(judge(folder, level, problems, SIZES[-1]))
        log.info("level %d, %d problems x %d samples, seed %d", level, problems, SIZES[-1], EVALUATION_SEED)
        log.info("  N        " + "".join(f"{size:>14d}" for size in SIZES))
        for name in ("pass", "majority", "weighted", "best"):
            cells = "".join(f"{100 * table[name][s]:8.1f} ±{100 * table['interval'][name][s]:4.1f}" for s in SIZES)
            log.info("  %-9s%s", name, cells)
        log.info(
            "  single %.3f, step AUC %.4f, first errors missed %.4f of %d, right solutions doubted %.4f, %.0f s",
            table["single"], table["auc"], table["missed"], table["wrong"], table["doubted"], time.monotonic() - begin,
        )  # fmt: skip
        log.info("  %s", json.dumps(table))
        if level == 3:
            for gate, holds in GATES.items():
                log.info("  gate %-40s %s", gate, "holds" if holds(table) else "FAILS")
