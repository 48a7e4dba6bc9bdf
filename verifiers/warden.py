"""Starts one untrusted Python program in its jail, watches it, and tells how it ended; a script of `execution.py`'s.

On standard input: one line of JSON (the job), after which the pipe stays open: its end means that the parent has died,
and ends the program. On standard output: JSON, the fields of `execution.Ran` and the mark that came; or why there was
no running it, as `refused`.

Four processes: this one, which watches; the keeper, which enters new namespaces and builds a root of its own there;
process 1 of the PID namespace, with which the kernel ends all that is in it; and the program (`jail.py`).
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import time
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import jail  # type: ignore[import-not-found]  # it stands beside this file; nothing of ponder is loaded here

POLL = 0.05
"""Seconds between two looks at the program's memory; most programs end before the first."""


def map_users(pid: int) -> None:
    """Gives the keeper its users: root and nobody if this process is root, else this process's own user alone."""
    for kind, own in (("uid", os.geteuid()), ("gid", os.getegid())):
        lines = f"0 0 1\n{jail.INSIDE} {jail.NOBODY} 1" if os.geteuid() == 0 else f"{jail.INSIDE} {own} 1"
        if kind == "gid" and os.geteuid() != 0:
            with open(f"/proc/{pid}/setgroups", "w") as file:
                file.write("deny")
        with open(f"/proc/{pid}/{kind}_map", "w") as file:
            file.write(lines)


def descendants(pid: int, own: int) -> list[str]:
    """Processes that a process has started, and theirs in turn, without the first `own` generations."""
    found, generation = [], [str(pid)]
    while generation:
        started = []
        for one in generation:
            try:
                for task in os.listdir(f"/proc/{one}/task"):
                    with open(f"/proc/{one}/task/{task}/children") as file:
                        started += file.read().split()
            except OSError:  # it has just ended
                continue
        own -= 1
        found += started if own < 1 else []
        generation = started
    return found


def held(pid: str, file: str, names: tuple[str, ...]) -> int | None:
    """The sum of some of a process's figures, in bytes; 0 if it has ended, None if they are not for us to read."""
    try:
        with open(f"/proc/{pid}/{file}") as lines:
            fields = dict(line.split(":", 1) for line in lines if ":" in line)
    except PermissionError:
        return None
    except OSError:
        return 0
    return sum(int(fields[name].split()[0]) for name in names if name in fields) * 1024


def too_much(pid: int, own: int, most: int) -> bool:
    """Whether what a process has started holds more than `most` bytes together; pages that are shared count once.

    The cheap figure counts shared pages for each process. Only where it is too large is the kernel asked to divide.
    """
    cheap = {one: held(one, "status", ("RssAnon", "RssShmem", "VmSwap")) or 0 for one in descendants(pid, own)}
    if sum(cheap.values()) <= most:
        return False
    exact = {one: held(one, "smaps_rollup", ("Pss_Anon", "Pss_Shmem", "SwapPss")) for one in cheap}
    return sum(cheap[one] if share is None else share for one, share in exact.items()) > most


