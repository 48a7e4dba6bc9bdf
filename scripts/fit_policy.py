"""Fits the table of search/compute_optimal.py to stored rows: which strategy for which ease. Needs no model."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from ponder.errors import UserError
from ponder.scripts.command import arguments, command, console
from ponder.scripts.metrics import Interval, wilson
from ponder.scripts.points import INDEPENDENT
from ponder.scripts.results import Row, count, load, warn
from ponder.search.compute_optimal import ESTIMATES, Choice, Policy, agreement

COSTS = ("n", "new_tokens", "flops")
DEFAULTS = {"n": "16", "estimate": "votes", "probes": "4", "bins": "5", "cost": "new_tokens", "out": "policy.json"}
USAGE = f"""usage: ponder-fit-policy DIR... [key=value ...]

Reads every rows.jsonl under the DIRs, cuts the questions into bins of ease, and writes for each bin the strategy that
was right most often: the table of `ponder search=compute_optimal search.table=policy.json`.

  n=         the largest N of a strategy (default 16)
  estimate=  the ease of a question: {", ".join(ESTIMATES)} (default votes)
  probes=    how many solutions it is estimated from (default 4)
  bins=      how many bins, of about equally many questions (default 5)
  cost=      of equally good strategies the cheaper by: {", ".join(COSTS)} (default new_tokens)
  out=       the file to write (default policy.json)
