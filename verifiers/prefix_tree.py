"""What is shared by solutions: segments of token ids between cuts, each known by all ids up to its end."""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ponder.verifiers.rewards import Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a request's ids.

    Attributes:
        key: says which ids lie before and in it, and where it starts.
        start: number of ids before it.
        end: number of ids up to its end.
    """

    key: bytes
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def holds(self, reads: Sequence[int]) -> bool:
        """Whether one of these positions lies in it."""
        return any(self.start <= read < self.end for read in reads)


def segments(request: Request, longest: int) -> list[Segment]:
    """Cuts a request's ids at its cuts, and where a segment would be longer than `longest`.

    What follows the segment of the last read is left out: nobody asked for it.

    Args:
        request: ids, reads and cuts.
        longest: number of ids, from 1.
    """
    digest = hashlib.blake2b(digest_size=16)
    found: list[Segment] = []
    start = 0
    for cut in sorted({*request.cuts, len(request.ids)}):
        while start < min(cut, len(request.ids)) and start <= request.reads[-1]:
            end = min(cut, start + longest, len(request.ids))
            digest.update(array("q", request.ids[start:end]).tobytes())
            found.append(Segment(digest.digest() + start.to_bytes(8), start, end))
            start = end
    return found


def runs(path: Sequence[Segment], indices: Sequence[int], longest: int) -> Iterator[list[int]]:
    """Neighbouring indices together, as long as their segments hold at most `longest` ids."""
    run: list[int] = []
    for i in indices:
        if run and (i != run[-1] + 1 or path[i].end - path[run[0]].start > longest):
            yield run
            run = []
        run.append(i)
    if run:
        yield run


def groups(paths: Sequence[Sequence[Segment]], most: int) -> Iterator[list[int]]:
    """Indices of paths in order, in groups whose distinct segments hold at most `most` tokens, or of a single path."""
    chosen: list[int] = []
    seen: set[bytes] = set()
    held = 0
    for i, path in enumerate(paths):
        new = {segment.key: len(segment) for segment in path if segment.key not in seen}
        if chosen and held + sum(new.values()) > most:
            yield chosen
            chosen, seen, held = [], set(), 0
            new = {segment.key: len(segment) for segment in path}
        chosen.append(i)
        seen.update(new)
        held += sum(new.values())
    if chosen:
        yield chosen


class PrefixTree(Generic[T]):
    """What was computed for segments; forgets what was not used for longest.

    A segment's key names everything before it, so what is known of it stays right when an ancestor is forgotten.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, tuple[int, T]] = OrderedDict()
        self.tokens = 0

    def __contains__(self, segment: Segment) -> bool:
        return segment.key in self._known

    def __getitem__(self, segment: Segment) -> T:
        return self._known[segment.key][1]

    def __setitem__(self, segment: Segment, value: T) -> None:
        self.tokens += len(segment) if segment.key not in self._known else 0
        self._known[segment.key] = len(segment), value

    def use(self, path: Sequence[Segment]) -> None:
        """Marks a path as used now, its beginning last: what many share is the last to go."""
        for segment in reversed(path):
            if segment in self:
                self._known.move_to_end(segment.key)

    def trim(self, most: int) -> None:
        """Forgets until at most `most` tokens are left."""
        while self.tokens > most:
            _, (size, _) = self._known.popitem(last=False)
            self.tokens -= size