def watched(
    job: dict[str, Any], pid: int, begun: tuple[int, bytes], go: int, streams: dict[str, int]
) -> dict[str, Any]:
    """Reads what the program writes and looks after its limits, until it has ended and all that it started with it."""
    most, memory, own = (
        job["output_kb"] * 1024,
        job["memory_mb"] * jail.MB,
        2 if job["isolation"] == "namespaces" else 1,
    )
    told, first = begun
    texts = {told: bytearray(first), **{fd: bytearray() for fd in streams.values()}}
    start = time.monotonic()
    last, look, why = start + job["wall_seconds"], start + POLL, ""
    chosen = selectors.DefaultSelector()
    for fd in (*texts, 0):
        chosen.register(fd, selectors.EVENT_READ)
    until = float("inf")  # without isolation a daemon can hold a stream for ever
    while (told in chosen.get_map() or set(streams.values()) & set(chosen.get_map())) and time.monotonic() < until:
        now, stop = time.monotonic(), ""
        runs = not why and b"status" not in texts[told]
        if runs and now > last:
            stop = "time"
        elif runs and now > look:
            look = now + POLL
            if too_much(pid, own, memory) and too_much(pid, own, memory):  # shares change while they are read
                stop = "memory"
        for key, _ in chosen.select(POLL):
            chunk = os.read(key.fd, 65536)
            if not chunk:
                chosen.unregister(key.fd)
                until = now + 1 if key.fd == told else until
                stop = "killed" if key.fd == 0 else stop
                continue
            if key.fd in texts:
                texts[key.fd] += chunk
                if len(texts[key.fd]) > most:
                    del texts[key.fd][most:]
                    stop = "output"
        if stop and not why:
            why = stop
            os.close(go)
    os.waitpid(pid, 0)
    seconds = time.monotonic() - start
    said: dict[str, Any] = {}
    for line in texts[told].splitlines():
        said |= json.loads(line or b"{}")
    shown = {name: bytes(texts[fd]).decode("utf-8", "replace") for name, fd in streams.items()}
    if "refused" in said or "started" not in said:
        return {"refused": said.get("refused", "no program was started")}
    ended, code = why or "killed", None
    if "status" in said and not why:
        ended = "exited"
        if os.WIFEXITED(said["status"]):
            code = os.WEXITSTATUS(said["status"])
        else:
            number = os.WTERMSIG(said["status"])
            spent = number == signal.SIGKILL and said["cpu"] >= max(1, round(job["seconds"]))
            ended = "time" if spent or number == signal.SIGXCPU else "killed"
    return {"ended": ended, "code": code, "seconds": seconds, **shown}


def start(job: dict[str, Any]) -> dict[str, Any]:
    """Runs a job to its end."""
    isolated = job["isolation"] == "namespaces"
    for name in (f"task/{os.getpid()}/children", "smaps_rollup"):
        if isolated and not os.path.exists(f"/proc/self/{name}"):
            return {"refused": f"the kernel has no /proc/self/{name}, by which memory is watched"}
    (out, out_), (err, err_), (mark, mark_), (given, given_), (told, told_), (go, go_) = (os.pipe() for _ in range(6))
    os.write(given_, job["mark"].encode())
    os.close(given_)
    for name in ("stdin", *(() if isolated else ("program.py",))):
        with open(f"{job['folder']}/{name}", "wb") as file:
            file.write(job[name.removesuffix(".py")].encode("utf-8", "surrogatepass"))
    stdin = os.open(f"{job['folder']}/stdin", os.O_RDONLY)  # or the program could write to the outside's disk
    pid = os.fork()
    if pid == 0:
        try:
            for fd in (0, out, err, mark, told, go_):
                os.close(fd)
            jail.keeper(job, [stdin, out_, err_, given, mark_], told_, go)
        except BaseException as error:
            jail.tell(told_, {"refused": str(error)})
        os._exit(0)
    for fd in (stdin, out_, err_, mark_, given, told_, go):
        os.close(fd)
    first = os.read(told, 1)
    if isolated and first == b"\n":
        try:
            map_users(pid)
        except OSError as error:
            os.close(go_)
            os.waitpid(pid, 0)
            return {"refused": f"users cannot be mapped: {error}"}
        os.write(go_, b"1")
    return watched(job, pid, (told, first), go_, {"out": out, "err": err, "mark": mark})


def main() -> None:
    """Reads a job, runs it, tells how it ended."""
    job = json.loads(sys.stdin.buffer.readline())
    job["program_bytes"] = 4 * len(job["program"])
    jail.end_with_parent()
    if os.getppid() == job["parent"]:
        sys.stdout.write(json.dumps(start(job)))


if __name__ == "__main__":
    main()
