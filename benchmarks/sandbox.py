"""What it costs to run a program in the sandbox: wall time of a program that does nothing, beside a bare interpreter.

python -m benchmarks.sandbox
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from ponder.verifiers.execution import Sandbox

TIMES = 200


def milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    """Mean and 95th percentile of one call."""
    found = []
    for _ in range(TIMES):
        start = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - start))
    return statistics.mean(found), statistics.quantiles(found, n=20)[-1]


def main() -> None:
    isolated, unsafe = Sandbox(), Sandbox("none")
    print("| | mean, ms | 95 %, ms |\n|---|---|---|")
    for name, work in [
        ("`python -c pass`", lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)),
        ("`sandbox=unsafe`", lambda: unsafe.passes("pass")),
        ("`sandbox=isolated`", lambda: isolated.passes("pass")),
    ]:
        mean, most = milliseconds(work)
        print(f"| {name} | {mean:.0f} | {most:.0f} |", flush=True)


if __name__ == "__main__":
    main()
