"""Accuracy-against-compute curves from stored rows: a table, comparisons, and a figure. Needs no model."""

from __future__ import annotations

import json
import sys
import zlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import sqrt
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter
from rich.console import Console
from rich.table import Table

from ponder.errors import UserError
from ponder.scripts.metrics import Expectation, Pool, best_of_k, mean_interval, paired, pass_at_k, vote_at_k

INDEPENDENT = {"best_of_n": ("argmax", "weighted_vote"), "self_consistency": ()}
"""Searches whose samples are independent, so that any subset is a smaller run; with selectors always shown."""
COVERAGE, MAJORITY = "pass@k", "self_consistency · majority"
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
    "group": ("search", "model", "task", "run"),
    "format": ("table", "json"),
}
KEYS = (*CHOICES, "at", "out")
USAGE = f"""usage: ponder-curves DIR... [key=value ...]

Reads every rows.jsonl under the DIRs and prints accuracy against compute; writes curves.png and curves.svg.

  x=       horizontal axis: {", ".join(AXES)} (default new_tokens)
  y=       vertical axis: accuracy, error (default accuracy)
  group=   keep apart, besides search, selector and N: search (nothing more, default), model, task, run
  format=  table, json (default table)
  at=      smaller N to compute from independent samples, as in at=1,4,16 (default: powers of 4)
  out=     folder for the figure (default: the first DIR)
"""
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")  # Okabe and Ito
MARKERS = "osD^vPX*"


