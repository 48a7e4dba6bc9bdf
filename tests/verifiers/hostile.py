"""Programs that mean harm. Each prints ESCAPED where it gets what it must not have; none may pass.

`{canary}` stands for a file outside that holds a secret, `{folder}` for its folder, `{port}` for a server that listens
on the host's loopback, `{name}` for an abstract socket there, `{parent}` for the process that tests.
Those that ask the kernel by its calls stand in `hostile_calls.py`.
"""

from __future__ import annotations

HOSTILE = {
    "fork bomb": """
import os
while True:
    try: os.fork()
    except OSError: pass
""",
    "thread bomb": """
import threading, time
while True:
    try: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    except RuntimeError: time.sleep(0.01)
""",
    "memory bomb": "held = []\nwhile True: held.append(bytearray(50_000_000))",
    "memory bomb of many processes": """
import os, time
for _ in range(6):
    try: os.fork()
    except OSError: break
held = bytearray(90_000_000)
for i in range(0, len(held), 4096): held[i] = 1
time.sleep(60)
""",
    "memory in anonymous files": """
import os
try: fd = os.memfd_create("m")
except OSError: raise SystemExit("refused")
print("ESCAPED")
""",
    "shared memory": """
import mmap, os, time
m = mmap.mmap(-1, 200_000_000)
for i in range(0, len(m), 4096): m[i] = 1
for _ in range(4): os.fork()
held = bytearray(60_000_000)
for i in range(0, len(held), 4096): held[i] = 1
time.sleep(60)
""",
    "disk fill": """
n = 0
while True:
    with open(f"/tmp/fill{n}", "wb") as f:
        for _ in range(1000): f.write(b"x" * 1_000_000)
    n += 1
""",
    "disk fill, in small files": """
n = 0
while True:
    with open(f"/tmp/fill{n}", "wb") as f: f.write(b"x" * 1_000_000)
    n += 1
""",
    "a million small files": """
for i in range(10**6):
    open(f"/tmp/{i}", "w").close()
print("ESCAPED")
""",
    "endless loop that ignores signals": """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass
""",
    "endless sleep": "import time\nwhile True: time.sleep(1000)",
    "stopped by itself": "import os, signal, time\nos.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(1000)",
    "network": """
import socket
for host in ("1.1.1.1", "169.254.169.254", "127.0.0.1"):
    try:
        socket.create_connection((host, {port}), timeout=1)
        print("ESCAPED")
    except OSError as e: print(e)
raise SystemExit(1)
""",
    "names": "import socket\nprint('ESCAPED', socket.gethostbyname('localhost.localdomain.invalid'))",
    "the secrets of the home folder": """
import glob, os
found = [p for p in ("/root/.ssh", "/root/.bashrc", "/home", "/etc/shadow", "/etc/passwd") if os.path.exists(p)]
print("ESCAPED" if found else "", found, glob.glob(os.path.expanduser("~/*")))
raise SystemExit(1)
""",
    "a secret by its path": "print('ESCAPED', open('{canary}').read())",
    "a secret through a link": """
import os
os.symlink("{canary}", "/tmp/link")
print("ESCAPED", open("/tmp/link").read())
""",
    "a hard link to the outside": "import os\nos.link('{canary}', '/tmp/link')\nprint('ESCAPED')",
    "the way up": "print('ESCAPED', open('../../../../../..{canary}').read())",
    "through proc": """
import os
for pid in (1, os.getpid(), os.getppid(), "self"):
    for name in ("root{canary}", "environ", "mem", "cwd", "fd/0"):
        if os.path.exists(f"/proc/{{pid}}/{{name}}"): print("ESCAPED", pid, name)
raise SystemExit(1)
""",
    "out of the root": """
import os
try:
    os.chroot("/tmp")
    print("ESCAPED")
except OSError as e: print(e)
raise SystemExit(1)
""",
    "writing outside": "open('{folder}/written', 'w').write('ESCAPED')\nprint('ESCAPED')",
    "writing into the interpreter": """
import os, sys
for folder in {{os.path.dirname(os.__file__), sys.prefix, sys.base_prefix, "/usr/lib", "/", "/dev"}}:
    try:
        open(os.path.join(folder, "ponder_was_here"), "w").close()
        print("ESCAPED", folder)
    except OSError as e: print(e)
raise SystemExit(1)
""",
    "killing the parent": """
import os, signal
for pid in (os.getppid(), {parent}, -1):
    try: os.kill(pid, signal.SIGKILL)
    except OSError as e: print(e)
raise SystemExit(1)
""",
    "tracing": """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for pid in (os.getppid(), {parent}):
    if libc.ptrace(16, pid, 0, 0) == 0: print("ESCAPED")
if libc.ptrace(0, 0, 0, 0) == 0: print("ESCAPED by traceme")
raise SystemExit(1)
""",
    "namespaces of its own": """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x10000000) == 0: print("ESCAPED")
if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0: print("ESCAPED")
raise SystemExit(1)
""",
    "becoming root": """
import os
for change in (os.setuid, os.setgid):
    try:
        change(0)
        print("ESCAPED")
    except OSError as e: print(e)
raise SystemExit(1)
""",
    "a program with the set-user-id bit": """
import os, shutil
shutil.copy("/bin/sh", "/tmp/sh"); os.chmod("/tmp/sh", 0o6755)
os.execv("/tmp/sh", ["sh", "-p", "-c", "cat {canary} && echo ESCAPED; exit 1"])
""",
    "a device of its own": """
import os, stat
try:
    os.mknod("/tmp/disk", 0o600 | stat.S_IFBLK, os.makedev(8, 0))
    print("ESCAPED")
except OSError as e: print(e)
raise SystemExit(1)
""",
    "the terminal": """
import fcntl, os, termios
try:
    fd = os.open("/dev/tty", os.O_RDWR)
    fcntl.ioctl(fd, termios.TIOCSTI, b"x")
    print("ESCAPED")
except OSError as e: print(e)
raise SystemExit(1)
""",
    "huge output": "while True: print('x' * 10000)",
    "huge output on the other stream": "import sys\nwhile True: sys.stderr.write('x' * 10000)",
    "zombie children": """
import os, time
for _ in range(20):
    if os.fork() == 0: os._exit(0)
time.sleep(1000)
""",
    "children that outlive it": """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(0)
raise SystemExit(1)
""",
    "children that hold its output": """
import os, time
if os.fork() == 0: time.sleep(1000)
os._exit(1)
""",
    "leaving early with code 0": "import os\nos._exit(0)",
    "leaving early, politely": "import sys\nsys.exit(0)",
    "killing itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\nos.abort()",
    "deep recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
    "a number too large": "x = 9**9**9**9",
    "the shell": "import os\nassert os.system('cat {canary} && echo ESCAPED') == 0",
    "the parent's environment": "import os\nassert 'PONDER_SECRET' in os.environ\nprint('ESCAPED')",
}
