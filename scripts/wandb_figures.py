"""What W&B is told of a run: the names of all metrics, running figures, curves, table, summary."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ponder.scripts.metrics import mean_interval
from ponder.scripts.results import Bill, Stop
from ponder.scripts.wandb_question import AXES, Fewer, Question

VALUES = ("accuracy", "low", "high")
"""An accuracy and the ends of its 95 % interval."""
COUNTS = ("new_tokens", "prompt_tokens", "cached_tokens", "verifier_tokens", "verifier_calls", "flops")
"""Counts of a role that the running figures sum over questions and roles."""

STEP = "questions"
RUNNING = ("failed", *COUNTS, "seconds")
"""Running figures besides `accuracy/SELECTOR`, one point a finished question, against `STEP`."""
ANYTIME = tuple(f"anytime/{name}" for name in (*AXES, *VALUES))
"""The anytime curve: what a question spends on average if it is stopped at a budget, and the accuracy then."""
SCALING = tuple(f"scaling/{name}" for name in ("n", "coverage", *AXES, *VALUES))
"""The curve over N of searches whose samples are independent."""
FINAL = tuple(f"final/{name}" for name in VALUES)
"""In the summary: the accuracy of the configured selector; of all selectors as `final/SELECTOR/accuracy` and so on."""
MEAN = tuple(f"mean/{name}" for name in AXES)
"""In the summary: what a question costs on average."""
TABLE = "rows"
"""The table with one line a question."""

STOPS = 24  # budgets of an anytime curve
ROLE_COUNTS = ("new_tokens", "verifier_tokens", "flops")
Figures = dict[str, float]


def steps() -> dict[str, str | None]:
    """Every metric of the history, and the one that is its horizontal axis unless another is chosen; None for axes."""
    axes = [STEP, "scaling/n", *(f"{curve}/{name}" for curve in ("anytime", "scaling") for name in AXES)]
    drawn = {"accuracy/*": STEP, **dict.fromkeys(RUNNING, STEP)}
    for names, axis in ((ANYTIME, "anytime/new_tokens"), (SCALING, "scaling/n")):
        drawn |= dict.fromkeys([name for name in names if name not in axes], axis)
    return {**dict.fromkeys(axes), **drawn}


@dataclass
class Tally:
    """The questions of a run so far, a later one in place of an earlier one of the same id."""

    questions: dict[str, Question] = field(default_factory=dict)
    _sums: defaultdict[str, float] = field(default_factory=lambda: defaultdict(int))

    def add(self, one: Question) -> None:
        """Takes a question in."""
        if one.id in self.questions:
            self._book(self.questions.pop(one.id), -1)
        self.questions[one.id] = one
        self._book(one, 1)

    def _book(self, one: Question, sign: int) -> None:
        """Keeps the sums: a run of many questions is told of after each."""
        for cost in one.cost.values():
            for name in COUNTS:
                self._sums[name] += sign * cost.get(name, 0)
        self._sums["seconds"] += sign * one.bill["seconds"]
        self._sums["failed"] += sign * one.failed
        if one.graded:
            self._sums["graded"] += sign
            for name, right in one.right.items():
                self._sums[f"accuracy/{name}"] += sign * right

    @property
    def graded(self) -> list[Question]:
        """The questions that count for accuracy."""
        return [one for one in self.questions.values() if one.graded]

    def running(self) -> Figures:
        """`STEP`, `RUNNING` and `accuracy/SELECTOR`, as of all questions so far."""
        figures: Figures = {STEP: len(self.questions), **{name: self._sums[name] for name in RUNNING}}
        right = {name: count for name, count in self._sums.items() if name.startswith("accuracy/")}
        return figures | {name: count / self._sums["graded"] for name, count in right.items() if self._sums["graded"]}

    def summary(self) -> Figures:
        """Accuracies of all selectors with their intervals, mean costs, and the running figures."""
        every, figures = list(self.questions.values()), self.running()
        if every:
            figures |= _means("mean", [one.bill for one in every])
        graded = self.graded
        for name in dict.fromkeys(name for one in graded for name in one.right):
            values = {one.id: [float(one.right.get(name, False))] for one in graded}
            figures |= _accuracy(f"final/{name}", values)
            figures |= _accuracy("final", values) if name == graded[0].select else {}
        return figures

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and lines of the table, one line a question; costs by role as `ROLE/new_tokens` and so on."""
        every = list(self.questions.values())
        roles = sorted({role for one in every for role in one.cost})
        columns = list(dict.fromkeys(name for one in every for name in one.cells))
        costs = [(role, name) for role in roles for name in ROLE_COUNTS]
        lines = [
            [*(one.cells.get(name) for name in columns), *(one.cost.get(role, {}).get(name, 0) for role, name in costs)]
            for one in every
        ]
        return [*columns, *(f"{role}/{name}" for role, name in costs)], lines

    def anytime(self) -> list[Figures]:
        """The anytime curve, at `STOPS` budgets of the policy's new tokens, evenly spaced in their logarithm.

        A question stopped at a budget answers with its last report within it, and is wrong without any. Where samples
        are independent, the points are those of fewer samples.
        """
        if fewer := self.scaling():
            return [{name: point[name.replace("anytime", "scaling")] for name in ANYTIME} for point in fewer]
        going = [one for one in self.graded if one.path]
        spent = [stop.bill["new_tokens"] for one in going for stop in one.path if stop.bill["new_tokens"] > 0]
        if len(going) < len(self.graded) or not spent:
            return []
        budgets = dict.fromkeys(np.geomspace(min(spent), max(spent), STOPS).tolist())
        return [_point("anytime", {one.id: one.stopped(budget) for one in going}) for budget in budgets]

    def scaling(self) -> list[Figures]:
        """Accuracy and coverage at fewer samples, expectations over all subsets; costs in proportion to samples."""
        curves = {one.id: one.fewer for one in self.graded if one.fewer}
        if len(curves) < len(self.graded) or not curves:
            return []
        points = []
        for k in next(iter(curves.values())):
            stops = {id_: fewer[k] for id_, fewer in curves.items()}
            covered = sum(stop.covered for stop in stops.values()) / len(stops)
            points.append({"scaling/n": float(k), "scaling/coverage": covered} | _point("scaling", stops))
        return points


def _point(curve: str, stops: Mapping[str, Stop | Fewer]) -> Figures:
    """A point of a curve: mean costs, and the accuracy with its interval, of questions that stop somewhere."""
    bills = [stop.bill for stop in stops.values()]
    return _means(curve, bills) | _accuracy(curve, {id_: [stop.value] for id_, stop in stops.items()})


def _means(prefix: str, bills: Collection[Bill]) -> Figures:
    return {f"{prefix}/{name}": sum(bill[name] for bill in bills) / len(bills) for name in AXES}


def _accuracy(prefix: str, values: Mapping[str, Sequence[float]]) -> Figures:
    mean, (low, high) = mean_interval(values)
    return {f"{prefix}/{name}": value for name, value in zip(VALUES, (mean, low, high), strict=True)}
