"""The command `ponder-bench`: measures a verifier on a benchmark of verifiers.

A benchmark is a run like any other: one row a solution, there before the next one counts as done. A killed one goes on
where it was, and its figures are computed from rows.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table

from ponder.context import Context, Report, Setup
from ponder.errors import UserError
from ponder.runner import Row, run
from ponder.scripts.command import console
from ponder.scripts.composing import check_verifiers, composed, digest, git_commit, made_verifier, whole
from ponder.scripts.processbench import Figures, Judged, Result, evaluate
from ponder.scripts.records import search_fields
from ponder.scripts.rows import RowFile, read_rows, write_about
from ponder.scripts.solve import in_background
from ponder.tasks.processbench import ProcessBench
from ponder.types import Population, Problem, Score, Trace

Work = Callable[[DictConfig, Mapping[str, str]], None]
ROWS = "judged.jsonl"
"""Not rows.jsonl: `ponder-curves runs` and `ponder-rescore run=runs` look for searches."""


class Judging:
    """A strategy that writes nothing: has the verifier score the solution that comes with a problem.

    A verifier that gives the whole solution one score is asked about every beginning of it, too: the score of the
    first k steps counts as the score of step k.

    Args:
        task: has the solutions.
    """

    def __init__(self, task: ProcessBench) -> None:
        self.task = task

    async def __call__(self, problem: Problem, ctx: Context) -> Population:
        """See `ponder.protocols.Strategy`."""
        trace = self.task.trace(problem)
        await ctx.score([trace])
        if not _of_steps(ctx.known_score(trace)):
            await ctx.score(beginnings(trace))
        return Population.equal([trace])


def beginnings(trace: Trace) -> list[Trace]:
    """The first step of a solution, the first two, and so on to the whole."""
    return [Trace(trace.problem, trace.steps[:k]) for k in range(1, len(trace) + 1)]


def described(
    population: Population,
    reports: Sequence[Report],
    score: Callable[[Trace], float | None],
    answer: Callable[[Trace], str | None],
    grade: Callable[[str | None], bool],
) -> Row:
    """What a row tells of a judged solution: a search's fields, `step_scores`, and `unread` judgements."""
    (trace,) = population.traces
    asked = [score(trace)] if _of_steps(score(trace)) else [score(one) for one in beginnings(trace)]
    return {
        **search_fields(population, reports, score, answer, grade),
        "step_scores": list(_of_steps(score(trace)) or [float(one) for one in asked if one is not None]),
        "unread": sum(one.unread for one in asked if isinstance(one, Score)),
    }


def _of_steps(score: float | None) -> tuple[float, ...]:
    return score.steps if isinstance(score, Score) else ()


