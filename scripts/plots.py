"""Figures of scaling curves: PNG and SVG for paper, one interactive HTML file that asks for nothing from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from ponder.errors import UserError
from ponder.scripts.points import Point
from ponder.scripts.results import COVERAGE, warn

AXES = {
    "new_tokens": "new tokens per question (policy)",
    "all_tokens": "computed tokens per question (all models, in policy-sized tokens)",
    "n": "N, samples or particles per question",
    "verifier_tokens": "verifier tokens per question",
    "verifier_calls": "verifier calls per question",
    "flops": "FLOPs per question (estimate)",
    "seconds": "seconds per question",
}
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")  # Okabe and Ito
MARKERS = "osD^vPX*"
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")  # the same, in plotly
STYLES = ("-", "--", "-.")
DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}


def curves(points: Sequence[Point]) -> dict[str, list[Point]]:
    """The points by method, in a fixed order."""
    found: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda p: p.method):
        found.setdefault(point.method, []).append(point)
    return found


def look(i: int, method: str) -> tuple[str, int, str]:
    """Colour, index of the marker, and line style of the i-th method."""
    style = ":" if method.endswith((COVERAGE, "(anytime)")) else STYLES[i // len(PALETTE) % len(STYLES)]
    return PALETTE[i % len(PALETTE)], i % len(MARKERS), style


def line(points: Sequence[Point], x: str, y: str) -> tuple[list[float], list[float], list[float], list[float]]:
    """Where, and accuracy or error with the ends of its interval; points that have no x are left out."""
    drawn = sorted((p for p in points if getattr(p, x)), key=lambda p: float(getattr(p, x)))
    middle, low, high = ([getattr(p, name) for p in drawn] for name in ("accuracy", "low", "high"))
    if y == "error":
        middle, low, high = ([1.0 - value for value in ends] for ends in (middle, high, low))
    return [float(getattr(p, x)) for p in drawn], middle, low, high


def plot(points: Sequence[Point], xs: Sequence[str], y: str, title: str, out: Path, name: str = "curves") -> list[Path]:
    """Accuracy (or error) against each x on a log axis, with interval bands, as PNG and SVG.

    Args:
        points: what to draw; points whose x is unknown or 0 have no place on a log axis and are left out.
        xs: some of AXES, one panel each.
        y: "accuracy" or "error".
        title: the figure's title.
        out: folder, made if missing.
        name: of the files.

    Raises:
        UserError: the folder cannot be written to.
    """
    figure = Figure(figsize=(3.9 + 5.6 * len(xs), 5.2), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(xs), squeeze=False, sharey=True)[0]
    named = False
    for x, axes in zip(xs, panels, strict=True):
        for i, (method, of) in enumerate(curves(points).items()):
            where, middle, low, high = line(of, x, y)
            if not where:
                warn(f"{method} has no {x} and is not drawn")
                continue
            color, marker, style = look(i, method)
            drawn: dict[str, Any] = {"color": color, "marker": MARKERS[marker]}
            label = None if named else method
            if len(where) == 1:
                bars = [[max(0.0, middle[0] - low[0])], [max(0.0, high[0] - middle[0])]]  # rounding may leave -1e-18
                axes.errorbar(where, middle, yerr=bars, capsize=4, linestyle="none", label=label, **drawn)
            else:
                axes.plot(where, middle, markersize=5, linestyle=style, label=label, **drawn)
                axes.fill_between(where, low, high, color=color, alpha=0.12, linewidth=0)
        named = named or bool(axes.get_legend_handles_labels()[1])
        if x == "n":
            sizes(axes, points)
        else:
            axes.set_xscale("log")
        axes.set(xlabel=AXES[x])
        axes.grid(True, which="major", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set(ylabel=f"{y} (95 % interval)")
    figure.suptitle(title, fontsize=11)
    if named:
        figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return save(figure, out, name)


def sizes(axes: Any, points: Sequence[Point]) -> None:
    """A horizontal axis of N: doublings are equally far, and the sizes are written out."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({p.n for p in points}))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())


