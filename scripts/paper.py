"""Table 1 and the figure of the particle-filtering paper (Puri et al. 2025, arXiv:2502.01618), ours beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from rich.table import Table

from ponder.scripts.plots import save, sizes
from ponder.scripts.points import Point
from ponder.scripts.results import COVERAGE, MAJORITY, Row

COLUMNS = {
    "pass@1": COVERAGE,
    "best-of-N": "best_of_n · argmax",
    "weighted best-of-N": "best_of_n · weighted_vote",
    "DVTS": "dvts · weighted_vote",
    "PF": "particle_filtering · weighted_vote",
}
"""Columns of Table 1 and the method that each is here."""
MORE = {"majority": MAJORITY}
"""What we add: the paper has no majority row."""
COLORS = ("#999999", "#E69F00", "#D55E00", "#0072B2", "#009E73", "#CC79A7")


class Published(NamedTuple):
    """A row of Table 1: percent right at a budget of 64, one seed, no intervals."""

    policy: str
    task: str
    values: tuple[float, float, float, float, float]


TABLE = tuple(
    Published(policy, task, values)
    for policy, *pair in (
        ("Llama-3.2-1B-Instruct", (26.8, 46.6, 47.8, 52.8, 59.6), (0.0, 3.3, 3.3, 6.6, 10.0)),
        ("Llama-3.1-8B-Instruct", (49.9, 58.6, 59.0, 65.7, 74.4), (6.6, 10.0, 10.0, 13.3, 16.6)),
        ("Qwen2.5-Math-1.5B-Instruct", (70.0, 82.6, 82.8, 83.4, 85.4), (10.0, 13.3, 13.3, 16.6, 23.3)),
        ("Qwen2.5-Math-7B-Instruct", (79.6, 83.0, 84.6, 85.4, 87.0), (16.6, 20.0, 20.0, 20.0, 23.3)),
    )
    for task, values in zip(("MATH500", "AIME24"), pair, strict=True)
)
"""Table 1 with Qwen2.5-Math-PRM-7B as reward model, T = 0.8."""
REFERENCES = {"GPT-4o": (76.2, 13.3), "o1-preview": (87.0, 40.0), "Llama-3.1-70B": (65.7, 16.6)}
REFERENCES |= {"Qwen2.5-Math-72B": (82.0, 30.0)}
"""Single answers that the paper quotes: MATH500, AIME24."""


def table(points: Sequence[Point]) -> Table:
    """Table 1: a line for each policy and task here at its largest N, then the published ones."""
    shown = Table(title="Table 1 of arXiv:2502.01618, percent right: ours with 95 % interval, then as published")
    shown.add_column("policy", no_wrap=True)
    shown.add_column("task", no_wrap=True)
    for name in ("N", *COLUMNS, *MORE):
        shown.add_column(name, justify="right", no_wrap=True)
    for label in labels(points):
        cells = {name: _largest(points, label, method) for name, method in (COLUMNS | MORE).items()}
        policy, _, task = label.partition(" on ")
        ns = sorted({p.n for name, p in cells.items() if p and name != "pass@1"})
        shown.add_row(policy, task, "/".join(map(str, ns)) or "-", *map(_cell, cells.values()))
    shown.add_section()
    for row in TABLE:
        shown.add_row(row.policy, row.task, "64", *(f"{value:.1f}" for value in row.values), *("-" for _ in MORE))
    shown.add_section()
    for name, values in REFERENCES.items():
        for task, value in zip(("MATH500", "AIME24"), values, strict=True):
            shown.add_row(f"{name} (reference)", task, "1", f"{value:.1f}", *("-" for _ in [*COLUMNS, *MORE][1:]))
    return shown


def relabelled(rows: Iterable[Row]) -> list[Row]:
    """Rows under the labels that the table has: the policy on its task."""
    return [replace(row, label=f"{row.model} on {row.problem[0]}") for row in rows]


def labels(points: Sequence[Point]) -> list[str]:
    """The policies and tasks of the points of `relabelled` rows, in order."""
    return list(dict.fromkeys(p.method.partition(": ")[0] for p in points))


def _largest(points: Sequence[Point], label: str, method: str) -> Point | None:
    of = [p for p in points if p.method == f"{label}: {method}"]
    if method == COVERAGE:
        of = [p for p in of if p.n == 1]
    return max(of, key=lambda p: p.n, default=None)


def _cell(point: Point | None) -> str:
    if point is None:
        return "-"
    return f"{100 * point.accuracy:.1f} [{100 * point.low:.1f}, {100 * point.high:.1f}]"


def plot(points: Sequence[Point], out: Path) -> list[Path]:
    """The figure: accuracy against generations, one panel for each policy and task, as paper.png and paper.svg.

    The published numbers at 64 stand as open marks in a last panel, MATH500 only.
    """
    panels = labels(points)
    figure = Figure(figsize=(4.2 * (len(panels) + 1), 4.4), dpi=150, layout="constrained")
    grid = figure.subplots(1, len(panels) + 1, squeeze=False)[0]
    colors = dict(
        zip((COLUMNS | MORE).values(), ("#999999", "#E69F00", "#D55E00", "#0072B2", "#009E73", "#CC79A7"), strict=True)
    )
    for label, axes in zip(panels, grid[:-1], strict=True):
        for name, method in (COLUMNS | MORE).items():
            of = sorted((p for p in points if p.method == f"{label}: {method}"), key=lambda p: p.n)
            if method == COVERAGE:
                first = [p for p in of if p.n == 1]
                for p in first:
                    axes.axhline(100 * p.accuracy, color=colors[method], linestyle=":", label=name)
            elif of:
                where, middle = [p.n for p in of], [100 * p.accuracy for p in of]
                axes.plot(where, middle, color=colors[method], marker="o", markersize=4, label=name)
                low, high = [100 * p.low for p in of], [100 * p.high for p in of]
                axes.fill_between(where, low, high, color=colors[method], alpha=0.12, linewidth=0)
        sizes(axes, points)
        axes.set(title=f"ours: {label}", xlabel="generations (samples or particles)", ylabel="accuracy, %")
    rows = [row for row in TABLE if row.task == "MATH500"]
    for i, method in enumerate(COLUMNS.values()):
        values = [row.values[i] for row in rows]
        grid[-1].plot(range(len(rows)), values, color=colors[method], marker="o", fillstyle="none", linestyle="none")
    for name in ("GPT-4o", "o1-preview"):
        grid[-1].axhline(REFERENCES[name][0], color="#555555", linewidth=0.8, linestyle="--")
        grid[-1].text(len(rows) - 0.6, REFERENCES[name][0], name, fontsize=7, va="bottom", ha="right")
    grid[-1].set_xticks(
        range(len(rows)), [row.policy.removesuffix("-Instruct") for row in rows], rotation=20, fontsize=7
    )
    grid[-1].set(title="published: MATH500, N = 64", ylabel="accuracy, %")
    for axes in grid:
        axes.grid(True, alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    return save(figure, out, "paper")
