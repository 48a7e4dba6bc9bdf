"""Puts one untrusted Python program into a jail: namespaces, a root of its own, limits, a filter of system calls.

Standard library only, and no import of ponder: `warden.py` runs it as a script, `python -I -S`.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from typing import Any

INSIDE = 1000
"""The program's user and group inside; outside it is nobody if this process is root, else this process's own user."""
NOBODY = 65534
MB = 1 << 20

CLONE = {"NEWNS": 0x20000, "NEWCGROUP": 0x2000000, "NEWUTS": 0x4000000, "NEWIPC": 0x8000000}
CLONE |= {"NEWUSER": 0x10000000, "NEWPID": 0x20000000, "NEWNET": 0x40000000}
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 0x1000, 0x4000, 0x40000
MOUNT_ATTR_LOCKED = 0x1 | 0x2 | 0x4  # read-only, no setuid, no devices
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38

SYSCALLS = {  # number on x86-64, on aarch64
    "pivot_root": (155, 41),
    "mount_setattr": (442, 442),
}
FORBIDDEN = {  # memory that no limit counts, other processes, the kernel's keys and its lesser-trodden paths
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
}
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

STUB = """\
import builtins as _b, os as _os, sys as _sys
_b.exit = _b.quit = _sys.exit  # without site there are none
def _program(path, read=_os.read, write=_os.write, fds=(3, 4)):
    with open(path, encoding="utf-8") as file:
        source = file.read()
    for name in ("_program", "_b", "_os", "_sys"):
        del globals()[name]
    exec(compile(source, path, "exec"), globals())
    write(fds[1], read(fds[0], 64))
_program("program.py")
"""
"""Runs the program as `__main__`; the mark is read and handed on after the program's last line, and never before."""


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
    checked(libc().mount(source.encode(), target.encode(), kind_, ctypes.c_ulong(flags), data.encode()), "mount")


def syscall(name: str, *given: Any) -> None:
    """A system call that the C library has no function for."""
    checked(libc().syscall(SYSCALLS[name][ARCHITECTURES[platform.machine()][0]], *given), name)


def lock(target: str, recursive: bool) -> None:
    """Makes mounts read-only, without set-user-id programs and devices."""
    attributes = struct.pack("QQQQ", MOUNT_ATTR_LOCKED, 0, 0, 0)
    at_fdcwd, at_recursive = -100, 0x8000
    syscall("mount_setattr", at_fdcwd, target.encode(), at_recursive if recursive else 0, attributes, len(attributes))


def build_root(job: dict[str, Any]) -> None:
    """A root of its own: system libraries and the interpreter to read, one small folder to write, nothing else."""
    root = job["folder"]
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, f"size={job['program_bytes'] + MB},nr_inodes=512,mode=755")
    with open(f"{root}/program.py", "wb") as file:
        file.write(job["program"].encode("utf-8", "surrogatepass"))
    os.mkdir(f"{root}/tmp")
    mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, f"size={job['disk_mb']}m,nr_inodes=10000,mode=1777")
    for source in job["shown"]:  # after /tmp: an environment may stand there
        show(source, root + source)
    for device in ("null", "zero", "full", "random", "urandom"):
        show(f"/dev/{device}", f"{root}/dev/{device}", device=True)
    os.mkdir(f"{root}/proc")
    os.symlink("/tmp", f"{root}/dev/shm")
    os.chdir(root)
    syscall("pivot_root", b".", b".")
    checked(libc().umount2(b".", 2), "umount2")
    lock("/", recursive=False)


def show(source: str, target: str, device: bool = False) -> None:
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
    if not device:
        lock(target, recursive=True)


