r"""The travelling salesman: a shortest round trip through all cities (arXiv 2504.00294; our generator).

One row (level 1 of 5, seed 0, problem 0), shortened::

    prompt    Find a shortest round trip that begins in city 0, visits each of the 5 cities once and returns. ...
              0-1: 47
              0-2: 63
              ...
    answer    \boxed{0 3 1 4 2 0}

Cities are points of a 100 x 100 grid, distances are Euclidean, rounded. A trip is right if it is as short as the
shortest, which Held and Karp's dynamic programme (1962) finds; equally short ones are all right.
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ponder.tasks.generated import Generated

CITIES = {1: 5, 2: 7, 3: 9, 4: 11, 5: 13}


@dataclass(frozen=True)
class Trip:
    """Cities and the distances between them.

    Attributes:
        distances: a symmetric matrix of whole numbers, row by row.
    """

    distances: tuple[tuple[int, ...], ...]

    @property
    def prompt(self) -> str:
        """The distances, and the form of the answer."""
        n = len(self.distances)
        lines = "\n".join(f"{a}-{b}: {self.distances[a][b]}" for a in range(n) for b in range(a + 1, n))
        return (
            f"Find a shortest round trip that begins in city 0, visits each of the {n} cities once and returns to "
            f"city 0. The distances, the same in both directions:\n\n{lines}\n\n"
            f"End with the cities in order, such as \\boxed{{0 {' '.join(map(str, range(1, n)))} 0}}."
        )

    @cached_property
    def gold(self) -> str:
        """A shortest trip."""
        return " ".join(map(str, [*shortest(self.distances), 0]))

    @cached_property
    def least(self) -> int:
        """The length of a shortest trip."""
        return self.length(shortest(self.distances))

    def length(self, cities: list[int]) -> int:
        """The length of a trip through cities in order, and back."""
        return sum(self.distances[a][b] for a, b in pairwise([*cities, cities[0]]))

    def read(self, stated: str) -> str | None:
        """The trip from city 0, in the direction whose second city has the lower number; without the return."""
        if len(stated) > 1000 or re.search(r"[^\d\s,>\\{}()\[\]a-z-]", stated.replace("→", ">"), re.IGNORECASE):
            return None
        cities = [int(one) for one in re.findall(r"\d{1,3}", stated)]
        if len(cities) > 1 and cities[0] == cities[-1]:
            cities.pop()
        if sorted(cities) != list(range(len(self.distances))):
            return None
        start = cities.index(0)
        cities = cities[start:] + cities[:start]
        return " ".join(map(str, cities if cities[1] < cities[-1] else [0, *cities[:0:-1]]))

    def right(self, answer: str) -> bool:
        """Whether no trip is shorter."""
        cities = [int(one) for one in answer.split()]
        return sorted(cities) == list(range(len(self.distances))) and self.length(cities) == self.least


def shortest(distances: tuple[tuple[int, ...], ...]) -> list[int]:
    """A shortest trip from city 0, by dynamic programming over sets of visited cities: time 2^n n^2."""
    n, matrix = len(distances), np.array(distances, dtype=np.int64)
    # best[visited, last]: the least length of a way from 0 through the cities of a bit set, ending in `last`.
    best = np.full((1 << n, n), np.iinfo(np.int64).max // 2)
    best[1, 0] = 0
    for visited in range(1, 1 << n, 2):
        reached = (best[visited][:, None] + matrix).min(axis=0)
        for city in range(1, n):
            if not visited >> city & 1:
                after = visited | 1 << city
                best[after, city] = min(best[after, city], reached[city])
    visited, way = (1 << n) - 1, [int((best[-1] + matrix[0])[1:].argmin()) + 1]
    while len(way) < n:
        last = way[-1]
        visited ^= 1 << last
        way.append(int((best[visited] + matrix[last]).argmin()))
    return way[::-1]


def drawn(rng: random.Random, level: int) -> Trip:
    """Different points of a grid."""
    cells = rng.sample(range(100 * 100), CITIES[level])
    points = [divmod(cell, 100) for cell in cells]
    return Trip(tuple(tuple(round(math.dist(a, b)) for b in points) for a in points))


def travelling_salesman(level: int = 3, limit: int = 100, seed: int = 0) -> Generated:
    """Shortest round trips.

    Args:
        level: 1 to 5, for 5, 7, 9, 11 or 13 cities.
        limit: how many.
        seed: which draw.

    Raises:
        UserError: a level that there is not, or a limit below 1.
    """
    return Generated("travelling-salesman", drawn, range(1, 6), level, limit, seed)