def save(figure: Figure, out: Path, name: str) -> list[Path]:
    """The figure as NAME.png and NAME.svg, the same bytes for the same figure.

    Raises:
        UserError: the folder cannot be written to.
    """
    files = [out / f"{name}.png", out / f"{name}.svg"]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({"svg.hashsalt": "ponder"}):
            figure.savefig(files[0], metadata={"Software": None})
            figure.savefig(files[1], metadata={"Date": None})
    except OSError as error:
        raise unwritable(out, error) from error
    return files


def unwritable(out: Path, error: OSError) -> UserError:
    """What to raise where a figure cannot be written."""
    return UserError(f"out={out}: cannot write the figure ({error})", "give a folder that can be written to")


def interactive(points: Sequence[Point], first: str, y: str, title: str, out: Path) -> Path:
    """The curves as curves.html: choose the axis, hide and show methods, read every point. Needs no network.

    Args:
        points: what to draw.
        first: the axis shown at first, one of AXES.
        y: "accuracy" or "error".
        title: the figure's title.
        out: folder, made if missing.
    """
    import plotly.graph_objects as go

    figure, offered = go.Figure(), [first, *(x for x in AXES if x != first)]
    lines: Mapping[str, list[Any]] = {x: [line(of, x, y) for of in curves(points).values()] for x in offered}
    for i, (method, of) in enumerate(curves(points).items()):
        color, marker, style = look(i, method)
        where, middle, low, high = lines[first][i]
        figure.add_scatter(
            x=where,
            y=middle,
            error_y=_bars(middle, low, high),
            customdata=_told(of, first),
            name=method,
            mode="lines+markers",
            line={"color": color, "dash": DASHES[style]},
            marker={"symbol": SYMBOLS[marker], "size": 8},
            hovertemplate="%{customdata}<extra>%{fullData.name}</extra>",
        )
    buttons = [
        {
            "label": x,
            "method": "update",
            "args": [
                {
                    "x": [where for where, *_ in lines[x]],
                    "y": [middle for _, middle, *_ in lines[x]],
                    "error_y": [_bars(middle, low, high) for _, middle, low, high in lines[x]],
                    "customdata": [_told(of, x) for of in curves(points).values()],
                },
                {"xaxis.title.text": AXES[x]},
            ],
        }
        for x in offered
    ]
    figure.update_layout(
        title={"text": title},
        template="simple_white",
        xaxis={"type": "log", "title": {"text": AXES[first]}, "showgrid": True},
        yaxis={"title": {"text": f"{y} (95 % interval)"}, "showgrid": True},
        updatemenus=[{"buttons": buttons, "x": 1.02, "xanchor": "left", "y": 1.12}],
        hovermode="closest",
    )
    page = figure.to_html(include_plotlyjs=True, full_html=True, div_id="curves", config={"displaylogo": False})
    file = out / "curves.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise unwritable(out, error) from error
    return file


def _bars(middle: Sequence[float], low: Sequence[float], high: Sequence[float]) -> dict[str, Any]:
    up = [max(0.0, top - value) for value, top in zip(middle, high, strict=True)]
    down = [max(0.0, value - bottom) for value, bottom in zip(middle, low, strict=True)]
    return {"type": "data", "array": up, "arrayminus": down, "thickness": 1, "width": 3}


def _told(points: Sequence[Point], x: str) -> list[str]:
    """What the page tells of each point under the pointer."""
    drawn = sorted((p for p in points if getattr(p, x)), key=lambda p: float(getattr(p, x)))
    return [
        f"N={p.n} {p.ceilings}<br>accuracy {p.accuracy:.3f} [{p.low:.3f}, {p.high:.3f}]<br>"
        f"new tokens {p.new_tokens:,.0f}, verifier tokens {p.verifier_tokens:,.0f}<br>FLOPs {p.flops:.3g}<br>"
        f"{p.questions} questions, {p.seeds} seeds, {p.source}"
        for p in drawn
    ]
