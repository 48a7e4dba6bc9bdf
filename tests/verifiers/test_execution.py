"""The sandbox: what means harm does none, and what is good runs; on the real kernel."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ponder.errors import UserError
from ponder.verifiers import execution
from ponder.verifiers.execution import Sandbox
from tests.scripts.command import environment
from tests.verifiers.hostile import HOSTILE

SECRET = "the-canary-sings"
WALL = 4.0
QUICK: dict[str, Any] = {
    "seconds": 1,
    "wall_seconds": WALL,
    "memory_mb": 256,
    "disk_mb": 8,
    "processes": 32,
    "output_kb": 64,
}


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    """An isolated one with small limits."""
    if refusal := execution._refusal():
        pytest.skip(f"this kernel isolates nothing: {refusal}")
    return Sandbox(**QUICK)


class Outside:
    """What a program could reach if it got out: a secret, a folder to write to, a server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.canary = folder / "canary"
        self.canary.write_text(SECRET, encoding="utf-8")
        self.server = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                self.server.accept()[0].close()
            except OSError:
                return
            self.connections += 1

    def told(self, program: str) -> str:
        """The program with the places in it."""
        given = {"canary": self.canary, "folder": self.folder, "port": self.server.getsockname()[1]}
        for name, value in {**given, "parent": os.getpid()}.items():
            program = program.replace(f"{{{name}}}", str(value))
        return program.replace("{{", "{").replace("}}", "}")


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    """The outside; it is as it was when the test ends."""
    monkeypatch.setenv("PONDER_SECRET", SECRET)
    found = Outside(tmp_path)
    yield found
    found.server.close()
    assert found.canary.read_text(encoding="utf-8") == SECRET
    assert [path.name for path in tmp_path.iterdir()] == ["canary"]
    assert found.connections == 0


