"""Starts one untrusted Python program in its jail, watches it, and tells how it ended; a script of `execution.py`'s.

On standard input: one line of JSON (the job), after which the pipe stays open: its end means that the parent has died,
and ends the program. On standard output: JSON, the fields of `execution.Ran` and the mark that came.

Three processes: this one, which watches; the keeper (`jail.py`), which enters new namespaces and builds a root of its
own there; and the program, process 1 of its PID namespace, so that the kernel ends all that it has started with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import struct
import sys
import time
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import jail  # type: ignore[import-not-found]  # it stands beside this file; nothing of ponder is loaded here

POLL = 0.05
"""Seconds between two looks at the program's memory."""


def map_users(pid: int) -> None:
    """Gives the keeper its users: root and nobody if this process is root, else this process's own user alone."""
    for kind, own in (("uid", os.geteuid()), ("gid", os.getegid())):
        lines = f"0 0 1\n{jail.INSIDE} {jail.NOBODY} 1" if os.geteuid() == 0 else f"{jail.INSIDE} {own} 1"
        if kind == "gid" and os.geteuid() != 0:
            with open(f"/proc/{pid}/setgroups", "w") as file:
                file.write("deny")
        with open(f"/proc/{pid}/{kind}_map", "w") as file:
            file.write(lines)


def memory(pid: int) -> int:
    """Bytes that a process and all that it has started hold, as far as they are their own."""
    held, pending = 0, [str(pid)]
    while pending:
        one = pending.pop()
        try:
            with open(f"/proc/{one}/status") as file:
                fields = dict(line.split(":", 1) for line in file)
            held += sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem") if name in fields) * 1024
            for task in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{task}/children") as file:
                    pending += file.read().split()
        except OSError:  # it has just ended
            continue
    return held


class Watch:
    """What is known of a running program."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.ended = "exited"
        self.program = 0
        self.status: int | None = None
        self.start = time.monotonic()

    def stop(self, why: str) -> None:
        """Ends the program, once."""
        if self.ended == "exited" and self.status is None:
            self.ended = why
        self.kill()

    def kill(self) -> None:
        """Ends the program's processes: its namespace with it, or its session."""
        if self.program:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.kill if self.job["isolation"] == "namespaces" else os.killpg)(self.program, signal.SIGKILL)

    def tell(self, told: bytes) -> None:
        """Takes the program's number, and later how it ended."""
        for (number,) in struct.iter_unpack("q", told):
            if not self.program:
                self.program = number
            else:
                self.status = number


def watched(job: dict[str, Any], pid: int, told: int, out: int, err: int, mark: int) -> dict[str, Any]:
    """Reads what the program writes and looks after its limits, until it has ended."""
    watch, most = Watch(job), job["output_kb"] * 1024
    texts = {out: bytearray(), err: bytearray(), mark: bytearray()}
    chosen = selectors.DefaultSelector()
    for fd in (*texts, told, 0):
        chosen.register(fd, selectors.EVENT_READ)
    wait, deadline = POLL, watch.start + job["wall_seconds"]
    while told in chosen.get_map() or (any(fd in chosen.get_map() for fd in texts) and time.monotonic() < deadline + 1):
        for key, _ in chosen.select(wait):
            chunk = os.read(key.fd, 65536)
            if key.fd == 0:
                watch.stop("killed")
                chosen.unregister(0)
            elif not chunk:
                chosen.unregister(key.fd)
            elif key.fd == told:
                watch.tell(chunk)
            else:
                texts[key.fd] += chunk
                if len(texts[key.fd]) > most:
                    del texts[key.fd][most:]
                    watch.stop("output")
        if watch.status is not None and told in chosen.get_map() and job["isolation"] == "none":
            watch.kill()  # what the program has left behind
        if time.monotonic() > deadline:
            watch.stop("time")
        elif watch.program and watch.status is None and memory(watch.program) > job["memory_mb"] * jail.MB:
            watch.stop("memory")
    os.waitpid(pid, 0)
    ended, code = watch.ended, None
    if watch.status is not None and ended == "exited":
        if os.WIFEXITED(watch.status):
            code = os.WEXITSTATUS(watch.status)
        else:
            ended = "time" if os.WTERMSIG(watch.status) in (signal.SIGXCPU, signal.SIGKILL) else "killed"
    shown = {
        name: bytes(texts[fd]).decode("utf-8", "replace") for name, fd in (("out", out), ("err", err), ("mark", mark))
    }
    return {"ended": ended, "code": code, "seconds": time.monotonic() - watch.start, **shown}


def main() -> None:
    """Reads a job, runs it, tells how it ended; an isolation that the kernel refuses is told as `refused`."""
    job = json.loads(sys.stdin.buffer.readline())
    job["program_bytes"] = 4 * len(job["program"])
    pipes = [os.pipe() for _ in range(6)]
    (out, out_), (err, err_), (mark, mark_), (given, given_), (told, told_), (go, go_) = pipes
    os.write(given_, job["mark"].encode())
    os.close(given_)
    with open(f"{job['folder']}/stdin", "w+b") as stdin:
        stdin.write(job["stdin"].encode("utf-8", "surrogatepass"))
        stdin.flush()
        stdin.seek(0)
        if job["isolation"] == "none":
            with open(f"{job['folder']}/program.py", "wb") as file:
                file.write(job["program"].encode("utf-8", "surrogatepass"))
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for fd in (out, err, mark, told, go_):
                    os.close(fd)
                code = jail.keeper(job, [stdin.fileno(), out_, err_, given, mark_], told_, go)
            except BaseException as error:
                os.write(err_, f"refused: {error}".encode())
            os._exit(code)
    for fd in (out_, err_, mark_, given, told_, go):
        os.close(fd)
    if job["isolation"] == "namespaces" and os.read(told, 8):
        try:
            map_users(pid)
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            sys.stdout.write(json.dumps({"refused": f"users cannot be mapped: {error}"}))
            return
        os.write(go_, b"1")
    found = watched(job, pid, told, out, err, mark)
    if found["code"] is None and found["ended"] == "exited":
        found["refused"] = found["err"].removeprefix("refused: ") or "no program was started"
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
