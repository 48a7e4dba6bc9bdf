"""Lays out a comparison of runs in Weights & Biases: accuracy against each cost, final accuracies, a table of runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ponder.errors import UserError
from ponder.scripts.command import command, option
from ponder.scripts.wandb_figures import FINAL, MEAN
from ponder.scripts.wandb_question import AXES

CHOICES = {"kind": ("report", "workspace"), "save": ("yes", "no")}
DEFAULTS = {"project": "ponder", "entity": "", "group": "", "kind": "report", "save": "yes"}
USAGE = """usage: python -m ponder.scripts.wandb_report [key=value ...]

Lays out what `logger=wandb` has logged of several runs: accuracy against each cost, final accuracies, a table of runs.

  project= the W&B project (default ponder)
  entity=  the user or team that it belongs to (default: W&B's)
  group=   the runs of one group only, which is the task's name unless logger.group says otherwise
  kind=    report, workspace (default report)
  save=    yes, no: print the layout as JSON, which needs no account (default yes)
"""
LABELS = dict(
    zip(
        AXES,
        ("new tokens (policy)", "new tokens (all models)", "verifier tokens", "verifier calls", "FLOPs", "seconds"),
        strict=True,
    )
)
KEPT_APART = ("search.name", "budget.n")
"""What runs are grouped by, as they stand in the configuration: a line is a search at one N, the mean over seeds."""
COLUMNS = ("summary:questions", "summary:failed", *(f"summary:{name}" for name in (*FINAL, *MEAN)))


def panels() -> tuple[list[Any], list[Any], list[Any]]:
    """The charts: anytime curves, final accuracy against cost, and final accuracy by search and N.

    Lines and bars are grouped as the runs are.
    """
    import wandb_workspaces.reports.v2 as wr

    accuracy, low, high = FINAL
    anytime = [
        wr.LinePlot(
            title=f"accuracy if stopped, against {LABELS[axis]}",
            x=f"anytime/{axis}",
            y=["anytime/accuracy"],
            title_x=f"{LABELS[axis]} per question",
            title_y="accuracy",
            log_x=True,
        )
        for axis in AXES
    ]
    scatter = [
        wr.ScatterPlot(
            title=f"accuracy of whole runs, against {LABELS[axis]}",
            x=wr.SummaryMetric(name),
            y=wr.SummaryMetric(accuracy),
            log_x=True,
        )
        for axis, name in zip(AXES, MEAN, strict=True)
    ]
    bars = [
        wr.BarPlot(title=f"final accuracy{end}", metrics=[wr.SummaryMetric(name)])
        for name, end in ((accuracy, ""), (low, ": lower end of the 95 % interval"), (high, ": upper end"))
    ]
    return anytime, scatter, bars


def report(project: str, entity: str, group: str) -> Any:
    """A `wandb_workspaces` report, not saved; nothing is asked of the network.

    Args:
        project: the W&B project.
        entity: the user or team.
        group: whose runs; all of the project's if empty.
    """
    import wandb_workspaces.expr as expr
    import wandb_workspaces.reports.v2 as wr

    anytime, scatter, bars = panels()

    def grid(charts: Sequence[Any]) -> Any:
        return wr.PanelGrid(
            runsets=[
                wr.Runset(  # without a project: the report's own, which saves a question to the server
                    name=group or "all runs",
                    filters=expr.And(expr.Metric("Group") == group) if group else "",
                    groupby=[f"config.{key}" for key in KEPT_APART],
                    pinned_columns=[*COLUMNS],
                )
            ],
            panels=_placed(charts),
        )

    return wr.Report(
        project=project,
        entity=entity,
        title=_title(group),
        description="Accuracy against inference-time compute.",
        width="fluid",
        blocks=[
            wr.H1("Accuracy of whole runs"),
            wr.P("Bars are means over seeds; the table below them has the runs, their intervals and their mean costs."),
            grid(bars),
            wr.H1("Stopped on the way"),
            wr.P("Each question stopped at a budget, mean over questions: what a search is worth before its end."),
            grid(anytime),
            wr.H1("Against the cost of whole runs"),
            wr.P("What whole runs came to, against what a question cost on average."),
            grid(scatter),
        ],
    )


def workspace(project: str, entity: str, group: str) -> Any:
    """A `wandb_workspaces` workspace, not saved; arguments as for `report`."""
    import wandb_workspaces.expr as expr
    import wandb_workspaces.workspaces as ws

    anytime, scatter, bars = panels()
    sections = (("Accuracy of whole runs", bars), ("Stopped on the way", anytime), ("Against cost", scatter))
    return ws.Workspace(
        project=project,
        entity=entity,
        name=_title(group),
        sections=[ws.Section(name, panels=charts, is_open=True) for name, charts in sections],
        runset_settings=ws.RunsetSettings(
            filters=expr.And(expr.Metric("Group") == group) if group else "",
            groupby=[expr.Config(key) for key in KEPT_APART],
            pinned_columns=[*COLUMNS],
        ),
    )


def spec(layout: Any) -> dict[str, Any]:
    """A report or workspace as W&B stores it."""
    found: dict[str, Any] = layout._to_model().spec.model_dump(by_alias=True, exclude_none=True, mode="json")
    return found


def _title(group: str) -> str:
    return f"Inference-time scaling: {group}"[:128] if group else "Inference-time scaling"


def _placed(charts: Sequence[Any]) -> list[Any]:
    """Charts in rows of three."""
    import wandb_workspaces.reports.v2 as wr

    for i, chart in enumerate(charts):
        chart.layout = wr.Layout(x=i % 3 * 8, y=i // 3 * 6, w=8, h=6)
    return list(charts)


def parse(argv: Sequence[str]) -> Mapping[str, str]:
    """The options.

    Raises:
        UserError: what is no key=value, an unknown key, or a value that is not allowed.
    """
    options = dict(DEFAULTS)
    for argument in argv:
        options |= option(argument, DEFAULTS, CHOICES)
    if not options["project"]:
        raise UserError("project= is empty", "name the project that the runs were logged to, as in project=ponder")
    return options


def _save(options: Mapping[str, str]) -> str:
    """Saves the layout, and says where it is.

    Raises:
        UserError: W&B cannot be reached, or knows no such user.
    """
    try:
        import wandb

        entity = options["entity"] or wandb.Api().default_entity or ""
        layout = _layout(options, entity)
        layout.save()
        return str(layout.url)
    except Exception as error:
        raise UserError(
            f"the {options['kind']} cannot be saved in W&B: {type(error).__name__}: {error}",
            "saving needs an account (`wandb login`) and a network; save=no prints the layout without them",
        ) from error


def _layout(options: Mapping[str, str], entity: str) -> Any:
    made = report if options["kind"] == "report" else workspace
    return made(options["project"], entity, options["group"])


def main(argv: list[str] | None = None) -> None:
    """The command `python -m ponder.scripts.wandb_report`.

    Args:
        argv: arguments, the command's own if None.
    """
    command("wandb_report", USAGE, _report, argv)


def _report(argv: Sequence[str]) -> None:
    options = parse(argv)
    try:
        import wandb_workspaces  # noqa: F401
    except ImportError as error:
        raise UserError("the library wandb-workspaces is missing", "pip install 'ponder[reports]'") from error
    if options["save"] == "no":
        print(json.dumps(spec(_layout(options, options["entity"])), indent=2))
        return
    print(f"saved {_save(options)}")


if __name__ == "__main__":
    main()
