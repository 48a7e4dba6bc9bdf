r"""Spatial maps: where places lie from each other, told by some relations (arXiv 2504.00294; our generator).

One row (level 1 of 5, seed 0, problem 0), shortened::

    prompt    These places lie on a map, no two of them in one row or column.
              The Bakery is northwest of the Library.
              ...
              In which direction from the Museum is the Bakery?
    answer    \boxed{northwest}

Half of the questions ask for a direction that no relation states, half for how many places lie in a direction from
one. Relations are drawn until what is asked follows from them: on each axis the transitive closure of what is said
decides it. So every map that agrees with the relations gives the same answer.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product

from ponder.tasks.generated import Generated

PLACES = {1: 4, 2: 5, 3: 7, 4: 9, 5: 12}
NAMES = (
    *("Bakery", "Library", "Museum", "Harbour", "Station", "Theatre", "Market", "School", "Castle"),
    *("Bridge", "Hospital", "Garden", "Lighthouse", "Mill", "Observatory", "Stadium"),
)
DIRECTIONS = {
    (True, True): "northwest",
    (True, False): "northeast",
    (False, True): "southwest",
    (False, False): "southeast",
}
"""By whether a place is north, and whether it is west, of another."""
Pair = tuple[int, int]


@dataclass(frozen=True)
class SpatialMap:
    """Places, what is said of them, and what is asked.

    Attributes:
        names: of the places.
        relations: (a, b, direction): a lies in that direction from b.
        of: the place that is asked about; -1 where places are counted.
        origin: the place from which one looks.
        direction: where places are counted, "" where the direction is asked for.
    """

    names: tuple[str, ...]
    relations: tuple[tuple[int, int, str], ...]
    of: int
    origin: int
    direction: str

    @property
    def prompt(self) -> str:
        """The relations, the question, and the form of the answer."""
        said = "\n".join(f"The {self.names[a]} is {where} of the {self.names[b]}." for a, b, where in self.relations)
        origin = self.names[self.origin]
        if self.direction:
            asked, form = f"How many places lie {self.direction} of the {origin}?", "the number, such as \\boxed{3}"
        else:
            asked = f"In which direction from the {origin} is the {self.names[self.of]}?"
            form = "northwest, northeast, southwest or southeast, such as \\boxed{northwest}"
        return (
            f"These places lie on a map, no two of them in one row or column: {', '.join(self.names)}.\n\n{said}\n\n"
            f"{asked} End with {form}."
        )

    @cached_property
    def gold(self) -> str:
        """What follows from the relations."""
        known = closures(len(self.names), self.relations)
        if not self.direction:
            return DIRECTIONS[tuple(one[self.of, self.origin] for one in known)]  # type: ignore[index]
        others = [one for one in range(len(self.names)) if one != self.origin]
        return str(sum(_where(known, one, self.origin) == self.direction for one in others))

    def read(self, stated: str) -> str | None:
        """A direction in lower case, or a number without leading zeros."""
        text = stated.strip().strip("$").removeprefix("\\text{").removesuffix("}").strip().lower().replace("-", "")
        if self.direction:
            return str(int(text)) if text.isascii() and text.isdecimal() and len(text) < 5 else None
        return text if text in DIRECTIONS.values() else None

    def right(self, answer: str) -> bool:
        """Whether it is what follows."""
        return answer == self.gold


def closures(n: int, relations: tuple[tuple[int, int, str], ...]) -> tuple[dict[Pair, bool], dict[Pair, bool]]:
    """For north and for west: whether a place lies so from another, for all pairs of which it follows."""
    found = []
    for axis in ("north", "west"):
        known = {(a, b): axis in where for a, b, where in relations}
        known |= {(b, a): not so for (a, b), so in known.items()}
        for middle, a, b in product(range(n), repeat=3):  # Warshall: the middle place varies slowest
            first = known.get((a, middle))
            if first is not None and first == known.get((middle, b)):
                known[a, b] = first
        found.append(known)
    return found[0], found[1]


def _where(known: tuple[dict[Pair, bool], dict[Pair, bool]], a: int, b: int) -> str:
    north, west = (one.get((a, b)) for one in known)
    return "" if north is None or west is None else DIRECTIONS[north, west]


def drawn(rng: random.Random, level: int) -> SpatialMap:
    """Places at random, relations until they decide what is asked."""
    n = PLACES[level]
    names = tuple(rng.sample(NAMES, n))
    rows, columns = rng.sample(range(n), n), rng.sample(range(n), n)
    of, origin = rng.sample(range(n), 2)
    there = {DIRECTIONS[rows[a] < rows[origin], columns[a] < columns[origin]] for a in range(n) if a != origin}
    counted = rng.choice(sorted(there)) if rng.random() < 0.5 else ""  # none would be the commonest count by far
    pairs = [pair for pair in combinations(range(n), 2) if counted or set(pair) != {of, origin}]
    rng.shuffle(pairs)
    relations: tuple[tuple[int, int, str], ...] = ()
    for pair in pairs:
        a, b = rng.sample(pair, 2)
        relations += ((a, b, DIRECTIONS[rows[a] < rows[b], columns[a] < columns[b]]),)
        known = closures(n, relations)
        asked = [one for one in range(n) if one != origin] if counted else [of]
        if all(_where(known, one, origin) for one in asked):
            return SpatialMap(names, relations, -1 if counted else of, origin, counted)
    return drawn(rng, level)  # no other relation decides it: the two places are neighbours on an axis


def spatial_map(level: int = 3, limit: int = 100, seed: int = 0) -> Generated:
    """Directions and counts on maps.

    Args:
        level: 1 to 5, for 4, 5, 7, 9 or 12 places.
        limit: how many.
        seed: which draw.

    Raises:
        UserError: a level that there is not, or a limit below 1.
    """
    return Generated("spatial-map", drawn, range(1, 6), level, limit, seed)
