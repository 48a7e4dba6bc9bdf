"""Accuracy-against-compute curves from stored rows: tables, comparisons, laws, and figures. Needs no model."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from ponder.errors import UserError
from ponder.scripts import fits, paper
from ponder.scripts.command import arguments, command, console
from ponder.scripts.comparing import compare, compare_at_cost
from ponder.scripts.metrics import Values, mean_interval
from ponder.scripts.notes import counts
from ponder.scripts.notes import table as counts_table
from ponder.scripts.plots import AXES, interactive, plot
from ponder.scripts.points import Point, anytime, draws, mean, points
from ponder.scripts.reach import reach
from ponder.scripts.reach import table as needs_table
from ponder.scripts.results import COVERAGE, MAJORITY, Row, count, load, warn

YES = ("no", "yes")
GROUPS = ("search", "verifier", "model", "task", "run", "level")
CHOICES = {
    "y": ("accuracy", "error"),
    "sort": ("method", "accuracy"),
    "format": ("table", "json"),
    "anytime": YES,
    "fits": YES,
    "paper": YES,
}
DEFAULTS = {"x": "new_tokens", "y": "accuracy", "group": "search", "sort": "method", "format": "table", "out": ""}
DEFAULTS |= {"at": "", "reach": "", "against": "", "anytime": "no", "fits": "no", "paper": "no"}
USAGE = f"""usage: ponder-curves DIR... [key=value ...] [--paper]

