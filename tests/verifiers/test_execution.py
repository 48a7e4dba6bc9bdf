"""The sandbox: what means harm does none, and what is good runs; on the real kernel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ponder.errors import UserError
from ponder.verifiers import execution
from ponder.verifiers.execution import Sandbox
from tests.verifiers.hostile import HOSTILE
from tests.verifiers.hostile_calls import HOSTILE_CALLS
from tests.verifiers.outside import QUICK, SECRET, WALL, Outside, leftovers, wait_for

ALL = HOSTILE | HOSTILE_CALLS
ENDED = {
    "endless loop that ignores signals": "time",
    "endless sleep": "time",
    "stopped by itself": "time",
    "memory bomb of many processes": "memory",
    "huge output": "output",
    "huge output on the other stream": "output",
    "leaving early with code 0": "exited",
    "killing itself": "killed",
    "killing process 1": "exited",
}
"""Why some of them end."""
PATIENCE = 120.0


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    """An isolated one with small limits."""
    if refusal := execution._refusal():
        pytest.skip(f"this kernel isolates nothing: {refusal}")
    return Sandbox(**QUICK)


@pytest.fixture(scope="module")
def patient(sandbox: Sandbox) -> Sandbox:
    """The same with much time: what is good passes on a busy machine, too."""
    return Sandbox(**{**QUICK, "seconds": 20, "wall_seconds": PATIENCE})


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    """The outside; it is as it was when the test ends."""
    monkeypatch.setenv("PONDER_SECRET", SECRET)
    found = Outside(tmp_path)
    yield found
    found.check()


@pytest.mark.parametrize("name", ALL)
def test_nothing_escapes(name: str, sandbox: Sandbox, patient: Sandbox, outside: Outside) -> None:
    by_time = ENDED.get(name, "time") == "time"  # the others end by their cause, however busy the machine is
    start = time.monotonic()
    ran = (sandbox if by_time else patient).run(outside.told(ALL[name]))
    assert not (ran.ended == "exited" and ran.code == 0 and ran.complete), "it passed"
    assert ran.ended == ENDED.get(name, ran.ended)
    assert "ESCAPED" not in ran.out, ran.out
    assert SECRET not in ran.out + ran.err
    assert time.monotonic() - start < (WALL if by_time else PATIENCE) + 5
    assert len(ran.out) <= 64 * 1024
    wait_for(lambda: leftovers() == [], 2)  # an orphan of test_jail.py's, in another process, ends within moments
    assert patient.passes("assert 1 + 1 == 2")


def test_there_are_enough_of_them() -> None:
    assert len(ALL) == len(HOSTILE) + len(HOSTILE_CALLS) >= 25


def test_a_good_program_runs(patient: Sandbox) -> None:
    ran = patient.run("name = input()\nprint(f'Hello {name} ü')\nraise SystemExit(3)", "wörld")
    assert (ran.ended, ran.code, ran.out, ran.err) == ("exited", 3, "Hello wörld ü\n", "")
    assert not ran.complete
    ran = patient.run("1/0")
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
        " | {'__annotations__', '__file__'}",
        "import inspect\ndef f(): pass\nassert inspect.getsource(f) == 'def f(): pass\\n'",
        "import signal, time\nsignal.signal(signal.SIGALRM, lambda *_: None)\nsignal.alarm(1)\nsignal.pause()",
        "import os, sys\nassert sys.argv == ['/program.py'] and os.path.samefile(__file__, sys.argv[0])",
        "import asyncio\nassert asyncio.run(asyncio.sleep(0, 1)) == 1",
        "import os, time\nheld = bytearray(90_000_000)\nfor i in range(0, len(held), 4096): held[i] = 1\n"
        "for _ in range(5):\n    if os.fork() == 0: time.sleep(0.5); os._exit(0)\n"
        "for _ in range(5): os.wait()",
    ],
)
def test_what_a_script_may_do(program: str, patient: Sandbox) -> None:
    ran = patient.run(program)
    assert ran.ended == "exited", ran
    assert ran.code == 0, ran.err
    assert patient.passes(program)


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
def test_what_is_no_pass(program: str, patient: Sandbox) -> None:
    assert patient.passes(program) == (program == "")


def test_packages_of_the_environment_are_an_option(sandbox: Sandbox) -> None:
    program = "import numpy\nassert numpy.eye(2).sum() == 2"
    assert "ModuleNotFoundError" in sandbox.run(program).err
    assert Sandbox(**{**QUICK, "wall_seconds": 120, "seconds": 20, "memory_mb": 1024}, packages=True).passes(program)


def test_a_program_finds_nothing_of_the_one_before(patient: Sandbox) -> None:
    assert patient.passes("open('/tmp/note', 'w').write('x')")
    assert patient.passes("import os\nassert os.listdir('/tmp') == [] or 'note' not in os.listdir('/tmp')")


def test_several_threads_at_once(patient: Sandbox) -> None:
    programs = [f"print({i})\nassert {i} % 2" for i in range(12)]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(patient.run, programs))
    assert [ran.out for ran in found] == [f"{i}\n" for i in range(12)]
    assert [ran.complete for ran in found] == [bool(i % 2) for i in range(12)]


def test_the_temporary_folder_is_gone(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sandbox.run("open('/tmp/x', 'w').write('x')\nwhile True: pass")
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_isolates_it_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(execution, "_refusal", lambda: "unshare: Operation not permitted")
    with pytest.raises(UserError, match=r"(?s)sandbox=isolated is not to be had here: unshare.*sandbox=unsafe"):
        Sandbox()
    unsafe = Sandbox("none", seconds=20, wall_seconds=120)
    assert unsafe.passes("assert 1")
    assert not unsafe.passes("assert 0")


def test_without_isolation_limits_still_hold() -> None:
    unsafe = Sandbox("none", **QUICK)
    assert unsafe.run("while True: pass").ended == "time"
    assert unsafe.run("while True: print('x' * 1000)").ended == "output"
    assert not unsafe.passes("x = bytearray(10**9)")
    assert "ESCAPED" not in unsafe.run(HOSTILE["the parent's environment"]).out
    ran = unsafe.run("import os, time\nif os.fork() == 0: time.sleep(100)\nprint('left')")
    assert (ran.ended, ran.out) == ("exited", "left\n")
    wait_for(lambda: leftovers() == [], 2)


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


def test_limits_that_let_nothing_run_are_mistakes(sandbox: Sandbox) -> None:
    for isolation in ("namespaces", "none"):
        with pytest.raises(UserError, match="not even a program of one line runs"):
            Sandbox(isolation, memory_mb=4)


def test_only_libraries_are_shown(sandbox: Sandbox) -> None:
    """An interpreter's prefix can be a home folder, and /usr hold a project of someone's."""
    ran = sandbox.run("import os\nprint(*os.listdir('/usr'), *os.listdir('/etc'))")
    assert set(ran.out.split()) <= {"bin", "lib", "lib32", "lib64", "local", "share", "ld.so.cache", "localtime"}
