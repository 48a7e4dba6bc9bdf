"""Accuracy-against-compute curves from stored rows: a table, comparisons, and a figure. Needs no model."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter
from rich.table import Table

from ponder.errors import UserError
from ponder.scripts.command import arguments, command, console
from ponder.scripts.metrics import paired
from ponder.scripts.points import COVERAGE, MAJORITY, Point, Row, count, load, points, warn
from ponder.scripts.reach import reach
from ponder.scripts.reach import table as needs_table

AXES = {
    "new_tokens": "new tokens per question (policy)",
    "n": "N, samples or particles per question",
    "verifier_tokens": "verifier tokens per question",
    "verifier_calls": "verifier calls per question",
    "flops": "FLOPs per question (estimate)",
    "seconds": "seconds per question",
}
CHOICES = {
    "x": tuple(AXES),
    "y": ("accuracy", "error"),
    "group": ("search", "verifier", "model", "task", "run"),
    "sort": ("method", "accuracy"),
    "format": ("table", "json"),
}
DEFAULTS = {"x": "new_tokens", "y": "accuracy", "group": "search", "sort": "method", "format": "table"}
DEFAULTS |= {"at": "", "reach": "", "out": ""}
USAGE = f"""usage: ponder-curves DIR... [key=value ...]

Reads every rows.jsonl under the DIRs and prints accuracy against compute; writes curves.png and curves.svg.

  x=       horizontal axis: {", ".join(AXES)} (default new_tokens)
  y=       vertical axis: accuracy, error (default accuracy)
  group=   keep apart, besides search, selector and N: search (nothing more, default), verifier, model, task, run
  sort=    of the table: method, or accuracy, which ranks the methods at each N (default method)
  format=  table, json (default table)
  reach=   an accuracy: also prints what each method costs to get there, as in reach=0.8
  at=      smaller N to compute from independent samples, as in at=1,4,16 (default: powers of 4)
  out=     folder for the figure (default: the first DIR)
