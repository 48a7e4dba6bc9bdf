r"""Mazes: a shortest way through a grid with walls (arXiv 2504.00294; our generator).

One row (level 1 of 5, seed 0, problem 0), shortened::

    prompt    Find a shortest way from S to E in this maze. # is a wall, . is free; a move goes one cell up (U), ...
              #######
              #S..#.#
              ...
    answer    \boxed{RRDD}

A random depth-first search carves a maze without loops; then some walls are opened, so that there are several ways. Any
way that meets no wall and is as short as the shortest (breadth-first search) is right.
"""

from __future__ import annotations

import random
import re
from collections import deque
from dataclasses import dataclass
from functools import cached_property

from ponder.tasks.generated import Generated

ROOMS = {1: 3, 2: 4, 3: 6, 4: 8, 5: 11}
"""Rooms along one side; a grid has twice as many cells and one more, with the walls between them."""
OPENED = 0.1
"""Share of inner walls that are opened after the maze is carved."""
MOVES = {"U": (-1, 0), "D": (1, 0), "L": (0, -1), "R": (0, 1)}
Cell = tuple[int, int]


@dataclass(frozen=True)
class Maze:
    """A grid of free cells; the way leads from the first room to the last.

    Attributes:
        side: cells along one side.
        free: row and column of each cell that is no wall.
    """

    side: int
    free: frozenset[Cell]

    @property
    def start(self) -> Cell:
        """The room in the upper left."""
        return 1, 1

    @property
    def end(self) -> Cell:
        """The room in the lower right."""
        return self.side - 2, self.side - 2

    @property
    def prompt(self) -> str:
        """The grid, and the form of the answer."""
        signs = {self.start: "S", self.end: "E"}
        rows = range(self.side)
        grid = "\n".join("".join(signs.get((r, c), ".#"[(r, c) not in self.free]) for c in rows) for r in rows)
        return (
            "Find a shortest way from S to E in this maze. # is a wall, . is free; a move goes one cell up (U), "
            f"down (D), left (L) or right (R).\n\n{grid}\n\nEnd with all moves in order, such as \\boxed{{UDLR}}."
        )

    @cached_property
    def gold(self) -> str:
        """A shortest way: breadth-first search."""
        ways, queue = {self.start: ""}, deque([self.start])
        while self.end not in ways:
            cell = queue.popleft()
            for move, (down, right) in MOVES.items():
                after = cell[0] + down, cell[1] + right
                if after in self.free and after not in ways:
                    ways[after] = ways[cell] + move
                    queue.append(after)
        return ways[self.end]

    def read(self, stated: str) -> str | None:
        """The moves without what separates them."""
        text = re.sub(r"\\text|\\rightarrow|[\s,{}$>→-]", "", stated[:10_000]).upper()
        return text if text and set(text) <= set(MOVES) else None

    def right(self, answer: str) -> bool:
        """Whether the moves lead from S to E through free cells, and there is no shorter way."""
        cell = self.start
        for move in answer:
            cell = cell[0] + MOVES[move][0], cell[1] + MOVES[move][1]
            if cell not in self.free:
                return False
        return cell == self.end and len(answer) == len(self.gold)


def drawn(rng: random.Random, level: int) -> Maze:
    """Carves a maze, and opens some of its walls."""
    rooms = ROOMS[level]
    side = 2 * rooms + 1
    free, way = {(1, 1)}, [(1, 1)]
    while way:
        row, column = way[-1]
        ahead = [(row + 2 * d, column + 2 * r) for d, r in MOVES.values()]
        ahead = [one for one in ahead if one not in free and 0 < one[0] < side and 0 < one[1] < side]
        if not ahead:
            way.pop()
            continue
        room = rng.choice(ahead)
        free |= {room, ((row + room[0]) // 2, (column + room[1]) // 2)}
        way.append(room)
    inner = range(1, side - 1)
    walls = [(r, c) for r in inner for c in inner if r % 2 != c % 2 and (r, c) not in free]
    return Maze(side, frozenset(free | set(rng.sample(walls, round(OPENED * len(walls))))))


def maze(level: int = 3, limit: int = 100, seed: int = 0) -> Generated:
    """Shortest ways through mazes.

    Args:
        level: 1 to 5, for grids of 7, 9, 13, 17 or 23 cells a side.
        limit: how many.
        seed: which draw.

    Raises:
        UserError: a level that there is not, or a limit below 1.
    """
    return Generated("maze", drawn, range(1, 6), level, limit, seed)