def leftovers() -> list[str]:
    """Jails, programs and their children that still run; those of another process of these tests are its own."""
    commands, parents = dict[int, str](), dict[int, int]()
    for one in Path("/proc").glob("[0-9]*"):
        try:
            commands[int(one.name)] = (one / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            parents[int(one.name)] = int((one / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue

    def another(pid: int) -> bool:
        while pid > 1 and pid != os.getpid():
            if "pytest" in commands.get(pid, "") or "execnet" in commands.get(pid, ""):
                return True
            pid = parents.get(pid, 0)
        return False

    return [
        f"{pid}: {command[:300]}"
        for pid, command in commands.items()
        if ("warden.py" in command or "_program(path" in command) and not another(pid)
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_escapes(name: str, sandbox: Sandbox, outside: Outside) -> None:
    start = time.monotonic()
    ran = sandbox.run(outside.told(HOSTILE[name]))
    assert not (ran.ended == "exited" and ran.code == 0 and ran.complete), "it passed"
    assert "ESCAPED" not in ran.out, ran.out
    assert SECRET not in ran.out + ran.err
    assert time.monotonic() - start < WALL + 5
    assert len(ran.out) <= 64 * 1024
    assert leftovers() == []
    assert sandbox.passes("assert 1 + 1 == 2")


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 25


@pytest.mark.parametrize(
    ("name", "ended"),
    [
        ("endless loop that ignores signals", "time"),
        ("endless sleep", "time"),
        ("memory bomb of many processes", "memory"),
        ("huge output", "output"),
        ("leaving early with code 0", "exited"),
    ],
)
def test_why_it_ended_is_told(name: str, ended: str, sandbox: Sandbox, outside: Outside) -> None:
    assert sandbox.run(outside.told(HOSTILE[name])).ended == ended


def test_a_good_program_runs(sandbox: Sandbox) -> None:
    ran = sandbox.run("name = input()\nprint(f'Hello {name} ü')\nraise SystemExit(3)", "wörld")
    assert (ran.ended, ran.code, ran.out, ran.err) == ("exited", 3, "Hello wörld ü\n", "")
    assert not ran.complete
    ran = sandbox.run("1/0")
    assert (ran.ended, ran.code) == ("exited", 1)
    assert "ZeroDivisionError" in ran.err


@pytest.mark.parametrize(
    "program",
    [
        "from __future__ import annotations\ndef f(x: Unknown): return x\nassert f(1) == 1",
        "if __name__ == '__main__':\n    assert True\nelse:\n    1/0",
        "import tempfile\nwith tempfile.TemporaryFile() as f: f.write(b'x')",
        "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(2) as p: assert p.map(abs, [-1]) == [1]",
        "import subprocess\nassert subprocess.run(['ls', '/tmp'], capture_output=True).returncode == 0",
        "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
        "import hashlib, math, random, re, typing, collections, itertools, datetime, zoneinfo",
        "import pickle\nclass A: pass\nassert isinstance(pickle.loads(pickle.dumps(A())), A)",
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int\nassert A(1).x == 1",
        "import os\nassert not os.path.exists('/proc/1')\nassert os.getcwd() == '/tmp'\nassert os.getuid() == 1000",
        "print('x' * 30000)",
        "import sys\nassert sys.stdin.read() == ''",
        "_os = 1\nread = 2\nsource = 3",
        "assert set(globals()) == {'__name__', '__doc__', '__package__', '__loader__', '__spec__', '__builtins__'}"
        " | {'__annotations__'}",
    ],
)
def test_what_a_script_may_do(program: str, sandbox: Sandbox) -> None:
    ran = sandbox.run(program)
    assert ran.ended == "exited", ran
    assert ran.code == 0, ran.err
    assert sandbox.passes(program)


@pytest.mark.parametrize(
    "program",
    [
        "",
        "\x00",
        "def f(:",
        "\udcff",
        "assert False",
        "raise SystemExit",
        "x = 'é'\nassert x == 'e'",
        "quit()",
        "exit(0)",
    ],
)
def test_what_is_no_pass(program: str, sandbox: Sandbox) -> None:
    assert sandbox.passes(program) == (program == "")


def test_packages_of_the_environment_are_an_option(sandbox: Sandbox) -> None:
    program = "import numpy\nassert numpy.eye(2).sum() == 2"
    assert "ModuleNotFoundError" in sandbox.run(program).err
    assert Sandbox(**{**QUICK, "memory_mb": 1024}, packages=True).passes(program)


def test_a_program_finds_nothing_of_the_one_before(sandbox: Sandbox) -> None:
    assert sandbox.passes("open('/tmp/note', 'w').write('x')")
    assert sandbox.passes("import os\nassert os.listdir('/tmp') == [] or 'note' not in os.listdir('/tmp')")


def test_several_threads_at_once(sandbox: Sandbox) -> None:
    programs = [f"print({i})\nassert {i} % 2" for i in range(12)]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(sandbox.run, programs))
    assert [ran.out for ran in found] == [f"{i}\n" for i in range(12)]
    assert [ran.complete for ran in found] == [bool(i % 2) for i in range(12)]


def test_the_temporary_folder_is_gone(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sandbox.run("open('/tmp/x', 'w').write('x')\nwhile True: pass")
    assert list(tmp_path.iterdir()) == []


ENDLESS = """
import sys
from ponder.verifiers.execution import Sandbox
print("go", flush=True)
Sandbox(sys.argv[1], seconds=60, wall_seconds=60).run("import time\\ntime.sleep(60)")
"""


@pytest.mark.parametrize("isolation", ["namespaces", "none"])
def test_a_program_ends_with_its_killed_parent(isolation: str, sandbox: Sandbox) -> None:
    command = [sys.executable, "-c", ENDLESS, isolation]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        wait_for(lambda: sum("_program(path" in one for one in leftovers()) == 1)
        parent.kill()
    wait_for(lambda: leftovers() == [])


def wait_for(fact: object, seconds: float = 20.0) -> None:
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not fact():  # type: ignore[operator]
        assert time.monotonic() < end, leftovers()
        time.sleep(0.05)


FORKS = """
import os
assert os.getuid() == 1000
while True:
    try: os.fork()
    except OSError: raise SystemExit("limited")
"""


def test_it_needs_no_root(sandbox: Sandbox, tmp_path: Path) -> None:
    """The jail as nobody, by an interpreter that nobody can read."""
    if os.geteuid() != 0:
        pytest.skip("not root: every other test here shows it")
    python = next((one for one in (sys.executable, "/usr/bin/python3") if readable_to_all(Path(one))), None)
    if python is None:
        pytest.skip("every interpreter here is root's alone")
    with tempfile.TemporaryDirectory() as folder:  # not under tmp_path, which is root's alone
        os.chmod(folder, 0o777)
        for name in ("warden.py", "jail.py"):
            shutil.copy(execution.WARDEN.with_name(name), folder)
        job = {"isolation": "namespaces", **QUICK, "processes": 8, "program": FORKS, "stdin": "", "mark": "m"}
        shown = ["/usr", "/bin", "/lib", "/lib64"]
        job |= {"packages": False, "folder": folder, "python": os.path.realpath(python), "shown": shown}
        with subprocess.Popen(
            [python, "-I", "-S", "-B", f"{folder}/warden.py"],
            user=65534,
            group=65534,
            extra_groups=[],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
            told = json.loads(process.stdout.read())
    assert "limited" in told["err"], told
    assert (told["ended"], told["code"]) == ("exited", 1)


def readable_to_all(path: Path) -> bool:
    """Whether every user can read a file, on each of its ways."""
    return path.exists() and all(
        folder.stat().st_mode & 0o005 == 0o005 for one in {path, path.resolve()} for folder in one.absolute().parents
    )


def test_where_nothing_isolates_it_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(execution, "_refusal", lambda: "unshare: Operation not permitted")
    with pytest.raises(UserError, match=r"(?s)sandbox=isolated is not to be had here: unshare.*sandbox=unsafe"):
        Sandbox()
    unsafe = Sandbox("none", seconds=2, wall_seconds=5)
    assert unsafe.passes("assert 1")
    assert not unsafe.passes("assert 0")


def test_a_kernel_that_refuses_is_noticed() -> None:
    """A filter that forbids `unshare`, as many containers have it."""
    program = (
        "from ponder.verifiers import execution, jail\n"
        "jail.FORBIDDEN = {'unshare': (272, 97)}\n"
        "jail.confine(True)\n"
        "print(execution._refusal())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )
    assert "unshare: Operation not permitted" in done.stdout, done.stderr


def test_without_isolation_limits_still_hold() -> None:
    unsafe = Sandbox("none", **QUICK)
    assert unsafe.run("while True: pass").ended == "time"
    assert unsafe.run("while True: print('x' * 1000)").ended == "output"
    assert not unsafe.passes("x = bytearray(10**9)")
    assert "ESCAPED" not in unsafe.run(HOSTILE["the parent's environment"]).out
    ran = unsafe.run("import os, time\nif os.fork() == 0: time.sleep(100)\nprint('left')")
    assert (ran.ended, ran.out) == ("exited", "left\n")
    assert leftovers() == []


@pytest.mark.parametrize(
    "limits",
    [
        {"seconds": 0},
        {"memory_mb": -1},
        {"disk_mb": 1.5},
        {"processes": True},
        {"output_kb": 10**9},
        {"isolation": "docker"},
    ],
)
def test_mistakes(limits: dict[str, object]) -> None:
    (name,) = limits
    with pytest.raises(UserError, match=rf"sandbox\.{name}="):
        Sandbox(**limits)  # type: ignore[arg-type]
