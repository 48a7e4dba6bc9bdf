"""The filter of system calls that a jailed program and all that it starts are held by, as a BPF program.

Namespaces hide what has a name in them. This refuses the rest: sockets of families that no network namespace holds
(AF_VSOCK reaches a virtual machine's host), namespaces of the program's own, memory that no limit counts, and parts of
the kernel that a program has no use for. Standard library only: `jail.py` loads it as a script's neighbour.
"""

from __future__ import annotations

import struct

FORBIDDEN = {  # number on x86-64, on aarch64; these fail with EPERM
    "memfd_create": (319, 279),  # memory that no limit counts
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "io_setup": (206, 0),  # taken from a pool that all of the machine shares
    "ptrace": (101, 117),  # other processes
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "move_pages": (279, 239),
    "add_key": (248, 217),  # the kernel's keys, log, and lesser-trodden paths
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "syslog": (103, 116),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "fanotify_init": (300, 262),
    "unshare": (272, 97),  # namespaces and mounts
    "setns": (308, 268),
    "mount": (165, 40),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
}
SOCKETS = {"socket": (41, 198), "socketpair": (53, 199)}
FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6: held by the network namespace, or by the file system."""
SETSOCKOPT, SOL_SOCKET, BUFFERS = (54, 208), 1, (7, 8)
"""SO_SNDBUF and SO_RCVBUF: what waits in sockets is the kernel's memory, and their own size keeps it small."""
CLONE, CLONE3 = (56, 220), (435, 435)
NEW_NAMESPACES = 0x7E020000
"""The flags of `clone` that ask for any. Those of `clone3` lie in memory that no filter reads: it does not exist."""
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

LOAD, EQUAL, AT_LEAST, ANY_BIT, GIVE = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, ARGUMENT, SECOND, THIRD = 0, 4, 16, 24, 32  # where they stand; of arguments the lower half
ALLOW, ERROR = 0x7FFF0000, 0x00050000
EPERM, ENOSYS, EAFNOSUPPORT = 1, 38, 97
Rule = tuple[str, int, int, str, str]
"""Label, operation, value, the label to go to if it holds and if it does not; an empty one is the next rule."""


def rules(machine: str) -> bytes:
    """The program for a machine's architecture; calls of any other architecture fail with EPERM.

    Raises:
        KeyError: neither x86_64 nor aarch64.
    """
    place, architecture = ARCHITECTURES[machine]
    listed: list[Rule] = [
        ("", LOAD, ARCHITECTURE, "", ""),
        ("", EQUAL, architecture, "", "refuse"),
        ("", LOAD, NUMBER, "", ""),
        ("", AT_LEAST, 0x40000000, "refuse", ""),  # the x32 calls of x86-64
        ("", EQUAL, CLONE3[place], "missing", ""),
        ("", EQUAL, CLONE[place], "clone", ""),
        ("", EQUAL, SETSOCKOPT[place], "option", ""),
        *(("", EQUAL, both[place], "socket", "") for both in SOCKETS.values()),
        *(("", EQUAL, both[place], "refuse", "") for both in FORBIDDEN.values()),
        ("", GIVE, ALLOW, "", ""),
        ("clone", LOAD, ARGUMENT, "", ""),
        ("", ANY_BIT, NEW_NAMESPACES, "refuse", "allowed"),
        ("option", LOAD, SECOND, "", ""),
        ("", EQUAL, SOL_SOCKET, "", "allowed"),
        ("", LOAD, THIRD, "", ""),
        *(("", EQUAL, option, "refuse", "") for option in BUFFERS),
        ("", GIVE, ALLOW, "", ""),
        ("socket", LOAD, ARGUMENT, "", ""),
        *(("", EQUAL, family, "allowed", "") for family in FAMILIES),
        ("", GIVE, ERROR | EAFNOSUPPORT, "", ""),
        ("refuse", GIVE, ERROR | EPERM, "", ""),
        ("missing", GIVE, ERROR | ENOSYS, "", ""),
        ("allowed", GIVE, ALLOW, "", ""),
    ]
    at = {label: i for i, (label, *_) in enumerate(listed) if label}
    return b"".join(
        struct.pack("HBBI", operation, *(at[label] - i - 1 if label else 0 for label in (yes, no)), value)
        for i, (_, operation, value, yes, no) in enumerate(listed)
    )
