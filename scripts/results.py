"""Stored rows as results: what a question of a run gave and cost, by selector, at fewer samples, and on its way."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ponder.errors import UserError
from ponder.scripts.metrics import EXACT, Expectation, Pool, best_of_k, pass_at_k, vote_at_k
from ponder.scripts.rows import read_about, read_rows

COSTS = ("new_tokens", "all_tokens", "verifier_tokens", "verifier_calls", "flops", "seconds")
"""What a question costs, over all roles; new tokens are the policy's. docs/curves.md says how each is counted."""
PARTS = ("search", "task", "model", "verifier", "weight", "budget")
CEILINGS = ("samples", "new_tokens", "prompt_tokens", "verifier_tokens", "verifier_calls", "flops", "seconds")
COVERAGE, MAJORITY = "pass@k", "self_consistency · majority"
Bill = Mapping[str, float]


class Stop(NamedTuple):
    """Where a search could have been stopped: what it had spent, and how likely its answer was right."""

    bill: Bill
    value: float


@dataclass(frozen=True)
class Row:
    """One stored question with what its run's configuration says of it.

    Attributes:
        label: what is kept apart besides search, selector and size.
        search: the strategy.
        n: its samples or particles.
        seed: the run's.
        problem: task and problem id.
        setup: the configuration, to tell runs apart.
        data: the row as stored.
        ceilings: the budget's ceilings for a question, such as "new_tokens=500".
        parameters: by role, the weights of its model, where known.
        model: the name of the policy's model.
    """

    label: str
    search: str
    n: int
    seed: int
    problem: tuple[str, str]
    setup: str
    data: Mapping[str, Any]
    ceilings: str = ""
    parameters: Mapping[str, float] = field(default_factory=dict)
    model: str = "unnamed"

    @property
    def method(self) -> str:
        """The search, with what is kept apart."""
        return f"{self.label}: {self.search}" if self.label else self.search

    @property
    def failed(self) -> bool:
        """Whether the question ended in an error."""
        return self.data.get("error") is not None

    @property
    def select(self) -> str:
        """The configured selector."""
        return self.data.get("select") or "weighted_vote"

    @property
    def scored(self) -> bool:
        """Whether a verifier's scores tell the samples apart."""
        return any(trace.get("score") is not None for trace in self.data["traces"])

    @cached_property
    def pool(self) -> Pool:
        """The final population as samples; repeats beyond the samples begun are padding and dropped."""
        population = self.data["population"]
        begun = self.data["cost"].get("policy", {}).get("samples", 0)
        if 0 < begun < len(population):
            population = list({index: (index, weight) for index, weight in population}.values())
        return self._pool([(index, True, weight) for index, weight in population])

    def _pool(self, population: Sequence[tuple[int, bool, float | None]]) -> Pool:
        """Entries (trace, whether it is the whole trace, log weight) as samples; a prefix has no answer."""
        traces = self.data["traces"]
        return Pool(
            [traces[index]["answer"] if whole else None for index, whole, _ in population],
            [whole and bool(traces[index]["correct"]) for index, whole, _ in population],
            [float("nan") if weight is None else weight for _, _, weight in population],
            [bool(traces[index].get("finished", True)) for index, _, _ in population],
        )

    def share(self, k: int) -> float:
        """What part of the samples k are, and of the cost; all where there are fewer."""
        size = len(self.pool) or self.n
        return min(k, size) / size

    def stored(self, select: str) -> Expectation:
        """Whether the answer that a selector gave is right."""
        return Expectation(float(bool(self.data["answers"].get(select, {}).get("correct"))))

    def at(self, k: int, select: str, subsets: int = EXACT) -> Expectation:
        """Expected accuracy of a selector, or coverage, with k of the samples, or with all where there are fewer."""
        return self._selected(self.pool, min(k, len(self.pool)), select, subsets)

    def _selected(self, pool: Pool, k: int, select: str, subsets: int = EXACT) -> Expectation:
        if not k:
            return Expectation(0.0)
        if select == COVERAGE:
            return Expectation(pass_at_k(len(pool), sum(sample.right for sample in pool.samples), k))
        if select == "argmax":
            return best_of_k(pool, k)
        if select == MAJORITY:  # self-consistency has no verifier, not even to break a tie
            pool = Pool(pool.answers, pool.correct, [0.0] * len(pool), pool.finished)
        by: Literal["majority", "weighted_vote"] = "weighted_vote" if select == "weighted_vote" else "majority"
        return vote_at_k(pool, k, by, seed=zlib.crc32(self.problem[1].encode()), subsets=subsets)

    def spent(self, name: str) -> float:
        """One of `COSTS`, over all roles; new tokens of the policy alone."""
        return self.bill()[name]

    def bill(self, roles: Collection[str] | None = None) -> Bill:
        """What the question cost by name, for some roles or for all."""
        return self._bill(self.data["cost"], self.data["seconds"], roles)

    def _bill(
        self, costs: Mapping[str, Mapping[str, float]], seconds: float | None, roles: Collection[str] | None = None
    ) -> Bill:
        costs = {role: cost for role, cost in costs.items() if roles is None or role in roles}
        bill = {name: float(sum(cost.get(name, 0) for cost in costs.values())) for name in COSTS}
        policy = self.parameters.get("policy")
        sizes = {role: (self.parameters.get(role) or policy) / policy if policy else 1.0 for role in costs}
        return bill | {
            "new_tokens": float(costs.get("policy", {}).get("new_tokens", 0)),
            "all_tokens": float(sum(_computed(cost) * sizes[role] for role, cost in costs.items())),
            "seconds": float(seconds or 0.0),
        }

    def path(self, select: str) -> list[Stop]:
        """The search from nothing to its end: a stop at each report. A prefix has no answer, so it is wrong."""
        stops = [Stop(dict.fromkeys(COSTS, 0.0), 0.0)]
        steps = [len(trace["steps"]) for trace in self.data["traces"]]
        for report in self.data["reports"]:
            pool = self._pool([(index, depth == steps[index], weight) for index, depth, weight in report["population"]])
            bill = self._bill(report["cost"], report["seconds"])
            stops.append(Stop(bill, self._selected(pool, len(pool), select).value))
        return [*stops, Stop(self.bill(), self.stored(select).value)]


