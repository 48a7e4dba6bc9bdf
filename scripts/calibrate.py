"""Fits the table of verifiers/calibration.py to stored rows: from scores to probabilities of being right."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.table import Table as Shown
from scipy.special import logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from ponder.errors import UserError
from ponder.scripts.command import arguments, command, console
from ponder.scripts.metrics import Interval
from ponder.scripts.results import Row, count, load, warn
from ponder.types import Floats
from ponder.verifiers.calibration import TABLES, Isotonic, Platt, Table

DEFAULTS = {"method": "isotonic", "folds": "5", "bins": "10", "out": "calibration.json"}
USAGE = f"""usage: ponder-calibrate DIR... [key=value ...]

Reads the scores of finished solutions in every rows.jsonl under the DIRs, learns how often solutions of each score were
right, and writes the table of `ponder verifier=calibrated verifier.table=calibration.json`. Use rows of one verifier.

  method=    {" or ".join(TABLES)} (default isotonic: any rising table; platt: a logistic curve, for few solutions)
  folds=     parts of the questions that are held out in turn to measure the table (default 5)
  bins=      how many bins of equal width the calibration error has (default 10)
  out=       the file to write (default calibration.json)
"""
DRAWS = 2000
"""Bootstrap samples of questions behind each interval."""

_RIDGE = 1e6
"""Inverse strength of the penalty on the logistic slope: too weak to be seen, it keeps separable scores finite."""


@dataclass(frozen=True)
class Scored:
    """Finished solutions: their scores and whether they were right.

    Attributes:
        scores: shape (solutions,).
        right: shape (solutions,), 0 or 1.
        question: shape (solutions,), the number of the question of each.
    """

    scores: Floats
    right: Floats
    question: NDArray[np.int64]

    @property
    def questions(self) -> int:
        """How many questions there are."""
        return int(self.question.max()) + 1


class Measured(NamedTuple):
    """How well probabilities tell what is right: lower is better.

    Attributes:
        brier: mean squared distance of probability and outcome, in [0, 1] (Brier 1950).
        brier_interval: its 95 % interval.
        ece: expected calibration error, in [0, 1] (Naeini et al. 2015).
        ece_interval: its 95 % interval, or a wider one: it always holds `ece`, and 0 where chance alone may explain it.
    """

    brier: float
    brier_interval: Interval
    ece: float
    ece_interval: Interval


@dataclass(frozen=True)
class Fit:
    """A table and how it does on questions that it was not fitted to.

    Attributes:
        table: fitted to all solutions.
        held_out: of tables that were fitted without the question they are measured on.
        before: of the scores themselves; None unless all lie in [0, 1].
        constant: of the share of right solutions on the other questions: what a verifier that knows nothing reaches.
    """

    table: Table
    held_out: Measured
    before: Measured | None
    constant: Measured


def gathered(rows: Sequence[Row]) -> Scored:
    """The finished solutions with a score in the final populations, each as often as it was drawn.

    Rows store equal solutions once. Right ones are drawn again more often than wrong ones, so that counting each once
    would make every score look less right than it is.

    Raises:
        UserError: there are none, only right or only wrong ones, or all are of one question.
    """
    ids = {problem: i for i, problem in enumerate(dict.fromkeys(row.problem for row in rows))}
    found = [
        (trace["score"], trace["correct"], ids[row.problem])
        for row in rows
        for trace in (row.data["traces"][index] for index, _ in row.data["population"])
        if trace.get("finished") and trace.get("score") is not None
    ]
    if not found:
        raise UserError(
            "no finished solution has a score", "give runs with a verifier, or rescore them: ponder-rescore"
        )
    scores, right, question = (np.array(column) for column in zip(*found, strict=True))
    if right.min() == right.max():
        raise UserError(
            f"all {len(right)} finished solutions are {'right' if right.all() else 'wrong'}",
            "give runs with right and wrong solutions: other questions, or a higher sampler.temperature",
        )
    _, question = np.unique(question, return_inverse=True)
    if question.max() == 0:
        raise UserError("all solutions are of one question", "give runs with more questions: some are held out in turn")
    return Scored(scores.astype(np.float64), right.astype(np.float64), question.astype(np.int64))


def fit(scored: Scored, method: str = "isotonic", folds: int = 5, bins: int = 10) -> Fit:
    """The table of some solutions, and what it does on questions held out."""
    of = TABLE_OF[method]
    held_out, constant = np.empty(len(scored.scores)), np.empty(len(scored.scores))
    parts = GroupKFold(min(folds, scored.questions)).split(scored.scores, groups=scored.question)
    for rest, part in parts:
        held_out[part] = of(scored.scores[rest], scored.right[rest])(scored.scores[part])
        constant[part] = scored.right[rest].mean()
    within = scored.scores.min() >= 0 and scored.scores.max() <= 1
    return Fit(
        of(scored.scores, scored.right),
        measured(held_out, scored, bins),
        measured(scored.scores, scored, bins) if within else None,
        measured(constant, scored, bins),
    )


def isotonic(scores: Floats, right: Floats) -> Isotonic:
    """The rising table of least squared error, by pooling adjacent violators (Zadrozny & Elkan 2002)."""
    found = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, right)
    return Isotonic(tuple(found.X_thresholds_), tuple(found.y_thresholds_))


def platt(scores: Floats, right: Floats) -> Platt:
    """The logistic curve of highest likelihood (Platt 1999); level where all are right, or all wrong."""
    scale = float(scores.std())
    if right.min() == right.max() or scale == 0:
        return Platt(0.0, float(logit((right.sum() + 1) / (len(right) + 2))))
    middle = float(scores.mean())
    model = LogisticRegression(C=_RIDGE, max_iter=1000).fit(((scores - middle) / scale)[:, None], right)
    slope = float(model.coef_[0, 0]) / scale
    return Platt(slope, float(model.intercept_[0]) - slope * middle)


TABLE_OF: dict[str, Callable[[Floats, Floats], Table]] = {"isotonic": isotonic, "platt": platt}


def measured(probabilities: Floats, scored: Scored, bins: int, seed: int = 0) -> Measured:
    """Brier score and expected calibration error, each with a bootstrap interval over questions.

    The solutions of a question stay together: they are not independent.

    Args:
        probabilities: of being right, shape (solutions,), in [0, 1].
        scored: the solutions.
        bins: of equal width; a solution's bin is that of its probability.
        seed: of the bootstrap.
    """
    bin_of = np.minimum((probabilities * bins).astype(int), bins - 1)
    # By question and bin: how many solutions, by how much they are too sure, and the squared error.
    sums = np.zeros((3, scored.questions, bins))
    for at, values in enumerate((np.ones(len(bin_of)), probabilities - scored.right)):
        np.add.at(sums[at], (scored.question, bin_of), values)
    np.add.at(sums[2], (scored.question, bin_of), (probabilities - scored.right) ** 2)
    shares = np.full(scored.questions, 1.0 / scored.questions)
    drawn = np.random.default_rng(seed).multinomial(scored.questions, shares, size=DRAWS).astype(np.float64)
    (brier,), (surplus,) = _errors(np.ones((1, scored.questions)), sums)
    briers, surpluses = _errors(drawn, sums)
    low, high = np.quantile(briers, [0.025, 0.975])
    # The error of a sum of sizes is at most the sum of the errors' sizes. Noise alone makes a calibration error, and
    # resampling makes more of it: plain percentiles would lie above the truth where there is little to find.
    ece, reach = float(np.abs(surplus).sum()), float(np.quantile(np.abs(surpluses - surplus).sum(axis=1), 0.95))
    return Measured(float(brier), (float(low), float(high)), ece, (max(0.0, ece - reach), min(1.0, ece + reach)))


def _errors(times: Floats, sums: Floats) -> tuple[Floats, Floats]:
    """Brier scores, shape (draws,), and surpluses of bins, (draws, bins), where each question counts so many times."""
    solutions, surplus, squares = (times @ of for of in sums)
    total = solutions.sum(axis=1)
    return squares.sum(axis=1) / total, surplus / total[:, None]


def write(found: Fit, method: str, scored: Scored, path: Path) -> None:
    """Writes a table as `ponder.verifiers.calibration.load` reads it, with what is known of it.

    Raises:
        UserError: the file cannot be written.
    """
    about = {"solutions": len(scored.scores), "questions": scored.questions, "held_out": found.held_out._asdict()}
    stored = {"method": method, "table": asdict(found.table), "about": about}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"out={path}: cannot write the table ({error})", "give a file in a folder of yours") from error


def shown(found: Fit, method: str, scored: Scored) -> Shown:
    """The errors before and after, and without any verifier."""
    solutions, questions = count(len(scored.scores), "solution"), count(scored.questions, "question")
    table = Shown(title=f"{solutions} of {questions}, {scored.right.mean():.3f} right; 95 % bootstrap over questions")
    for name in ("probability of being right", "Brier score", "calibration error"):
        table.add_column(name, no_wrap=True, justify="left" if name.startswith("prob") else "right")
    named = {
        "the score itself": found.before,
        f"{method}, held out": found.held_out,
        "the same for all": found.constant,
    }
    for name, one in named.items():
        cells = ("not in [0, 1]", "not in [0, 1]")
        if one is not None:
            pairs = (one.brier, one.brier_interval), (one.ece, one.ece_interval)
            cells = tuple(f"{value:.4f} [{low:.4f}, {high:.4f}]" for value, (low, high) in pairs)  # type: ignore[assignment]
        table.add_row(name, *cells)
    return table


def parse(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Folders and options; see `ponder.scripts.command.arguments`.

    Raises:
        UserError: an unknown key, a value that is not allowed, or no folder.
    """
    dirs, options = arguments("ponder-calibrate", argv, DEFAULTS, {"method": tuple(TABLES)})
    for key, least in (("folds", 2), ("bins", 1)):
        if not (options[key].isdecimal() and int(options[key]) >= least):
            raise UserError(f"{key}={options[key]} is out of range", f"allowed: a whole number from {least}")
    return dirs, options


def main(argv: list[str] | None = None) -> None:
    """The console command `ponder-calibrate`.

    Args:
        argv: arguments, the command's own if None.
    """
    command("ponder-calibrate", USAGE, _calibrate, argv)


def _calibrate(argv: Sequence[str]) -> None:
    dirs, given = parse(argv)
    rows = load(dirs)
    if len({json.dumps(json.loads(row.setup)[3]) for row in rows}) > 1:
        warn("these rows are of several verifiers; the table fits none of them")
    scored = gathered(rows)
    found = fit(scored, given["method"], int(given["folds"]), int(given["bins"]))
    if isinstance(found.table, Platt) and found.table.slope < 0:
        warn("higher scores are less often right here: the table turns them round")
    write(found, given["method"], scored, Path(given["out"]))
    console().print(shown(found, given["method"], scored))
    print(f"wrote {given['out']}")


if __name__ == "__main__":
    main()
