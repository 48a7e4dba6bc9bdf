r"""A sandbox for programs that a model wrote: they run here or nowhere. docs/sandbox.md says what holds them.

Example:
    sandbox = Sandbox(seconds=5)
    sandbox.run("print(input()[::-1])", "abc").out      # "cba" and a line's end
    sandbox.passes("def f(): return 2\nassert f() == 2")  # True
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ponder.errors import UserError, VerifierError

Ended = Literal["exited", "time", "memory", "output", "killed"]
WARDEN = Path(__file__).with_name("warden.py")
GRACE = 10.0
"""Seconds that the jail may take beyond the program's own wall time, on a busy machine, before it is ended as well."""
SHOWN: tuple[str, ...] = ("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo")
SHOWN += ("/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime")
"""What an isolated program can read, beside the interpreter."""
_turns = threading.BoundedSemaphore(os.cpu_count() or 1)


@dataclass(frozen=True)
class Ran:
    """How a program ended.

    Attributes:
        ended: "exited" by itself, or stopped for its "time", its "memory" or its "output"; "killed" by a signal.
        code: its exit code, None if it did not exit by itself.
        out: what it wrote to standard output, cut at the limit.
        err: the same of standard error.
        seconds: wall time.
        complete: whether it came to its last line.
    """

    ended: Ended
    code: int | None
    out: str
    err: str
    seconds: float
    complete: bool


class Sandbox:
    """Runs Python programs where they can do no harm.

    Args:
        isolation: "namespaces", or "none" for a process with limits only, which is no protection.
        seconds: of processor time, of each process; rounded to whole seconds, 1 at least.
        wall_seconds: from start to end.
        memory_mb: of address space of each process, and of what all its processes hold together.
        disk_mb: what it may write, into a temporary folder that is deleted afterwards.
        processes: at once, threads included; not limited without isolation.
        output_kb: of standard output, and again of standard error.
        packages: whether programs can import what is installed beside ponder; else the standard library alone, so that
            a verdict does not depend on the environment.

    Raises:
        UserError: a limit out of range, or so low that no program runs; or the kernel gives no isolation, and it was
            asked for.
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
        packages: bool = False,
    ) -> None:
        if isolation not in ("namespaces", "none"):
            raise UserError(f"sandbox.isolation={isolation!r} is unknown", "allowed: namespaces, none")
        limits = {"seconds": seconds, "wall_seconds": wall_seconds, "memory_mb": memory_mb, "disk_mb": disk_mb}
        limits |= {"processes": processes, "output_kb": output_kb}
        for name, value in limits.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6:
                raise UserError(f"sandbox.{name}={value!r} is out of range", "allowed: a number above 0")
            if name not in ("seconds", "wall_seconds") and value != int(value):
                raise UserError(f"sandbox.{name}={value!r} is out of range", "allowed: a whole number from 1")
        if isolation == "namespaces" and (refusal := _refusal()):
            raise UserError(
                f"sandbox=isolated is not to be had here: {refusal}",
                "needs Linux 5.14 with user namespaces, which containers and some distributions switch off "
                "(docs/sandbox.md); "
                "sandbox=unsafe runs what models wrote WITHOUT isolation: in a throw-away container only",
            )
        self.settings = {"isolation": isolation, "packages": packages, **limits}
        if trouble := _trial(tuple(self.settings.items())):
            raise UserError(
                f"sandbox: with these limits not even a program of one line runs: {trouble}",
                f"raise what is too small for an interpreter: {limits}",
            )

    def run(self, program: str, stdin: str = "") -> Ran:
        """Runs a program to its end, or to a limit; blocks its thread, at most one program a core at once.

        Args:
            program: its source.
            stdin: what it can read.

        Raises:
            VerifierError: the jail itself failed.
        """
        with _turns:
            mark = secrets.token_hex(16)
            found = _jailed(self.settings, program, stdin, mark)
        if "refused" in found:
            raise VerifierError(f"the sandbox could not be built: {found['refused']}")
        complete = found.pop("mark") == mark
        return Ran(complete=complete, **found)

    def passes(self, program: str) -> bool:
        """Whether a program runs to its last line without an error; an early exit with code 0 is no pass."""
        ran = self.run(program)
        return ran.ended == "exited" and ran.code == 0 and ran.complete


def _jailed(settings: dict[str, Any], program: str, stdin: str, mark: str) -> dict[str, Any]:
    """What the jail tells of a program."""
    folders = [os.path.realpath(one) for one in sys.path if os.path.basename(one) in ("site-packages", "dist-packages")]
    folders = folders if settings["packages"] else []
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))  # an environment's is a link to it
    prefix = os.path.realpath(sys.base_prefix)
    with tempfile.TemporaryDirectory(prefix="ponder-", ignore_cleanup_errors=True) as folder:
        job = {
            **settings,
            "program": program,
            "stdin": stdin,
            "mark": mark,
            "folder": os.path.realpath(folder),
            "python": python,
            "packages": folders,
            "shown": [*SHOWN, *(f"{prefix}/{name}" for name in ("bin", "lib", "lib64")), python, *folders],
            "parent": os.getpid(),
        }
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(WARDEN)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"LANG": "C.UTF-8"},
            cwd="/",
            start_new_session=True,
        )
        clock = threading.Timer(settings["wall_seconds"] + GRACE, process.kill)
        clock.daemon = True
        clock.start()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            with process.stdout, process.stderr:
                process.stdin.write(json.dumps(job).encode() + b"\n")
                process.stdin.flush()  # and left open: its end would end the program
                told = process.stdout.read()
                said = process.stderr.read()
        except BrokenPipeError:
            told, said = b"", b"the jail ended early"
        finally:
            process.kill()
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            clock.cancel()
    if not told:
        return {"refused": said.decode("utf-8", "replace")[-500:] or "the jail was killed"}
    found: dict[str, Any] = json.loads(told)
    return found


@cache
def _refusal() -> str:
    """Why programs cannot be isolated here; empty if they can."""
    if sys.platform != "linux":
        return f"{sys.platform} has no namespaces"
    limits = {"seconds": 10, "wall_seconds": 30, "memory_mb": 1024, "disk_mb": 1, "processes": 8, "output_kb": 1}
    return _trial(tuple({"isolation": "namespaces", "packages": False, **limits}.items()))


@cache
def _trial(settings: tuple[tuple[str, Any], ...]) -> str:
    """Why not even a program of one line runs with these settings; empty if it does, or if it was merely too slow."""
    found = _jailed(dict(settings), "print('in')", "", "mark")
    if "refused" in found:
        return str(found["refused"])
    if found["ended"] == "time" or (found["out"] == "in\n" and found["mark"] == "mark"):
        return ""
    return f"a program ended by {found['ended']!r}, code {found['code']}: {found['err'][-200:]}"
