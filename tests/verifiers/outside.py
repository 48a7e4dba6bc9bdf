"""What a program in the sandbox could reach if it got out, and what it leaves."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECRET = "the-canary-sings"
WALL = 3.0
QUICK: dict[str, Any] = {
    "seconds": 1,
    "wall_seconds": WALL,
    "memory_mb": 256,
    "disk_mb": 8,
    "processes": 32,
    "output_kb": 64,
}


class Outside:
    """A secret, a folder to write to, two servers."""

    def __init__(self, folder: Path) -> None:
        self.canary = folder / "canary"
        self.canary.write_text(SECRET, encoding="utf-8")
        self.name = f"ponder-{os.getpid()}-{time.monotonic_ns()}"
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind(f"\0{self.name}")
        abstract.listen()
        self.servers = [socket.create_server(("127.0.0.1", 0)), abstract]
        self.connections = 0
        for server in self.servers:
            threading.Thread(target=self._serve, args=(server,), daemon=True).start()

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                server.accept()[0].close()
            except OSError:
                return
            self.connections += 1

    def told(self, program: str) -> str:
        """The program with the places in it."""
        given = {"canary": self.canary, "folder": self.canary.parent, "name": self.name, "parent": os.getpid()}
        for name, value in {**given, "port": self.servers[0].getsockname()[1]}.items():
            program = program.replace(f"{{{name}}}", str(value))
        return program.replace("{{", "{").replace("}}", "}")

    def check(self) -> None:
        """It is as it was."""
        for server in self.servers:
            server.close()
        assert self.canary.read_text(encoding="utf-8") == SECRET
        assert [path.name for path in self.canary.parent.iterdir()] == ["canary"]
        assert self.connections == 0


def leftovers() -> list[str]:
    """Jails, programs and their children that still run; those of another process of these tests are its own."""
    commands, parents = dict[int, str](), dict[int, int]()
    for one in Path("/proc").glob("[0-9]*"):
        try:
            commands[int(one.name)] = (one / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            parents[int(one.name)] = int((one / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue

    def jailed(pid: int) -> bool:
        return "warden.py" in commands.get(pid, "") or "_program(path" in commands.get(pid, "")

    def another(pid: int) -> bool:
        """Whether a living process that is not this one, nor started by it, has started it; an orphan may be ours."""
        seen = False
        while pid > 1 and pid != os.getpid():
            seen |= not jailed(pid) and any(word in commands.get(pid, "") for word in ("python", "pytest", "ponder"))
            pid = parents.get(pid, 0)
        return seen and pid != os.getpid()

    return [f"{pid}: {command[:300]}" for pid, command in commands.items() if jailed(pid) and not another(pid)]


def wait_for(fact: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, leftovers()
        time.sleep(0.05)
