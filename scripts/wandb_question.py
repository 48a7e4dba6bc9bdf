"""One row as W&B is told of it: its line in the table, its cost, and what it would have given had it been stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ponder.scripts.points import INDEPENDENT, SUBSETS, stopped
from ponder.scripts.results import COVERAGE, Bill, Row, Stop

AXES = ("new_tokens", "generated_tokens", "verifier_tokens", "verifier_calls", "flops", "seconds")
"""What a question costs: new tokens of the policy, new tokens of all models, and the rest over all models."""
DRAWS = 50_000  # random subsets over all questions of a point: from 25 questions on a Monte-Carlo error below 0.23 %


class Fewer(NamedTuple):
    """What a question gives with fewer of its samples.

    Attributes:
        bill: the cost by `AXES`.
        value: how likely its answer is right.
        covered: how likely a right one is among the samples.
    """

    bill: Bill
    value: float
    covered: float


@dataclass(frozen=True)
class Question:
    """What is kept of a row: figures, and no text but that of the table.

    Attributes:
        id: the problem's.
        cells: its part of the table, costs by role apart.
        graded: whether the task has a gold answer; if not, it is no part of any accuracy.
        failed: whether it ended in an error.
        select: the configured selector.
        right: whether each selector's answer is right.
        cost: counts by role.
        bill: the cost by `AXES`.
        path: the search from nothing to its end; empty where samples are independent, or the selector's answer on the
            way cannot be told.
        generated: new tokens of all models at each stop of `path`.
        fewer: by number of samples where they are independent; empty otherwise.
    """

    id: str
    cells: Mapping[str, Any]
    graded: bool
    failed: bool
    select: str
    right: Mapping[str, bool]
    cost: Mapping[str, Mapping[str, float]]
    bill: Bill
    path: Sequence[Stop]
    generated: Sequence[float]
    fewer: Mapping[int, Fewer]

    def stopped(self, budget: float) -> Stop:
        """Where the search stands when it has spent a budget of the policy's new tokens; see `points.stopped`."""
        stop, spent = stopped(self.path, "new_tokens", budget), [one.bill["new_tokens"] for one in self.path]
        return Stop({**stop.bill, "generated_tokens": float(np.interp(budget, spent, self.generated))}, stop.value)


def question(data: Mapping[str, Any], search: str, n: int, questions: int) -> Question:
    """Reads a row (docs/rows.md) of a run.

    Args:
        data: the row as stored.
        search: the name of the run's search.
        n: how many samples a question has, where they are independent.
        questions: how many the run has; the more, the fewer random subsets a vote among fewer samples needs.
    """
    id_ = str(data["problem_id"])
    row = Row(label="", search=search, n=n, seed=0, problem=("", id_), setup="", data=data)
    select, answers = row.select, data["answers"]
    bill, level = {**row.bill(), "generated_tokens": _generated(data["cost"])}, (data.get("meta") or {}).get("level")
    on_its_way = select in SUBSETS and search not in INDEPENDENT
    return Question(
        id=id_,
        cells={
            "problem_id": id_,
            **({} if level is None else {"level": str(level)}),
            "prompt": str(data["prompt"]),
            "answer": answers[select]["answer"],
            "right": bool(answers[select]["correct"]),
            "seconds": bill["seconds"],
            "error": data["error"]["message"] if row.failed else None,
        },
        graded=bool(data.get("gold_known", True)),
        failed=row.failed,
        select=select,
        right={name: bool(answer["correct"]) for name, answer in answers.items()},
        cost=data["cost"],
        bill=bill,
        path=row.path(select) if on_its_way else [],
        generated=[0.0, *(_generated(report["cost"]) for report in data["reports"]), bill["generated_tokens"]],
        fewer=_fewer(row, bill, int(np.clip(DRAWS // questions, 32, 2000))),
    )


def ladder(n: int) -> list[int]:
    """Sizes up to n: powers of two, and those half as large again."""
    return sorted({k for i in range(n.bit_length()) for k in (2**i, 3 * 2**i // 2) if k < n} | {n})


def _generated(costs: Mapping[str, Mapping[str, float]]) -> float:
    return float(sum(cost.get("new_tokens", 0) for cost in costs.values()))


def _fewer(row: Row, bill: Bill, draws: int) -> Mapping[int, Fewer]:
    if row.search not in INDEPENDENT or row.select not in SUBSETS:
        return {}
    return {
        k: Fewer(
            {name: cost * row.share(k) for name, cost in bill.items()},
            row.at(k, row.select, draws).value,
            row.at(k, COVERAGE).value,
        )
        for k in ladder(row.n)
    }