@dataclass(frozen=True)
class Point:
    """One method at one N: how often it is right, and what a question cost on average.

    Attributes:
        method: such as "best_of_n · argmax".
        n: samples or particles.
        source: "run", or the run whose samples it was computed from.
        accuracy: mean over questions (of the mean over seeds); a failed question is wrong.
        low: lower end of the 95 % interval.
        high: upper end.
        questions: distinct questions.
        seeds: distinct seeds.
        new_tokens: tokens that the policy emitted.
        verifier_tokens: tokens that verifiers computed.
        verifier_calls: traces that verifiers scored.
        flops: estimated operations, all roles.
        seconds: wall time; None where it was not measured for this method.
        failed: rows that ended in an error.
        stderr: Monte-Carlo error of `accuracy`, 0 where it is exact.
        pass_at: coverage at each k up to n, for independent samples.
        values: by problem, the value under each seed.
    """

    method: str
    n: int
    source: str
    accuracy: float
    low: float
    high: float
    questions: int
    seeds: int
    new_tokens: float
    verifier_tokens: float
    verifier_calls: float
    flops: float
    seconds: float | None
    failed: int
    stderr: float = 0.0
    pass_at: Mapping[int, float] = field(default_factory=dict)
    values: Mapping[Hashable, Sequence[float]] = field(default_factory=dict, repr=False, compare=False)

    def asdict(self) -> dict[str, Any]:
        """Every field but `values`."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "values"}


@dataclass(frozen=True)
class Row:
    """One stored question with what its run's configuration says of it."""

    label: str
    search: str
    n: int
    seed: int
    problem: tuple[str, str]
    setup: str
    data: Mapping[str, Any]

    @property
    def failed(self) -> bool:
        """Whether the question ended in an error."""
        return self.data.get("error") is not None

    @cached_property
    def pool(self) -> Pool:
        """The final population as samples; repeats beyond the samples begun are padding and dropped."""
        traces, population = self.data["traces"], self.data["population"]
        begun = self.data["cost"].get("policy", {}).get("samples", 0)
        if 0 < begun < len(population):
            population = list({index: (index, weight) for index, weight in population}.values())
        return Pool(
            [traces[index]["answer"] for index, _ in population],
            [bool(traces[index]["correct"]) for index, _ in population],
            [float("nan") if weight is None else weight for _, weight in population],
            [bool(traces[index].get("finished", True)) for index, _ in population],
        )

    def stored(self, select: str) -> Expectation:
        """Whether the answer that a selector gave is right."""
        return Expectation(float(bool(self.data["answers"].get(select, {}).get("correct"))))

    def at(self, k: int, select: str) -> Expectation:
        """Expected accuracy of a selector, or coverage, with k of the samples, or with all where there are fewer."""
        pool, k = self.pool, min(k, len(self.pool))
        if not k:
            return Expectation(0.0)
        if select == COVERAGE:
            return Expectation(pass_at_k(len(pool), sum(sample.right for sample in pool.samples), k))
        if select == "argmax":
            return best_of_k(pool, k)
        if select == MAJORITY:  # self-consistency has no verifier, not even to break a tie
            pool = Pool(pool.answers, pool.correct, [0.0] * len(pool), pool.finished)
        by: Literal["majority", "weighted_vote"] = "weighted_vote" if select == "weighted_vote" else "majority"
        return vote_at_k(pool, k, by, seed=zlib.crc32(self.problem[1].encode()))

    def spent(self, name: str) -> float:
        """A cost over all roles; new tokens of the policy alone."""
        roles = self.data["cost"]
        chosen = [roles.get("policy", {})] if name == "new_tokens" else roles.values()
        return float(sum(role.get(name, 0) for role in chosen))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of one file, the last one of each problem; lines that are no JSON (a torn write) are left out."""
    rows: dict[str, dict[str, Any]] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows[row["problem_id"]] = row
        except (ValueError, KeyError, TypeError):
            if line.strip() and number < len(lines):
                _warn(f"{path}:{number} is no row and is left out")
    return list(rows.values())


def load(dirs: Sequence[str | Path], group: str = "search") -> list[Row]:
    """All rows under some folders.

    Args:
        dirs: folders, searched through, or rows.jsonl files.
        group: what to keep apart besides search, selector and N; one of CHOICES["group"].

    Raises:
        UserError: a folder is missing or holds no rows, or a run.json is missing.
    """
    paths: dict[Path, Path] = {}
    for folder in map(Path, dirs):
        if not folder.exists():
            raise UserError(f"{folder} does not exist", "give the folder of a run, or one above several runs")
        found = [folder] if folder.is_file() else sorted(folder.rglob("rows.jsonl"))
        if not found:
            raise UserError(f"no rows.jsonl under {folder}", "give the folder of a run, or one above several runs")
        paths |= {path.resolve(): path for path in found}
    rows: dict[Hashable, Row] = {}
    for path in paths.values():
        repeated = 0
        for row in _load_run(path, group):
            hashed = row.data.get("config_hash") or row.data.get("run_id")
            key = (row.label, hashed, row.search, row.n, row.seed, row.problem)
            repeated += key in rows
            rows[key] = row
        if repeated:
            _warn(f"{path} repeats {repeated} rows of an equal configuration and seed: they count once")
    if not rows:
        raise UserError(f"no graded row in {', '.join(map(str, paths.values()))}", "has a question finished yet?")
    return list(rows.values())


def _load_run(path: Path, group: str) -> Iterator[Row]:
    about = path.with_name("run.json")
    try:
        run = json.loads(about.read_text(encoding="utf-8"))
        config: Mapping[str, Any] = run["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{about} is missing or unreadable ({error})", "it stands beside rows.jsonl in every run"
        ) from error
    data = read_rows(path)
    if len(data) < (run.get("questions") or 0):
        _warn(f"{path} is incomplete: {len(data)} of {run['questions']} questions")
    ungraded = sum(not row.get("gold_known", True) for row in data)
    if ungraded:
        _warn(f"{path}: {ungraded} rows without a gold answer are left out")
    task, search = _name(config, "task"), _name(config, "search")
    label = {"search": "", "model": _name(config, "model"), "task": task, "run": path.parent.name}[group]
    setup = json.dumps([config.get(part) for part in ("search", "task", "model", "verifier", "budget")], sort_keys=True)
    for row in data:
        if row.get("gold_known", True):
            row = {"traces": [], "population": [], "answers": {}, "cost": {}, "seconds": 0.0, **row}
            n = int((config.get("budget") or {}).get("n") or len(row["population"]) or 1)
            seed = int(row.get("seed", config.get("seed") or 0))
            yield Row(label, search, n, seed, (task, str(row["problem_id"])), setup, row)


def _name(config: Mapping[str, Any], part: str) -> str:
    """The name of a part of the configuration, or the last word of its class or path."""
    value = config.get(part)
    if isinstance(value, Mapping):
        value = value.get("name") or value.get("path") or value.get("_target_")
    return str(value or "unnamed").rstrip("/").replace("/", ".").rsplit(".", 1)[-1]


def summarise(dirs: Sequence[str | Path], group: str = "search", at: Sequence[int] = ()) -> list[Point]:
    """Every method at every N found in stored rows, and smaller N of independent samples.

    Args:
        dirs: folders with runs.
        group: what to keep apart besides search, selector and N; one of CHOICES["group"].
        at: the smaller N to compute; powers of 4 if empty.

    Raises:
        UserError: there is nothing to read.
    """
    return points(load(dirs, group), at)


def points(rows: Iterable[Row], at: Sequence[int] = ()) -> list[Point]:
    """The points of some rows; see `summarise`."""
    groups: dict[tuple[str, str], dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        groups[row.label, row.search][row.n].append(row)
    found: list[Point] = []
    for (label, search), by_n in groups.items():
        prefix = f"{label}: " if label else ""
        for n, members in by_n.items():
            if len({row.setup for row in members}) > 1:
                _warn(f"{search} at N={n} pools different configurations: group=run (or model, task) keeps them apart")
        largest = max(by_n)
        smaller = {k for k in (at or [4**i for i in range(16)]) if k < largest and search in INDEPENDENT}
        chosen = {row.data.get("select") or "weighted_vote" for members in by_n.values() for row in members}
        for select in sorted(chosen | set(INDEPENDENT.get(search, ()))):
            method, always = f"{prefix}{search} · {select}", select in INDEPENDENT.get(search, ())
            for n, members in by_n.items():
                of = [r for r in members if always or select == (r.data.get("select") or "weighted_vote")]
                if of:
                    found.append(_point(method, n, of, select, smaller | {n}))
            if select in ("argmax", "majority", "weighted_vote"):
                for k in smaller - set(by_n):
                    found.append(_point(method, k, by_n[largest], select, smaller, f"from N={largest}"))
        if search not in INDEPENDENT:
            continue
        other = groups.get((label, "self_consistency" if search == "best_of_n" else "best_of_n"))
        if search == "best_of_n" or not other:
            for k in smaller | {largest}:
                found.append(_point(prefix + COVERAGE, k, by_n[largest], COVERAGE, smaller | {k}, f"from N={largest}"))
        if search == "best_of_n" and not other and "majority" not in chosen:
            for k in smaller | {largest}:
                source = f"from best_of_n N={largest}"
                found.append(_point(prefix + MAJORITY, k, by_n[largest], MAJORITY, smaller | {k}, source))
    return sorted(found, key=lambda point: (point.method, point.n))


def _point(method: str, n: int, rows: Sequence[Row], select: str, ks: Iterable[int], source: str = "run") -> Point:
    """One point; a source other than "run" computes it from subsets and scales the costs by n over the samples."""
    stored, sampler_only = source == "run", select in (COVERAGE, MAJORITY)
    values: dict[Hashable, list[float]] = defaultdict(list)
    covered: dict[int, dict[Hashable, list[float]]] = {k: defaultdict(list) for k in sorted(ks) if k <= n}
    costs, variance = dict.fromkeys(("new_tokens", "verifier_tokens", "verifier_calls", "flops", "seconds"), 0.0), 0.0
    for row in rows:
        value = row.stored(select) if stored else row.at(n, select)
        values[row.problem].append(value.value)
        variance += value.stderr**2
        size = len(row.pool) or row.n
        scale = 1.0 if stored else min(n, size) / size
        spent = {name: row.spent(name) for name in costs} | {"seconds": float(row.data["seconds"] or 0.0)}
        if sampler_only:
            flops = float(row.data["cost"].get("policy", {}).get("flops", 0.0))
            spent |= {"verifier_tokens": 0.0, "verifier_calls": 0.0, "flops": flops}
        for name in costs:
            costs[name] += spent[name] * scale / len(rows)
        if row.search in INDEPENDENT:
            for k, of_problem in covered.items():
                of_problem[row.problem].append(row.at(k, COVERAGE).value)
    accuracy, (low, high) = mean_interval(values)
    return Point(
        method=method,
        n=n,
        source=source,
        accuracy=accuracy,
        low=low,
        high=high,
        questions=len(values),
        seeds=len({row.seed for row in rows}),
        new_tokens=costs["new_tokens"],
        verifier_tokens=costs["verifier_tokens"],
        verifier_calls=costs["verifier_calls"],
        flops=costs["flops"],
        seconds=None if sampler_only else costs["seconds"],
        failed=sum(row.failed for row in rows),
        stderr=sqrt(variance) / len(rows),
        pass_at={k: mean_interval(of)[0] for k, of in covered.items() if of},
        values=values,
    )


def compare(points: Sequence[Point]) -> list[str]:
    """Each method against majority voting at their largest common N, paired by problem: one line each."""
    lines = []
    for base in sorted({p.method for p in points if p.method.endswith("· majority")}):
        prefix = base.rpartition(": ")[0]
        for method in sorted({p.method for p in points} - {base}):
            of = {p.n: p for p in points if p.method == method}
            to = {p.n: p for p in points if p.method == base}
            if method.endswith(COVERAGE) or method.rpartition(": ")[0] != prefix or not of.keys() & to.keys():
                continue
            n = max(of.keys() & to.keys())
            if of[n].values.keys() & to[n].values.keys():
                d = paired(of[n].values, to[n].values)
                span = f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
                lines.append(f"N={n}: {method} - {base} = {span}, p={d.p:.3g} ({d.test}, {d.questions} questions)")
    return lines


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
        _warn(f"{method} has no {x} and is not drawn")
    for i, method in enumerate(sorted({p.method for p in drawn})):
        line = sorted((p for p in drawn if p.method == method), key=lambda p: float(getattr(p, x)))
        where = [float(getattr(p, x)) for p in line]
        middle, low, high = ([getattr(p, f) for p in line] for f in ("accuracy", "low", "high"))
        if y == "error":
            middle, low, high = ([1.0 - v for v in ends] for ends in (middle, high, low))
        color, marker = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
        style = ":" if method.endswith(COVERAGE) else ("-", "--", "-.")[i // len(PALETTE) % 3]
        if len(line) == 1:
            bars = [[middle[0] - low[0]], [high[0] - middle[0]]]
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
    return f"{', '.join(tasks)} · {_count(questions, 'question')} · {_count(len(seeds), 'seed')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def parse(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Folders and options; a folder's name may hold "=" (sweeps make such).

    Raises:
        UserError: an unknown key, a value that is not allowed, or no folder.
    """
    dirs: list[str] = []
    options = {"x": "new_tokens", "y": "accuracy", "group": "search", "format": "table", "at": "", "out": ""}
    for argument in argv:
        key, equals, value = argument.partition("=")
        if not equals and not argument.startswith("-"):
            dirs.append(argument)
        elif equals and key in KEYS:
            if key in CHOICES and value not in CHOICES[key]:
                raise UserError(
                    f"{key}={value}: unknown value {value!r}", f"allowed for {key}: {', '.join(CHOICES[key])}"
                )
            options[key] = value
        elif Path(argument).exists():
            dirs.append(argument)
        else:
            raise UserError(f"unknown key {key!r} in {argument!r}", f"allowed keys: {', '.join(KEYS)}")
    if not all(k.isdecimal() and int(k) for k in options["at"].split(",") if options["at"]):
        raise UserError(f"at={options['at']}: not a list of N", "allowed for at: whole numbers from 1, as in at=1,4,16")
    if not dirs:
        raise UserError("no folder given", "name at least one: ponder-curves DIR... (see --help)")
    return dirs, options


def _warn(message: str) -> None:
    print(f"note: {message}", file=sys.stderr)


def main(argv: list[str] | None = None) -> None:
    """The console command `ponder-curves`.

    Args:
        argv: arguments, the command's own if None.
    """
    argv = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(argv):
        print(USAGE)
        return
    try:
        dirs, options = parse(argv)
        rows = load(dirs, options["group"])
        found = points(rows, [int(k) for k in options["at"].split(",") if k])
        first = Path(dirs[0])
        out = Path(options["out"]) if options["out"] else first if first.is_dir() else first.parent
        files = plot(found, options["x"], options["y"], heading(rows), out)
    except UserError as error:
        print(f"ponder-curves: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    lines = [*compare(found), f"wrote {' and '.join(map(str, files))}"]
    if options["format"] == "json":
        print(json.dumps([point.asdict() for point in found], indent=2, ensure_ascii=False))
        print("\n".join(lines), file=sys.stderr)
        return
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width: never cut columns there
    console.print(table(found))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
