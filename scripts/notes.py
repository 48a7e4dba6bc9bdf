"""What strategies counted themselves, such as SpecReason's accepted steps: means per question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table

from ponder.scripts.points import grouped
from ponder.scripts.results import Row


@dataclass(frozen=True)
class Count:
    """One method's notes at one size.

    Attributes:
        method: the search, with what is kept apart.
        n: samples or particles.
        ceilings: the budget's ceilings for a question.
        rows: questions times seeds.
        notes: name -> mean over the rows; a row that lacks a note counts as 0 if it is a count, and is left out of the
            mean if it is a rate.
    """

    method: str
    n: int
    ceilings: str
    rows: int
    notes: Mapping[str, float]

    def asdict(self) -> dict[str, Any]:
        """Every field."""
        return asdict(self)


def counts(rows: Iterable[Row]) -> list[Count]:
    """The notes of every method that has some, at each size."""
    found: list[Count] = []
    for sizes in grouped(rows).values():
        for (n, ceilings), members in sorted(sizes.items()):
            noted = [row.data.get("notes") or {} for row in members]
            names = dict.fromkeys(name for notes in noted for name in notes)
            means = {name: _mean(name, noted) for name in names}
            if means:
                found.append(Count(members[0].method, n, ceilings, len(members), means))
    return found


def _mean(name: str, noted: Sequence[Mapping[str, float]]) -> float:
    """The mean of a count over all rows, of a rate over the rows that have it."""
    if name.endswith(" rate"):
        return float(np.mean([notes[name] for notes in noted if name in notes]))
    return float(np.mean([notes.get(name, 0.0) for notes in noted]))


def table(found: Sequence[Count]) -> list[Table]:
    """A table for each set of notes, none if there are none."""
    tables: dict[tuple[str, ...], Table] = {}
    for one in found:
        names = tuple(one.notes)
        if names not in tables:
            tables[names] = Table(title="what the searches counted, means per question")
            tables[names].add_column("method", no_wrap=True)
            for name in ("N", *names):
                tables[names].add_column(name, justify="right")
        tables[names].add_row(one.method, str(one.n), *(f"{value:.3g}" for value in one.notes.values()))
    return list(tables.values())
