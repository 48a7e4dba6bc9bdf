"""Puts one untrusted Python program into a jail: namespaces, a root of its own, limits, a filter of system calls.

Standard library only, and no import of ponder: `warden.py` runs it as a script, `python -I -S`.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import platform
import resource
import select
import signal
import struct
import sys
from typing import Any

import seccomp  # type: ignore[import-not-found]  # it stands beside this file

INSIDE = 1000
"""The program's user and group inside; outside it is nobody if this process is root, else this process's own user."""
NOBODY = 65534
MB = 1 << 20

CLONE = {"NEWNS": 0x20000, "NEWCGROUP": 0x2000000, "NEWUTS": 0x4000000, "NEWIPC": 0x8000000}
CLONE |= {"NEWUSER": 0x10000000, "NEWPID": 0x20000000, "NEWNET": 0x40000000}
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 0x1000, 0x4000, 0x40000
READ_ONLY, NO_SETUID, NO_DEVICES, NO_PROGRAMS = 1, 2, 4, 8  # attributes of a mount
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
SYSCALLS = {"pivot_root": (155, 41), "mount_setattr": (442, 442)}  # number on x86-64, on aarch64

STUB = """\
import builtins as _b, os as _os, sys as _sys
_b.exit = _b.quit = _sys.exit  # without site there are none
_sys.argv[0] = __file__ = PATH
def _program(path, packages, read=_os.read, write=_os.write, fds=(3, 4)):
    if packages:
        import site
        for folder in packages:
            site.addsitedir(folder)
    with open(path, encoding="utf-8") as file:
        source = file.read()
    for name in ("_program", "_b", "_os", "_sys"):
        del globals()[name]
    exec(compile(source, path, "exec"), globals())
    write(fds[1], read(fds[0], 64))
_program(__file__, PACKAGES)
"""
"""Runs the program as `__main__`; the mark is read and handed on after the program's last line, and never before."""


def tell(told: int, facts: dict[str, Any]) -> None:
    """Writes a line for the warden."""
    os.write(told, json.dumps(facts, separators=(",", ":")).encode() + b"\n")


def libc() -> Any:
    """The C library, its errors kept."""
    return ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> None:
    """Raises the C library's error."""
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """Mounts a file system, or a folder once more."""
    kind_ = kind.encode() if kind else None
    checked(
        libc().mount(os.fsencode(source), os.fsencode(target), kind_, ctypes.c_ulong(flags), data.encode()), "mount"
    )


def syscall(name: str, *given: Any) -> None:
    """A system call that the C library has no function for."""
    checked(libc().syscall(SYSCALLS[name][seccomp.ARCHITECTURES[platform.machine()][0]], *given), name)


def lock(target: str, attributes: int, recursive: bool) -> None:
    """Takes rights away from a mount, or from all mounts of a folder."""
    given = struct.pack("QQQQ", attributes, 0, 0, 0)
    at_fdcwd, at_recursive = -100, 0x8000
    syscall("mount_setattr", at_fdcwd, os.fsencode(target), at_recursive if recursive else 0, given, len(given))


def build_root(job: dict[str, Any]) -> None:
    """A root of its own: system libraries and the interpreter to read, one small folder to write, nothing else."""
    root = job["folder"]
    checked(libc().sethostname(b"sandbox", 7), "sethostname")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, f"size={job['program_bytes'] + MB},nr_inodes=512,mode=755")
    with open(f"{root}/program.py", "wb") as file:
        file.write(job["program"].encode("utf-8", "surrogatepass"))
    os.mkdir(f"{root}/tmp")
    mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, f"size={job['disk_mb']}m,nr_inodes=10000,mode=1777")
    for source in job["shown"]:  # after /tmp: an environment may stand there
        show(source, root + source, READ_ONLY | NO_SETUID | NO_DEVICES)
    for device in ("null", "zero", "full", "random", "urandom"):
        show(f"/dev/{device}", f"{root}/dev/{device}", READ_ONLY | NO_SETUID | NO_PROGRAMS)
    os.mkdir(f"{root}/proc")
    os.symlink("/tmp", f"{root}/dev/shm")
    os.chdir(root)
    syscall("pivot_root", b".", b".")
    checked(libc().umount2(b".", 2), "umount2")
    lock("/", READ_ONLY | NO_SETUID | NO_DEVICES, recursive=False)


def show(source: str, target: str, attributes: int) -> None:
    """Lets a folder, a file or a link of the outside be seen, unless it is there already."""
    if not os.path.lexists(source) or os.path.lexists(target):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    if os.path.isdir(source):
        os.mkdir(target)
    else:
        open(target, "wb").close()
    mount(source, target, None, MS_BIND | MS_REC)
    lock(target, attributes, recursive=True)


def end_with_parent() -> None:
    """From now on this process is killed when its parent ends; a change of users takes that back, an exec does not."""
    if sys.platform == "linux":
        checked(libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "pdeathsig")