def seccomp() -> bytes:
    """The filter: what is forbidden fails with EPERM, and so does every call of a foreign architecture."""
    place, architecture = ARCHITECTURES[platform.machine()]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    allow, eperm, other_abi = 0x7FFF0000, 0x00050001, 0x40000000
    numbers = sorted({both[place] for both in FORBIDDEN.values()})
    end = len(numbers) + 5  # where EPERM stands: jumps say how many rules to leave out
    rules = [(load, 0, 0, 4), (equal, 0, end - 2, architecture), (load, 0, 0, 0), (at_least, end - 4, 0, other_abi)]
    rules += [(equal, end - 5 - i, 0, number) for i, number in enumerate(numbers)]
    rules += [(give, 0, 0, allow), (give, 0, 0, eperm)]
    return b"".join(struct.pack("HBBI", *rule) for rule in rules)


def confine(isolated: bool) -> None:
    """No new privileges, no forbidden calls, and an end with the parent."""
    if sys.platform != "linux":
        return
    prctl = libc().prctl
    checked(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    checked(prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "pdeathsig")
    if isolated:
        rules = seccomp()
        buffer = ctypes.create_string_buffer(rules, len(rules))
        program = struct.pack("HxxxxxxQ", len(rules) // 8, ctypes.addressof(buffer))
        checked(prctl(PR_SET_SECCOMP, 2, program, 0, 0), "seccomp")


def limit(job: dict[str, Any]) -> None:
    """Limits of each process."""
    disk = job["disk_mb"] * MB
    limits = {
        "CPU": (max(1, round(job["seconds"])), max(1, round(job["seconds"])) + 1),
        "AS": (job["memory_mb"] * MB,) * 2,
        "FSIZE": (disk, disk),
        "NOFILE": (64, 64),
        "CORE": (0, 0),
    }
    if job["isolation"] == "namespaces":  # else the user's own processes would count
        limits["NPROC"] = (job["processes"],) * 2
    for name, (soft, hard) in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        most = resource.getrlimit(kind)[1]
        allowed = [value if most == resource.RLIM_INFINITY else min(value, most) for value in (soft, hard)]
        resource.setrlimit(kind, (allowed[0], allowed[1]))


def become_program(job: dict[str, Any], fds: list[int]) -> None:
    """The program's process: takes its limits and its name, and leaves this file for the interpreter."""
    isolated = job["isolation"] == "namespaces"
    os.setsid()
    if isolated and os.getuid() == 0:
        os.setgroups([])
        os.setresgid(INSIDE, INSIDE, INSIDE)
        os.setresuid(INSIDE, INSIDE, INSIDE)
    os.chdir("/tmp" if isolated else job["folder"])
    stub = STUB.replace("program.py", "/program.py" if isolated else f"{job['folder']}/program.py")
    high = [os.dup(fd) for fd in fds]
    high = [fd if fd > 10 else os.dup2(fd, 20 + i) for i, fd in enumerate(high)]
    for number, fd in enumerate(high):
        os.dup2(fd, number, inheritable=True)
    os.closerange(len(fds), 1024)
    home = "/tmp" if isolated else job["folder"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    environment |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    limit(job)
    confine(isolated)
    flags = ["-s", "-P", "-B", *([] if job["packages"] else ["-S"])]
    os.execve(job["python"], [job["python"], *flags, "-c", stub], environment)


def keeper(job: dict[str, Any], fds: list[int], told: int, go: int) -> int:
    """Enters namespaces, starts the program, and waits for it: writes its number, then how it ended, to `told`."""
    if job["isolation"] == "namespaces":
        checked(libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "pdeathsig")
        checked(libc().unshare(sum(CLONE.values())), "unshare")
        os.write(told, struct.pack("q", 0))
        os.read(go, 1)  # the maps of users are written from outside
        build_root(job)
    program = os.fork()
    if program == 0:
        try:
            become_program(job, fds)
        except BaseException as error:
            os.write(2, f"jail: {error}".encode())
        os._exit(125)
    os.write(told, struct.pack("q", program))
    for fd in fds:
        os.close(fd)
    _, status = os.waitpid(program, 0)
    os.write(told, struct.pack("q", status))
    return 0