"""
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")  # Okabe and Ito
MARKERS = "osD^vPX*"


def compare(points: Sequence[Point], labels: Sequence[str] = ()) -> list[str]:
    """Pairs of methods at their largest common N, paired by problem: one line each.

    Args:
        points: all points.
        labels: what is compared across; the first that has a method is what the others are held against.

    Returns:
        Each method against majority voting, and each method against the same under the first label.
    """
    found: dict[str, dict[int, Point]] = {}
    for point in points:
        found.setdefault(point.method, {})[point.n] = point
    drawn = [method for method in sorted(found) if not method.endswith(COVERAGE)]
    pairs = [
        (method, base)
        for base in drawn
        for method in drawn
        if base.endswith("· majority") and method != base and method.rpartition(": ")[0] == base.rpartition(": ")[0]
    ]
    # Votes without weights are the same under every verifier.
    weighed = [method for method in drawn if not method.endswith(MAJORITY)] if labels else []
    for method in dict.fromkeys(method.partition(": ")[2] for method in weighed):
        under = [name for label in labels if (name := f"{label}: {method}") in found]
        pairs += [(name, under[0]) for name in under[1:]]
    return [line for method, base in pairs for line in _paired(method, found[method], base, found.get(base, {}))]


def _paired(method: str, of: Mapping[int, Point], base: str, to: Mapping[int, Point]) -> list[str]:
    """The line of one comparison; none where the two have no N or no problem in common."""
    if not of.keys() & to.keys():
        return []
    n = max(of.keys() & to.keys())
    if not of[n].values.keys() & to[n].values.keys():
        return []
    d = paired(of[n].values, to[n].values)
    span = f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
    return [f"N={n}: {method} - {base} = {span}, p={d.p:.3g} ({d.test}, {d.questions} questions)"]


def table(points: Sequence[Point]) -> Table:
    """The points as a table of means per question."""
    shown = Table(title="accuracy with 95 % interval; costs are means per question")
    shown.add_column("method", no_wrap=True)
    for name in ("N", "questions", "seeds", "accuracy", "new tok.", "verif. tok.", "calls", "FLOPs", "s", "failed"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("source", no_wrap=True)
    for p in points:
        costs = (f"{p.new_tokens:,.0f}", f"{p.verifier_tokens:,.0f}", f"{p.verifier_calls:,.1f}", f"{p.flops:.2e}")
        accuracy, seconds = (
            f"{p.accuracy:.3f} [{p.low:.3f}, {p.high:.3f}]",
            "-" if p.seconds is None else f"{p.seconds:.2f}",
        )
        row = (p.method, p.n, p.questions, p.seeds, accuracy, *costs, seconds, p.failed, p.source)
        shown.add_row(*map(str, row))
    return shown


def plot(points: Sequence[Point], x: str, y: str, title: str, out: Path) -> list[Path]:
    """Accuracy (or error) against x on a log axis, with interval bands, as curves.png and curves.svg.

    Args:
        points: what to draw; points whose x is unknown or 0 have no place on a log axis and are left out.
        x: one of AXES.
        y: "accuracy" or "error".
        title: the figure's title.
        out: folder, made if missing.
    """
    figure = Figure(figsize=(9.5, 5.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    drawn = [p for p in points if getattr(p, x)]
    for method in sorted({p.method for p in points} - {p.method for p in drawn}):
        warn(f"{method} has no {x} and is not drawn")
    for i, method in enumerate(sorted({p.method for p in drawn})):
        line = sorted((p for p in drawn if p.method == method), key=lambda p: float(getattr(p, x)))
        where = [float(getattr(p, x)) for p in line]
        middle, low, high = ([getattr(p, f) for p in line] for f in ("accuracy", "low", "high"))
        if y == "error":
            middle, low, high = ([1.0 - v for v in ends] for ends in (middle, high, low))
        color, marker = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
        style = ":" if method.endswith(COVERAGE) else ("-", "--", "-.")[i // len(PALETTE) % 3]
        if len(line) == 1:
            bars = [[max(0.0, middle[0] - low[0])], [max(0.0, high[0] - middle[0])]]  # rounding may leave -1e-18
            axes.errorbar(
                where, middle, yerr=bars, color=color, marker=marker, capsize=4, linestyle="none", label=method
            )
        else:
            axes.plot(where, middle, color=color, marker=marker, markersize=5, linestyle=style, label=method)
            axes.fill_between(where, low, high, color=color, alpha=0.12, linewidth=0)
    axes.set_xscale("log", base=2 if x == "n" else 10)
    if x == "n":
        axes.set_xticks(sorted({p.n for p in drawn}))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=AXES[x], ylabel=f"{y} (95 % interval)", title=title)
    axes.grid(True, which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if drawn:
        figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "ponder"}):
            figure.savefig(out / "curves.png", metadata={"Software": None})
            figure.savefig(out / "curves.svg", metadata={"Date": None})
    except OSError as error:
        raise UserError(
            f"out={out}: cannot write the figure ({error})", "give a folder that can be written to"
        ) from error
    return [out / "curves.png", out / "curves.svg"]


def heading(rows: Sequence[Row]) -> str:
    """Task, number of questions and seeds, for a title."""
    tasks, seeds = sorted({row.problem[0] for row in rows}), {row.seed for row in rows}
    questions = len({row.problem for row in rows})
    return f"{', '.join(tasks)} · {count(questions, 'question')} · {count(len(seeds), 'seed')}"


def parse(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Folders and options; see `ponder.scripts.command.arguments`.

    Raises:
        UserError: an unknown key, a value that is not allowed, or no folder.
    """
    dirs, options = arguments("ponder-curves", argv, DEFAULTS, CHOICES)
    if not all(k.isdecimal() and int(k) for k in options["at"].split(",") if options["at"]):
        raise UserError(f"at={options['at']}: not a list of N", "allowed for at: whole numbers from 1, as in at=1,4,16")
    if options["reach"] and not _share(options["reach"]):
        raise UserError(
            f"reach={options['reach']}: no accuracy", "allowed for reach: a number in (0, 1], as in reach=0.8"
        )
    return dirs, options


def _share(text: str) -> bool:
    try:
        return 0 < float(text) <= 1
    except ValueError:
        return False


def main(argv: list[str] | None = None) -> None:
    """The console command `ponder-curves`.

    Args:
        argv: arguments, the command's own if None.
    """
    command("ponder-curves", USAGE, _curves, argv)


def _curves(argv: Sequence[str]) -> None:
    dirs, options = parse(argv)
    rows = load(dirs, options["group"])
    found = points(rows, [int(k) for k in options["at"].split(",") if k])
    if options["sort"] == "accuracy":
        found.sort(key=lambda point: (point.n, -point.accuracy, point.method))
    first = Path(dirs[0])
    out = Path(options["out"]) if options["out"] else first if first.is_dir() else first.parent
    files = plot(found, options["x"], options["y"], heading(rows), out)
    labels = [*dict.fromkeys(row.label for row in rows)] if options["group"] == "verifier" else []
    lines = [*compare(found, labels), f"wrote {' and '.join(map(str, files))}"]
    if options["format"] == "json":
        print(json.dumps([point.asdict() for point in found], indent=2, ensure_ascii=False))
        print("\n".join(lines), file=sys.stderr)
        return
    printer = console()
    printer.print(table(found))
    if options["reach"]:
        printer.print(needs_table(reach(found, float(options["reach"])), float(options["reach"])))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