def _computed(cost: Mapping[str, float]) -> float:
    """Tokens that a model computed: prompts less what its cache held, new ones, and a reward model's."""
    prompt = cost.get("prompt_tokens", 0) - cost.get("cached_tokens", 0)
    return prompt + cost.get("new_tokens", 0) + cost.get("verifier_tokens", 0)


def load(dirs: Sequence[str | Path], group: str = "search") -> list[Row]:
    """All rows under some folders.

    Args:
        dirs: folders, searched through, or rows.jsonl files.
        group: what to keep apart besides search, selector and size: "search" for nothing, a part of the configuration
            such as "verifier", a key of it such as "search.threshold", "run", or "level" for the questions' difficulty.

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
    run = read_about(path.parent)
    config = run["config"]
    data = read_rows(path)
    if len(data) < (run.get("questions") or 0):
        warn(f"{path} is incomplete: {len(data)} of {run['questions']} questions")
    if ungraded := sum(not row.get("gold_known", True) for row in data):
        warn(f"{path}: {ungraded} rows without a gold answer are left out")
    task, search, budget = named(config, "task"), named(config, "search"), config.get("budget") or {}
    setup = json.dumps([config.get(part) for part in PARTS], sort_keys=True)
    ceilings = " ".join(f"{name}={budget[name]:g}" for name in CEILINGS if budget.get(name))
    for row in data:
        if row.get("gold_known", True):
            row = {"traces": [], "population": [], "answers": {}, "cost": {}, "seconds": 0.0, "reports": [], **row}
            n = int(budget.get("n") or len(row["population"]) or 1)
            seed = int(row.get("seed", config.get("seed") or 0))
            yield Row(
                label=_label(group, path, config, row),
                search=search,
                n=n,
                seed=seed,
                problem=(task, str(row["problem_id"])),
                setup=setup,
                data=row,
                ceilings=ceilings,
                parameters=run.get("parameters") or {},
                model=named(config, "model"),
            )


def _label(group: str, path: Path, config: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    if group == "level":
        level = (row.get("meta") or {}).get("level")
        return "no level" if level is None else f"level {level}"
    if "." in group:
        value: Any = config
        for key in group.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return f"{group.rpartition('.')[2]}={value}"
    return path.parent.name if group == "run" else "" if group == "search" else named(config, group)


def named(config: Mapping[str, Any], part: str, otherwise: str = "unnamed") -> str:
    """The name of a part of the configuration, or the last word of its class or path; `otherwise` where it has none."""
    value = config.get(part)
    if isinstance(value, Mapping):
        if name := value.get("name"):
            return str(name)
        value = value.get("path") or value.get("_target_")
    return str(value or otherwise).rstrip("/").replace("/", ".").rsplit(".", 1)[-1]


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it needs one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def warn(message: str) -> None:
    """Tells what a result leaves out, on stderr."""
    print(f"note: {message}", file=sys.stderr)
