"""A sandbox for programs that a model wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ended = Literal["exited", "time", "memory", "output", "killed"]


@dataclass(frozen=True)
class Ran:
    """How a program ended.

    Attributes:
        ended: "exited" by itself, or stopped for its "time", its "memory" or its "output"; "killed" by a signal.
        code: its exit code, None if it did not exit by itself.
        out: what it wrote to standard output, cut at the limit.
        err: the same of standard error.
        seconds: wall time.
    """

    ended: Ended
    code: int | None
    out: str
    err: str
    seconds: float


class Sandbox:
    """Runs Python programs where they can do no harm.

    Args:
        isolation: "namespaces", or "none" for a process with limits only, which is no protection.
        seconds: of processor time, for the program and its children together.
        wall_seconds: from start to end.
        memory_mb: of all its processes together.
        disk_mb: what it may write, into a temporary folder that is deleted afterwards.
        processes: at once, threads included.
        output_kb: of standard output, and again of standard error.

    Raises:
        UserError: a limit out of range; or the kernel gives no isolation, and it was asked for.
    """

    def __init__(
        self,
        isolation: Literal["namespaces", "none"] = "namespaces",
        seconds: float = 10.0,
        wall_seconds: float = 30.0,
        memory_mb: int = 1024,
        disk_mb: int = 64,
        processes: int = 32,
        output_kb: int = 256,
    ) -> None:
        raise NotImplementedError

    def run(self, program: str, stdin: str = "") -> Ran:
        """Runs a program to its end, or to a limit; blocks its thread, at most one program a core at once."""
        raise NotImplementedError

    def passes(self, program: str) -> bool:
        """Whether a program runs to its last line without an error.

        An early exit with code 0 is no pass: a mark that is drawn for this run must come after the last line.
        """
        raise NotImplementedError