def confine(isolated: bool) -> None:
    """No new privileges, and no forbidden calls."""
    if sys.platform != "linux":
        return
    prctl = libc().prctl
    checked(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if isolated:
        rules = seccomp.rules(platform.machine())
        buffer = ctypes.create_string_buffer(rules, len(rules))
        program = struct.pack("HxxxxxxQ", len(rules) // 8, ctypes.addressof(buffer))
        checked(prctl(PR_SET_SECCOMP, 2, program, 0, 0), "seccomp")


def limit(job: dict[str, Any], others: int) -> None:
    """Limits of each process; others of this file may run as the program's user."""
    cpu, disk = max(1, round(job["seconds"])), job["disk_mb"] * MB
    limits = {"CPU": (cpu, cpu + 1), "AS": (job["memory_mb"] * MB,) * 2, "FSIZE": (disk, disk)}
    limits |= {"NOFILE": (64, 64), "CORE": (0, 0), "STACK": (8 * MB, job["memory_mb"] * MB)}
    if job["isolation"] == "namespaces":  # else the user's own processes would count
        limits |= {"NPROC": (job["processes"] + others,) * 2, "SIGPENDING": (256, 256)}
    for name, (soft, hard) in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        most = resource.getrlimit(kind)[1]
        most = hard if most == resource.RLIM_INFINITY else min(hard, most)
        resource.setrlimit(kind, (min(soft, most), most))


def default_signals() -> None:
    """Every signal does what it does in a fresh process, whatever ponder and its shell have set."""
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):  # two are the C library's own
            signal.signal(number, signal.SIG_DFL)


def become_program(job: dict[str, Any], fds: list[int], told: int) -> None:
    """The program's process: takes its limits and its user, and leaves this file for the interpreter."""
    try:
        isolated = job["isolation"] == "namespaces"
        default_signals()
        os.setsid()
        others = 2  # the keeper and process 1
        if isolated and os.getuid() == 0:
            others = 0
            os.setgroups([])
            os.setresgid(INSIDE, INSIDE, INSIDE)
            os.setresuid(INSIDE, INSIDE, INSIDE)
        end_with_parent()
        home = "/tmp" if isolated else job["folder"]
        os.chdir(home)
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in [*fds, told]]
        *_, told = [os.dup2(fd, i, inheritable=i < len(fds)) for i, fd in enumerate(high)]
        os.closerange(told + 1, 1024)
        path = "/program.py" if isolated else f"{home}/program.py"
        stub = STUB.replace("PATH", repr(path)).replace("PACKAGES", repr(job["packages"]))
        environment = {"PATH": "/usr/bin:/bin", "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
        environment |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        limit(job, others)
        confine(isolated)
        os.execve(job["python"], [job["python"], "-s", "-P", "-B", "-S", "-c", stub], environment)
    except BaseException as error:
        tell(told, {"refused": f"{job['python']}: {error}"})
    os._exit(1)


def process_one(job: dict[str, Any], fds: list[int], told: int, life: int) -> None:
    """Process 1 of the namespace: starts the program, reaps what is orphaned; when it ends the kernel ends the rest.

    The program could undo its own ties to its parents. It cannot undo these, and no signal from inside ends process 1.
    """
    default_signals()
    end_with_parent()
    if select.select([life], [], [], 0)[0]:  # the keeper has ended before
        return
    program = os.fork()
    if program == 0:
        become_program(job, fds, told)
    for fd in fds:
        os.close(fd)
    while True:
        pid, status, used = os.wait4(-1, 0)
        if pid == program:
            tell(told, {"status": status, "cpu": used.ru_utime + used.ru_stime})
            return


def keeper(job: dict[str, Any], fds: list[int], told: int, go: int) -> None:
    """Enters namespaces, starts the program, and ends what is left of it when it ends, or at the warden's word.

    The warden's word is the end of `go`, and so is the warden's own end.
    """
    isolated = job["isolation"] == "namespaces"
    if isolated:
        checked(libc().unshare(sum(CLONE.values())), "unshare")
        os.write(told, b"\n")
        if not os.read(go, 1):  # the maps of users are written from outside
            return
        build_root(job)
    life, life_ = os.pipe()  # a byte when a child ends; its own end is the keeper's
    os.set_blocking(life_, False)
    signal.set_wakeup_fd(life_)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    tell(told, {"started": True})
    child = os.fork()
    if child == 0:
        os.close(life_)
        if isolated:
            process_one(job, fds, told, life)
            os._exit(0)
        become_program(job, fds, told)
    for fd in fds:
        os.close(fd)
    while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if go in select.select([life, go], [], [])[0]:
            break
        os.read(life, 64)
    for kill, pid in [(os.kill, child), *([] if isolated else [(os.killpg, child)])]:
        with contextlib.suppress(
            ProcessLookupError, PermissionError
        ):  # not yet a group of its own; its number is not free before wait4
            kill(pid, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    if not isolated:
        tell(told, {"status": status, "cpu": used.ru_utime + used.ru_stime})