Reads every rows.jsonl under the DIRs and prints accuracy against compute; writes curves.png, curves.svg, curves.html.

  x=       horizontal axes, one panel each: {", ".join(AXES)}
           (default new_tokens)
  y=       vertical axis: accuracy, error (default accuracy)
  group=   keep apart, besides search, selector, N and ceilings: search (nothing more, default), verifier, model, task,
           run, level (the questions' difficulty), or any key of the configuration, as in group=search.threshold
  at=      smaller N to compute from independent samples, as in at=1,4,16 (default: powers of 4)
  against= the method that the others are held against, as in 'against=best_of_n · argmax' (default: majority voting)
  reach=   an accuracy: also prints what each method costs to get there, as in reach=0.8
  anytime= yes: also each step-wise search stopped at any budget of the first x, from its reports
  fits=    yes: also what each curve tends to, and how much repeated runs differ
  sort=    of the table: method, or accuracy, which ranks the methods at each N (default method)
  format=  table, json (default table)
  out=     folder for the figures (default: the first DIR)
  --paper  the table and figure of the particle-filtering paper, its numbers beside these; writes paper.png, paper.svg
"""
POOLS = {"pass_at": COVERAGE, "majority_at": MAJORITY, "best_at": "argmax", "weighted_at": "weighted_vote"}
"""What `format=json` tells of a pool of independent samples, by k; the last two where a verifier scored it."""


def table(points: Sequence[Point]) -> Table:
    """The points as a table of means per question."""
    shown = Table(title="accuracy with 95 % interval; costs are means per question")
    shown.add_column("method", no_wrap=True)
    limited = any(p.ceilings for p in points)
    heads = ("N", *["ceilings"] * limited, "questions", "seeds", "accuracy")
    for name in (*heads, "new tok.", "all tok.", "verif. tok.", "calls", "FLOPs", "s", "failed"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("source", no_wrap=True)
    for p in points:
        tokens = (f"{p.new_tokens:,.0f}", f"{p.all_tokens:,.0f}", f"{p.verifier_tokens:,.0f}")
        costs = (*tokens, f"{p.verifier_calls:,.1f}", f"{p.flops:.2e}")
        accuracy = f"{p.accuracy:.3f} [{p.low:.3f}, {p.high:.3f}]"
        seconds = "-" if p.seconds is None else f"{p.seconds:.2f}"
        size = (p.n, *[p.ceilings] * limited, p.questions, p.seeds)
        shown.add_row(p.method, *map(str, size), accuracy, *costs, seconds, str(p.failed), p.source)
    return shown


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
    argv = ["paper=yes" if argument == "--paper" else argument for argument in argv]
    dirs, options = arguments("ponder-curves", argv, DEFAULTS, CHOICES)
    if unknown := [x for x in options["x"].split(",") if x not in AXES]:
        raise UserError(f"x={options['x']}: unknown axis {unknown[0]!r}", f"allowed for x: {', '.join(AXES)}")
    if options["group"] not in GROUPS and "." not in options["group"]:
        raise UserError(
            f"group={options['group']}: no group",
            f"allowed for group: {', '.join(GROUPS)}, or a key of the configuration such as search.threshold",
        )
    if not all(k.isdecimal() and int(k) for k in options["at"].split(",") if options["at"]):
        raise UserError(f"at={options['at']}: not a list of N", "allowed for at: whole numbers from 1, as in at=1,4,16")
    if options["reach"] and not _share(options["reach"]):
        raise UserError(
            f"reach={options['reach']}: no accuracy", "allowed for reach: a number in (0, 1], as in reach=0.8"
        )
    if options["anytime"] == "yes" and options["x"].partition(",")[0] == "n":
        raise UserError(
            "anytime=yes x=n: N is no budget", f"name a cost first: {', '.join(x for x in AXES if x != 'n')}"
        )
    return dirs, options


def _share(text: str) -> bool:
    try:
        return 0 < float(text) <= 1
    except ValueError:
        return False


def ladder(n: int, at: Sequence[int]) -> list[int]:
    """The k that a pool of n is told at: powers of 2, 1-2-5 of each decade, n, and those asked for."""
    steps = {2**i for i in range(20)} | {digit * 10**i for i in range(6) for digit in (1, 2, 5)} | {n, *at}
    return sorted(k for k in steps if 1 <= k <= n)


def told(rows: Sequence[Row], at: Sequence[int]) -> list[dict[str, Any]]:
    """Each pool of independent samples as JSON can hold it: coverage and votes by k, and the law of its coverage."""
    laws = {law.pool: law for law in fits.coverage_laws(rows)}
    found: list[dict[str, Any]] = []
    for name, n, members in fits.pools(rows):
        pool: dict[str, Any] = {"pool": name, "n": n, "questions": len({row.problem for row in members})}
        scored = any(row.scored for row in members)
        for key, select in POOLS.items():
            if select in (COVERAGE, MAJORITY) or scored:
                values = {str(k): _values(members, k, select) for k in ladder(n, at)}
                pool[key] = {k: mean(of) for k, of in values.items()}
                if select == COVERAGE:
                    pool["pass_at_interval"] = {k: mean_interval(of)[1] for k, of in values.items()}
        pool["coverage_law"] = fits.plain([laws[name]])[0] if name in laws else None
        found.append(pool)
    return found


def _values(rows: Sequence[Row], k: int, select: str) -> Values:
    values: dict[Any, list[float]] = {}
    for row in rows:
        values.setdefault(row.problem, []).append(row.at(k, select, draws(len(rows))).value)
    return values


def main(argv: list[str] | None = None) -> None:
    """The console command `ponder-curves`.

    Args:
        argv: arguments, the command's own if None.
    """
    command("ponder-curves", USAGE, _curves, argv)


def _curves(argv: Sequence[str]) -> None:
    dirs, options = parse(argv)
    rows, printer = load(dirs, options["group"]), console()
    at = [int(k) for k in options["at"].split(",") if k]
    found = points(rows, at)
    xs = [x for x in options["x"].split(",") if any(getattr(p, x) for p in found)] or ["n"]
    if left := [x for x in options["x"].split(",") if x not in xs]:
        warn(f"no run has {', '.join(left)}: drawn against {', '.join(xs)}")
    if options["against"] and not any(p.method.rpartition(": ")[2] == options["against"] for p in found):
        named = ", ".join(dict.fromkeys(p.method.rpartition(": ")[2] for p in found))
        raise UserError(f"against={options['against']}: no such method here", f"allowed for against: {named}")
    if options["sort"] == "accuracy":
        found.sort(key=lambda point: (point.n, -point.accuracy, point.method))
    first = Path(dirs[0])
    out = Path(options["out"]) if options["out"] else first if first.is_dir() else first.parent
    on_the_way = options["anytime"] == "yes" and xs[0] != "n"
    shown = [*found, *(anytime(rows, xs[0]) if on_the_way else [])]
    files = plot(shown, xs, options["y"], heading(rows), out)
    files.append(interactive(shown, xs[0], options["y"], heading(rows), out))
    labels = [*dict.fromkeys(row.label for row in rows)] if options["group"] == "verifier" else []
    compared = compare(found, labels, options["against"])
    equal = [one for x in xs if x != "n" for one in compare_at_cost(found, x, options["against"])]
    needs = reach(found, float(options["reach"])) if options["reach"] else {}
    more = options["fits"] == "yes"
    counted = counts(rows)
    saturated, spread = (fits.saturations(found), fits.spreads(found, rows)) if more else ([], [])
    if options["paper"] == "yes":
        under = points(paper.relabelled(rows), at or [2**i for i in range(16)])
        files += paper.plot(under, out)
    wrote = f"wrote {', '.join(map(str, files))}"
    if options["format"] == "json":
        plain: dict[str, Any] = {"pools": told(rows, at), "points": [point.asdict() for point in shown]}
        plain |= {"comparisons": [one.asdict() for one in (*compared, *equal)]}
        plain |= {"notes": [one.asdict() for one in counted]} if counted else {}
        plain |= {"saturation": fits.plain(saturated), "spread": fits.plain(spread)} if more else {}
        plain |= {"reach": {m: {k: n.asdict() for k, n in of.items()} for m, of in needs.items()}} if needs else {}
        print(json.dumps(plain, indent=2, ensure_ascii=False))
        print(wrote, file=sys.stderr)
        return
    printer.print(table(shown))
    if needs:
        printer.print(needs_table(needs, float(options["reach"])))
    for more_told in (*fits.tables(saturated, spread), *counts_table(counted)):
        printer.print(more_told)
    if options["paper"] == "yes":
        printer.print(paper.table(under))
    print("\n".join(map(str, (*compared, *equal, *fits.coverage_laws(rows), wrote))))


if __name__ == "__main__":
    main()
