"""The jail from outside: it ends with whoever dies, needs no root, says why it is not built; its filter, by rules."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ponder.errors import VerifierError
from ponder.verifiers import execution, seccomp
from ponder.verifiers.execution import Sandbox
from tests.scripts.command import environment
from tests.verifiers.outside import QUICK, leftovers, wait_for

FOLDER = execution.WARDEN.parent
UNTIED = "import ctypes, signal, time\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\nprint('up', flush=True)\ntime.sleep(300)"


@pytest.fixture(scope="module", autouse=True)
def _isolation() -> None:
    if refusal := execution._refusal():
        pytest.skip(f"this kernel isolates nothing: {refusal}")


def programs() -> list[str]:
    return [one for one in leftovers() if "_program(path" in one]


ENDLESS = """
import os, sys, threading, time
from ponder.verifiers.execution import Sandbox
sandbox = Sandbox(sys.argv[1], seconds=60, wall_seconds=300)
threading.Thread(target=sandbox.run, args=(sys.argv[2],)).start()
time.sleep(1)
holder = os.fork()  # has copies of the pipes to the warden
if holder == 0: time.sleep(300)
print(holder, flush=True)
"""


@pytest.mark.parametrize("isolation", ["namespaces", "none"])
@pytest.mark.parametrize("program", ["import time\ntime.sleep(300)", UNTIED])
def test_a_program_ends_with_its_killed_parent(isolation: str, program: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", ENDLESS, isolation, program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as parent:
        assert parent.stdout is not None
        holder = int(parent.stdout.readline())
        try:
            wait_for(lambda: len(programs()) == 1)
            parent.kill()
            wait_for(lambda: leftovers() == [])
        finally:
            parent.kill()
            os.kill(holder, 9)


def nobody_can_run() -> str | None:
    """An interpreter that every user can read, on each of its ways."""
    for one in (sys.executable, "/usr/bin/python3"):
        path = Path(one)
        ways = [folder for end in {path, path.resolve()} for folder in end.absolute().parents]
        if path.exists() and all(folder.stat().st_mode & 0o005 == 0o005 for folder in ways):
            return str(path)
    return None


@contextmanager
def warden(program: str, user: int | None) -> Iterator[subprocess.Popen[bytes]]:
    """A warden that runs a program, as another user if one is given."""
    if user is not None and os.geteuid() != 0:
        pytest.skip("not root: the other tests show it")
    python = sys.executable if user is None else nobody_can_run()
    if python is None:
        pytest.skip("every interpreter here is root's alone")
    with tempfile.TemporaryDirectory() as folder:  # not under tmp_path, which is root's alone
        os.chmod(folder, 0o777)
        for name in ("warden.py", "jail.py", "seccomp.py"):
            shutil.copy(FOLDER / name, folder)
        prefix = os.path.realpath(sys.base_prefix)
        shown = [*execution.SHOWN, *(f"{prefix}/{name}" for name in ("bin", "lib"))] if user is None else ["/usr"]
        job = {"isolation": "namespaces", **QUICK, "wall_seconds": 60, "processes": 8, "program": program}
        job |= {"stdin": "", "mark": "m", "packages": [], "folder": folder, "python": os.path.realpath(python)}
        job |= {"shown": [*shown, "/bin", "/lib", "/lib64"], "parent": os.getpid()}
        who: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        with subprocess.Popen(
            [python, "-I", "-S", "-B", f"{folder}/warden.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **who
        ) as process:
            assert process.stdin is not None
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
            yield process


FORKS = """
import os
assert os.getuid() == 1000
while True:
    try: os.fork()
    except OSError: raise SystemExit("limited")
"""
LOOKS = """
import ctypes, os
assert os.listdir("/proc") == [] and not os.path.exists("/etc/passwd")
assert ctypes.CDLL(None).mount(b"none", b"/tmp", b"tmpfs", 0, None) == -1
for number in range(1, 65):
    try: os.kill(1, number)
    except OSError: pass
for harm in ("/x", "/usr/x", "/dev/x"):
    try: open(harm, "w")
    except OSError: continue
    raise SystemExit("written")
