"""More programs that mean harm (`hostile.py`): they ask the kernel for what no namespace hides, or forge a pass."""

from __future__ import annotations

import os

LIBC = "import ctypes, os, platform\nlibc = ctypes.CDLL(None, use_errno=True)\n"

HOSTILE_CALLS = {
    "sockets that no network namespace holds": """
import socket
for family in (16, 17, 38, 40):  # netlink, packet, the kernel's ciphers, a virtual machine's host
    for kind in (1, 2, 3, 5):
        try: print("ESCAPED", socket.socket(family, kind))
        except OSError as e: print(e)
raise SystemExit(1)
""",
    "an abstract socket of the host": """
import socket
socket.socket(socket.AF_UNIX).connect("\\0{name}")
print("ESCAPED")
""",
    "namespaces by clone": LIBC
    + """
clone = {{"x86_64": 56, "aarch64": 220}}[platform.machine()]
for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x50000000):
    pid = libc.syscall(clone, flag | 17, 0, 0, 0, 0)
    if pid == 0: os._exit(0)
    print("ESCAPED" if pid > 0 else "", hex(flag))
arguments = (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, 17, 0, 0, 0)
pid = libc.syscall(435, arguments, ctypes.sizeof(arguments))
if pid == 0: os._exit(0)
print("ESCAPED" if pid > 0 else "", "clone3")
raise SystemExit(1)
""",
    "memory of the kernel that no limit counts": LIBC
    + """
for _ in range(1000):
    if libc.semget(0, 32000, 0o1600) >= 0: print("ESCAPED by semget")
    if libc.msgget(0, 0o1600) >= 0: print("ESCAPED by msgget")
    if libc.shmget(0, 100_000_000, 0o1600) >= 0: print("ESCAPED by shmget")
raise SystemExit(1)
""",
    "buffers of sockets": """
import socket
held = []
for option in (socket.SO_SNDBUF, socket.SO_RCVBUF, 32, 33):  # the last two are forced
    held += socket.socketpair()
    try:
        held[-1].setsockopt(socket.SOL_SOCKET, option, 1 << 30)
        print("ESCAPED", option)
    except OSError as e: print(e)
raise SystemExit(1)
""",
    "timers without end": LIBC
    + """
timer, n = ctypes.c_void_p(), 0
while n < 10_000 and libc.timer_create(1, None, ctypes.byref(timer)) == 0: n += 1
print("ESCAPED" if n == 10_000 else "", n)
raise SystemExit(1)
""",
    "the host's name": f"import os\nprint('ESCAPED' if os.uname().nodename == {os.uname().nodename!r} else '')\nx",
    "the kernel's log": LIBC
    + """
text = ctypes.create_string_buffer(4096)
if libc.klogctl(3, text, 4096) >= 0: print("ESCAPED", text.value)
raise SystemExit(1)
""",
    "the kernel's settings": """
for name in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/mm/ksm/run", "/sys/fs/cgroup/x"):
    try:
        open(name, "w")
        print("ESCAPED", name)
    except OSError as e: print(e)
raise SystemExit(1)
""",
    "calls of another architecture": """
import ctypes, mmap, platform
if platform.machine() == "x86_64":
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")  # mov eax, 20 (getpid); int 0x80; ret
    run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    if run() > 0: print("ESCAPED")
raise SystemExit(1)
""",
    "undoing its ties": LIBC
    + """
import time
if os.fork() == 0:
    libc.prctl(1, 0, 0, 0, 0)
    os.setsid()
    time.sleep(1000)
raise SystemExit(1)
""",
    "raising its limits": """
import os, resource
for name in ("CPU", "AS", "FSIZE", "NPROC", "NOFILE"):
    kind = getattr(resource, f"RLIMIT_{{name}}")
    for pid in (0, 1):
        try:
            resource.prlimit(pid, kind, (2**40, 2**40))
            print("ESCAPED", name, pid)
        except (OSError, ValueError) as e: print(e)
raise SystemExit(1)
""",
    "killing process 1": """
import os, time
for number in range(1, 65):
    try: os.kill(1, number)
    except OSError as e: pass
time.sleep(0.2)
raise SystemExit(1)
""",
    "writing to its input": """
import os
for harm in (lambda: os.write(0, b"x"), lambda: os.truncate(0, 10**6), lambda: os.pwrite(0, b"x", 0)):
    try:
        harm()
        print("ESCAPED")
    except OSError as e: print(e)
raise SystemExit(1)
""",
    "the rights of devices": """
import os
for harm in (lambda: os.chmod("/dev/null", 0), lambda: os.utime("/dev/null"), lambda: os.unlink("/dev/null")):
    try:
        harm()
        print("ESCAPED")
    except OSError as e: print(e)
raise SystemExit(1)
""",
    "a file with holes": "with open('/tmp/x', 'wb') as f: f.truncate(10**11)\nprint('ESCAPED')",
    "a zip bomb": "import zlib\nz = zlib.compress(bytes(10**7))\nheld = [zlib.decompress(z) for _ in range(10**4)]",
    "arguments without end": """
import os
os.execv("/bin/sh", ["sh", "-c", "exit 0", *["x" * 100_000] * 100])
""",
    "a forged mark": "import os\nos.write(4, b'0' * 32)\nos._exit(0)",
    "a forged exit": "import atexit, os\natexit.register(os._exit, 0)\nassert False",
    "a child that goes on": "import os\nif os.fork(): os._exit(0)\nassert False",
    "files closed under it": "import os\nos.closerange(0, 64)",
    "an assertion that is no error": "import builtins, sys\nsys.excepthook = lambda *_: sys.exit(0)\nassert False",
}