"""
VOTES = ("argmax", "majority", "weighted_vote")
"""Selectors whose accuracy at a smaller N can be computed from samples."""
Problem = tuple[str, str]


class Outcome(NamedTuple):
    """What a strategy reached on a question: how often it was right, its cost, and whether it never ended well."""

    right: float
    cost: float
    missing: bool


Outcomes = Mapping[tuple[str, int], Mapping[Problem, Outcome]]
"""By strategy and N."""


@dataclass(frozen=True)
class Entry:
    """How a strategy did on the questions of a bin.

    Attributes:
        search: its name.
        n: its N.
        right: how often it was right, expectations included; what it lacks counts as wrong.
        questions: how many the bin has.
        missing: how many of them it did not run, or failed on.
        cost: mean per question that it ran.
    """

    search: str
    n: int
    right: float
    questions: int
    missing: int
    cost: float

    @property
    def accuracy(self) -> float:
        """In [0, 1]."""
        return self.right / self.questions

    @property
    def interval(self) -> Interval:
        """The 95 % Wilson interval of the accuracy."""
        return wilson(self.right, self.questions)


@dataclass(frozen=True)
class Fit:
    """A policy and what it was fitted to.

    Attributes:
        policy: the table.
        entries: for each bin every strategy, best first.
        eases: for each bin the eases of its questions.
        without: questions that have no ease.
    """

    policy: Policy
    entries: tuple[tuple[Entry, ...], ...]
    eases: tuple[tuple[float, ...], ...]
    without: int

    @property
    def accuracy(self) -> float:
        """Of the policy on the questions of the fit; those without an ease are wrong."""
        total = self.without + sum(map(len, self.eases))
        return sum(entries[0].right for entries in self.entries) / total


def fit(
    rows: Sequence[Row], n: int = 16, estimate: str = "votes", probes: int = 4, bins: int = 5, cost: str = "new_tokens"
) -> Fit:
    """The policy of highest accuracy on some rows; see USAGE.

    Raises:
        UserError: no question has an ease, or no strategy ran at an N up to n.
    """
    by_problem: dict[Problem, list[Row]] = defaultdict(list)
    for row in rows:
        by_problem[row.problem].append(row)
    found = {problem: ease(of, estimate, probes) for problem, of in by_problem.items()}
    eases = {problem: value for problem, value in found.items() if value is not None}
    if not eases:
        raise UserError(
            f"no question has {probes} independent solutions{' with scores' if estimate == 'verifier' else ''}",
            f"give a run of {' or '.join(INDEPENDENT)} with budget.n={probes} or more",
        )
    outcomes = candidates(rows, n, cost)
    if not outcomes:
        raise UserError(f"n={n}: no strategy ran at so small an N", "give a larger n=")
    cuts = Policy(quantiles(list(eases.values()), bins), (), estimate, probes)
    members: list[list[Problem]] = [[] for _ in range(len(cuts.edges) + 1)]
    for problem, value in eases.items():
        members[cuts.bin(value)].append(problem)
    entries = tuple(tuple(ranked(outcomes, of)) for of in members)
    choices = tuple(Choice(best.search, {"n": best.n}) for best, *_ in entries)
    of_bins = tuple(tuple(eases[problem] for problem in of) for of in members)
    return Fit(replace(cuts, choices=choices), entries, of_bins, len(found) - len(eases))


def ease(rows: Sequence[Row], estimate: str, probes: int) -> float | None:
    """The ease of a question by the first solutions of one run, as the strategy would see it; None without such a run.

    Args:
        rows: of one question.
        estimate: one of ESTIMATES.
        probes: how many solutions.
    """
    for row in sorted(rows, key=lambda row: (row.search, row.seed, row.n)):
        traces = [row.data["traces"][index] for index, _ in row.data["population"][:probes]]
        if row.search not in INDEPENDENT or row.failed or len(traces) < probes:
            continue
        if estimate == "votes":
            return agreement([trace["answer"] for trace in traces])
        scores = [trace.get("score") for trace in traces]
        if None not in scores:
            return float(np.mean(scores))
    return None


def quantiles(eases: Sequence[float], bins: int) -> tuple[float, ...]:
    """Rising edges between bins of about equally many questions; each is an ease that occurs: no bin is empty."""
    cuts = np.quantile(eases, np.arange(1, bins) / bins, method="higher")
    return tuple(float(edge) for edge in np.unique(cuts) if edge > min(eases))


def candidates(rows: Sequence[Row], n: int, cost: str) -> Outcomes:
    """What each strategy reached at each N up to n, by question, the mean over seeds.

    Where an independent search ran only at larger N, what it reaches at n is expected from its samples.
    """
    ran = {(row.search, row.n) for row in rows if row.search != "compute_optimal"}
    smaller = {(search, n) for search, size in ran if search in INDEPENDENT and size > n} - ran
    found: dict[tuple[str, int], dict[Problem, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
    setups: dict[tuple[str, int], set[str]] = defaultdict(set)
    for row in rows:
        select = "majority" if row.search == "self_consistency" else row.data.get("select") or "weighted_vote"
        ran_with, of_samples = (row.search, row.n), (row.search, n)
        if ran_with in ran and row.n <= n:
            found[ran_with][row.problem].append(Outcome(row.stored(select).value, _cost(row, row.n, cost), row.failed))
            setups[ran_with].add(row.setup)
        elif of_samples in smaller and select in VOTES:
            found[of_samples][row.problem].append(Outcome(row.at(n, select).value, _cost(row, n, cost), row.failed))
    for (search, size), several in setups.items():
        if len(several) > 1:
            warn(f"{search} at N={size} pools different configurations")
    return {key: {p: _mean(of) for p, of in by_problem.items()} for key, by_problem in found.items()}


def _cost(row: Row, n: int, cost: str) -> float:
    """Of a row with n of its samples."""
    if cost == "n":
        return float(n)
    return row.spent(cost) * (1.0 if n == row.n else row.share(n))


def _mean(outcomes: Sequence[Outcome]) -> Outcome:
    """Over seeds; missing if all are."""
    right, spent = (float(np.mean([getattr(one, name) for one in outcomes])) for name in ("right", "cost"))
    return Outcome(right, spent, all(one.missing for one in outcomes))


def ranked(outcomes: Outcomes, problems: Sequence[Problem]) -> list[Entry]:
    """Every strategy on some questions: the most often right first, of equal ones the cheaper."""
    entries = []
    for (search, n), by_problem in outcomes.items():
        here = [by_problem[problem] for problem in problems if problem in by_problem]
        missing = len(problems) - sum(not one.missing for one in here)
        spent = float(np.mean([one.cost for one in here])) if here else float("inf")
        right = min(float(len(problems)), sum(one.right for one in here))  # rounding may pass the end
        entries.append(Entry(search, n, right, len(problems), missing, spent))
    return sorted(entries, key=lambda one: (-round(one.right, 9), one.cost, one.n, one.search))


def write(policy: Policy, path: Path) -> None:
    """Writes a policy as `Policy.load` reads it.

    Raises:
        UserError: the file cannot be written.
    """
    table = {
        "estimate": policy.estimate,
        "probes": policy.probes,
        "edges": list(policy.edges),
        "choices": [{"strategy": one.strategy, "shape": dict(one.shape)} for one in policy.choices],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"out={path}: cannot write the policy ({error})", "give a file in a folder of yours") from error


def shown(found: Fit, cost: str) -> Table:
    """Every bin and strategy, the chosen one first and marked."""
    table = Table(title="bins from hard to easy; accuracy with 95 % Wilson interval; cost is the mean per question")
    for name in ("bin", "ease", "questions", "strategy"):
        table.add_column(name, no_wrap=True)
    for name in ("N", "accuracy", "missing", cost):
        table.add_column(name, justify="right", no_wrap=True)
    for i, (entries, eases) in enumerate(zip(found.entries, found.eases, strict=True)):
        for place, one in enumerate(entries):
            low, high = one.interval
            bin_cells = (
                (str(i), f"{min(eases):.2f} to {max(eases):.2f}", str(len(eases))) if not place else ("", "", "")
            )
            name = f"{one.search}{'' if place else ' *'}"
            accuracy = f"{one.accuracy:.3f} [{low:.3f}, {high:.3f}]"
            table.add_row(*bin_cells, name, str(one.n), accuracy, str(one.missing), f"{one.cost:,.4g}")
        table.add_section()
    return table


def parse(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Folders and options; see `ponder.scripts.command.arguments`.

    Raises:
        UserError: an unknown key, a value that is not allowed, or no folder.
    """
    dirs, options = arguments("ponder-fit-policy", argv, DEFAULTS, {"estimate": ESTIMATES, "cost": COSTS})
    for key in ("n", "probes", "bins"):
        if not (options[key].isdecimal() and int(options[key])):
            raise UserError(f"{key}={options[key]} is out of range", "allowed: a whole number from 1")
    return dirs, options


def main(argv: list[str] | None = None) -> None:
    """The console command `ponder-fit-policy`.

    Args:
        argv: arguments, the command's own if None.
    """
    command("ponder-fit-policy", USAGE, _fit_policy, argv)


def _fit_policy(argv: Sequence[str]) -> None:
    dirs, given = parse(argv)
    numbers: Any = {key: int(given[key]) for key in ("n", "probes", "bins")}
    found = fit(load(dirs), estimate=given["estimate"], cost=given["cost"], **numbers)
    write(found.policy, Path(given["out"]))
    if found.without:
        warn(f"{count(found.without, 'question')} without independent solutions: in no bin, and wrong in the accuracy")
    console().print(shown(found, given["cost"]))
    print(f"the policy on these questions: {found.accuracy:.3f} (too good: it was fitted to them)")
    print(f"wrote {given['out']}")


if __name__ == "__main__":
    main()