"""


@pytest.mark.parametrize("user", [None, 65534])
def test_it_needs_no_root(user: int | None) -> None:
    with warden(FORKS, user) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.read())
    assert "limited" in told["err"], told
    assert (told["ended"], told["code"]) == ("exited", 1)
    with warden(LOOKS, user) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.read())
    assert (told["ended"], told["code"], told["err"], told["mark"]) == ("exited", 0, "", "m")


@pytest.mark.parametrize("user", [None, 65534])
def test_a_program_ends_with_its_killed_warden(user: int | None) -> None:
    with warden(UNTIED, user) as process:
        wait_for(lambda: len(programs()) == 1)
        process.kill()
        wait_for(lambda: leftovers() == [])


def test_a_killed_warden_is_an_error_and_not_a_verdict() -> None:
    errors = list[BaseException]()
    sandbox = Sandbox(**{**QUICK, "wall_seconds": 60})  # here, so that its own first program has ended

    def run() -> None:
        try:
            sandbox.run("import time\ntime.sleep(60)")
        except VerifierError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: len(programs()) == 1)
    first = min(int(one.partition(":")[0]) for one in leftovers() if "warden.py" in one)
    os.kill(first, 9)
    thread.join(20)
    assert [str(error) for error in errors] == ["the sandbox could not be built: the jail was killed"]
    wait_for(lambda: leftovers() == [])


def test_a_kernel_that_refuses_is_noticed() -> None:
    """A filter that forbids `unshare`, as many containers have it."""
    program = (
        "import sys\n"
        f"sys.path.insert(0, {str(FOLDER)!r})\n"
        "import jail, seccomp\n"
        "seccomp.FORBIDDEN = {'unshare': (272, 97)}\n"
        "jail.confine(True)\n"
        "sys.path.pop(0)\n"
        "from ponder.verifiers import execution\n"
        "print(execution._refusal())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )
    assert "unshare: Operation not permitted" in done.stdout, done.stderr


def verdict(
    machine: str, number: int, argument: int = 0, architecture: int | None = None, more: tuple[int, int] = (0, 0)
) -> int:
    """What the filter says of a call: 0 if it is allowed, else the error's number; BPF, interpreted."""
    rules = list(struct.iter_unpack("HBBI", seccomp.rules(machine)))
    call = {0: number, 4: architecture or seccomp.ARCHITECTURES[machine][1], 16: argument}
    call |= {24: more[0], 32: more[1]}
    at = held = 0
    while True:
        operation, yes, no, value = rules[at]
        at += 1
        if operation == 0x20:
            held = call[value]
        elif operation == 0x06:
            return 0 if value == 0x7FFF0000 else value & 0xFFFF
        else:
            at += yes if {0x15: held == value, 0x35: held >= value, 0x45: held & value}[operation] else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter(machine: str) -> None:
    place = seccomp.ARCHITECTURES[machine][0]
    forbidden = {both[place] for both in seccomp.FORBIDDEN.values()}
    special = {seccomp.CLONE[place], *(both[place] for both in seccomp.SOCKETS.values())}
    for number in range(600):
        wanted = seccomp.EPERM if number in forbidden else seccomp.ENOSYS if number == 435 else 0
        assert verdict(machine, number, 0) == (97 if number in special - {seccomp.CLONE[place]} else wanted), number
    for number in sorted(forbidden | special | {0, 1, 59}):
        assert verdict(machine, number | 0x40000000) == seccomp.EPERM
        assert verdict(machine, number, 1, 0x40000003) == seccomp.EPERM
    for flags in (17, 0x3D0F00, 0x4111):  # fork, a thread, vfork
        assert verdict(machine, seccomp.CLONE[place], flags) == 0
    for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict(machine, seccomp.CLONE[place], bit | 17) == seccomp.EPERM
    for level, option, wanted in [(1, 7, 1), (1, 8, 1), (1, 2, 0), (6, 7, 0)]:
        assert verdict(machine, seccomp.SETSOCKOPT[place], more=(level, option)) == wanted
    for both in seccomp.SOCKETS.values():
        assert [f for f in range(64) if verdict(machine, both[place], f) == 0] == [1, 2, 10]