class Counting:
    """A recorder that shows how many solutions are judged: live on a terminal, one line at the end elsewhere."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._bar = Bar(console=self._console, disable=not self._console.is_terminal)
        self._done = self._failed = 0

    def start(self, run: Mapping[str, Any]) -> None:
        """See `ponder.protocols.Recorder`."""
        self._line = self._bar.add_task(str(run["run_id"]), total=run["questions"])
        self._bar.start()

    def row(self, row: Mapping[str, Any]) -> None:
        """See `ponder.protocols.Recorder`."""
        self._done += 1
        self._failed += row["error"] is not None
        self._bar.update(self._line, advance=1)

    def close(self) -> None:
        """See `ponder.protocols.Recorder`."""
        self._bar.stop()
        failed = f", {self._failed} FAILED; the same command tries them again" if self._failed else ""
        self._console.print(f"{self._path}: {self._done} solutions judged{failed}", markup=False)


def processbench(config: DictConfig, choices: Mapping[str, str]) -> None:
    """Runs ProcessBench with the configured verifier, or goes on with it, and prints the figures."""
    whole(config, {"seed": 0, "concurrency": 1})
    if config.format not in ("table", "json"):
        raise UserError(f"format={config.format} is unknown", "allowed: table, json")
    if config.threshold is not None and not _is_number(config.threshold):
        raise UserError(
            f"threshold={config.threshold} is no number", "allowed: a number, or null to choose it on gsm8k"
        )
    verifier = made_verifier(config, choices)
    if hasattr(verifier, "compare"):
        raise UserError(
            f"verifier={choices['verifier']} compares solutions, and ProcessBench has one of each problem",
            "take a verifier that scores a solution by itself",
        )
    check_verifiers({"verifier": verifier})
    task = ProcessBench(config.path, config.limit, config.seed)
    problems = list(task.problems())
    # What makes the rows; the threshold and how figures are shown do not.
    plain: dict[str, Any] = {
        "benchmark": "processbench",
        "verifier": OmegaConf.to_container(config.verifier, resolve=True),
        **{key: config[key] for key in ("path", "limit", "seed")},
    }
    hashed = digest(plain)
    run_id = f"processbench-{choices['verifier']}-{hashed}"
    stamp = {"run_id": run_id, "config_hash": hashed, "git_commit": git_commit()}
    path = Path(config.out) / run_id
    rows = RowFile(path / ROWS)
    try:
        about = {**stamp, "config": plain, "questions": len(problems)}
        write_about(path, about)
        in_background(
            run(
                task,
                Judging(task),
                Setup(samplers={}, verifiers={"verifier": verifier}),
                rows=rows,
                describe=described,
                stamp=stamp,
                seed=config.seed,
                select="none",
                selectors={},
                config=plain,
                recorders=[Counting(path)],
                concurrency=config.concurrency,
            )
        )
    finally:
        rows.close()
    done = read_rows(path / ROWS)
    found, spent = evaluate(judged(task, done), config.threshold, config.seed), costs(done)
    if config.format == "json":
        print(json.dumps(_jsonable({"run": str(path), **dataclasses.asdict(found), "cost": spent})))
    else:
        shown = console()
        shown.print(table(f"ProcessBench, verifier={choices['verifier']}", found))
        shown.print(remarks(found, spent))


def judged(task: ProcessBench, rows: Iterable[Mapping[str, Any]]) -> list[Judged]:
    """What the figures are computed from; a row with an error has no scores."""
    return [
        Judged(
            row["meta"]["split"],
            task.label(row["problem_id"]),
            tuple(row.get("step_scores", ())),
            row.get("unread", 0),
        )
        for row in rows
    ]


def costs(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """What the verifier spent on all rows, by count."""
    spent: dict[str, float] = {}
    for row in rows:
        for name, value in row["cost"].get("verifier", {}).items():
            spent[name] = spent.get(name, 0) + value
    return spent


def table(title: str, found: Result) -> Table:
    """The figures in percent, with their 95 % intervals."""
    shown = Table(title=title)
    shown.add_column("split", no_wrap=True)
    for name in ("wrong", "right", "accuracy on wrong", "accuracy on right", "F1"):
        shown.add_column(name, justify="right")
    for split, one in [*found.splits.items(), ("average", found.average)]:
        if split == "average":
            shown.add_section()
        shown.add_row(split, str(one.wrong), str(one.right), *_cells(one))
    return shown


def _cells(one: Figures) -> list[str]:
    figures = (
        (one.wrong_accuracy, one.wrong_interval),
        (one.right_accuracy, one.right_interval),
        (one.f1, one.f1_interval),
    )
    return [
        "-" if math.isnan(value) else f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        for value, (low, high) in figures
    ]


def remarks(found: Result, spent: Mapping[str, float]) -> str:
    """What stands below the table: threshold, failures, cost."""
    said = [f"a step is called wrong that scores below {found.threshold:.6g} ({found.chosen})"]
    if found.failed:
        said.append(f"{found.failed} solutions FAILED and count as missed; run the same command to try them again")
    if found.unread:
        said.append(f"{found.unread} judgements could not be read")
    names = {
        "verifier_calls": "traces scored",
        "verifier_tokens": "verifier tokens",
        "verifier_cached_tokens": "more from the prefix cache",
        "new_tokens": "of the tokens written",
    }
    said.append(", ".join(f"{spent[key]:,.0f} {name}" for key, name in names.items() if spent.get(key)))
    return "\n".join(said)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _jsonable(value: Any) -> Any:
    """A value with null for NaN, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


BENCHMARKS: dict[str, Work] = {"processbench": processbench}


def main() -> None:
    """The console command `ponder-bench`: the first word is the benchmark, the rest is for Hydra."""
    name = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1][:1] != "-" and "=" not in sys.argv[1] else None
    if name is not None:
        sys.argv = [sys.argv[0], *sys.argv[2:]]

    def work(config: DictConfig, choices: Mapping[str, str]) -> None:
        if name not in BENCHMARKS:
            what = "no benchmark given" if name is None else f"benchmark {name!r} is unknown"
            raise UserError(what, f"allowed: {', '.join(BENCHMARKS)}, as the first word after ponder-bench")
        BENCHMARKS[name](config, choices)

    composed("ponder-bench", "bench", work)


if __name__ == "__main__":
    main()
