"""Points of scaling curves, computed from stored rows: one method at one N, its accuracy and its cost."""

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

from ponder.errors import UserError
from ponder.scripts.metrics import Expectation, Pool, best_of_k, mean_interval, pass_at_k, vote_at_k
from ponder.scripts.rows import read_rows

INDEPENDENT = {"best_of_n": ("argmax", "weighted_vote"), "self_consistency": ("majority",), "coverage": ()}
"""Searches whose samples are independent, so that any subset is a smaller run; with selectors always shown."""
COSTS = ("new_tokens", "verifier_tokens", "verifier_calls", "flops", "seconds")
PARTS = ("search", "task", "model", "verifier", "weight", "budget")
COVERAGE, MAJORITY = "pass@k", "self_consistency · majority"


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
        spent: by problem, its costs by name, means over seeds.
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
    spent: Mapping[Hashable, Mapping[str, float]] = field(default_factory=dict, repr=False, compare=False)

    def asdict(self) -> dict[str, Any]:
        """Every field but `values` and `spent`."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("values", "spent")}


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
            warn(f"{path} repeats {repeated} rows of an equal configuration and seed: they count once")
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
        warn(f"{path} is incomplete: {len(data)} of {run['questions']} questions")
    if ungraded := sum(not row.get("gold_known", True) for row in data):
        warn(f"{path}: {ungraded} rows without a gold answer are left out")
    task, search = _name(config, "task"), _name(config, "search")
    label = path.parent.name if group == "run" else "" if group == "search" else _name(config, group)
    setup = json.dumps([config.get(part) for part in PARTS], sort_keys=True)
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
                warn(f"{search} at N={n} pools different configurations; apart with group=verifier, model, task or run")
        largest = max(by_n)
        smaller = {k for k in (at or [4**i for i in range(16)]) if k < largest and search in INDEPENDENT}
        chosen = {row.data.get("select") or "weighted_vote" for members in by_n.values() for row in members}
        if search in ("self_consistency", "coverage"):  # a vote is all it has; equal weights make each selector one
            chosen = {"majority"} if search == "self_consistency" else set()
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
        other = (label, "self_consistency") in groups
        if search == next(first for first in INDEPENDENT if (label, first) in groups):
            for k in smaller | {largest}:
                found.append(_point(prefix + COVERAGE, k, by_n[largest], COVERAGE, smaller | {k}, f"from N={largest}"))
        if search == "best_of_n" and not other and "majority" not in chosen:
            for k in smaller | {largest}:
                source = f"from best_of_n N={largest}"
                found.append(_point(prefix + MAJORITY, k, by_n[largest], MAJORITY, smaller | {k}, source))
    return sorted(found, key=lambda point: (point.method, point.n))


def _point(method: str, n: int, rows: Sequence[Row], select: str, ks: Iterable[int], source: str = "run") -> Point:
    """One point; a source other than "run" computes it from subsets and scales the costs by n over the samples."""
    stored, sampler_only, variance = source == "run", select in (COVERAGE, MAJORITY), 0.0
    values: dict[Hashable, list[float]] = defaultdict(list)
    covered: dict[int, dict[Hashable, list[float]]] = {k: defaultdict(list) for k in sorted(ks) if k <= n}
    bills: dict[Hashable, list[Mapping[str, float]]] = defaultdict(list)
    for row in rows:
        value = row.stored(select) if stored else row.at(n, select)
        values[row.problem].append(value.value)
        variance += value.stderr**2
        size = len(row.pool) or row.n
        scale = 1.0 if stored else min(n, size) / size
        spent = {name: row.spent(name) for name in COSTS} | {"seconds": float(row.data["seconds"] or 0.0)}
        if sampler_only:
            spent |= dict.fromkeys(COSTS[1:], 0.0) | {"flops": row.data["cost"].get("policy", {}).get("flops", 0.0)}
        bills[row.problem].append({name: spent[name] * scale for name in COSTS})
        if row.search in INDEPENDENT:
            for k, of_problem in covered.items():
                of_problem[row.problem].append(row.at(k, COVERAGE).value)
    accuracy, (low, high) = mean_interval(values)
    costs = {name: sum(bill[name] for of in bills.values() for bill in of) / len(rows) for name in COSTS}
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
        spent={problem: {k: sum(b[k] for b in of) / len(of) for k in COSTS} for problem, of in bills.items()},
    )


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it needs one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def warn(message: str) -> None:
    """Tells what a result leaves out, on stderr."""
    print(f"note: {message}", file=sys.stderr)
