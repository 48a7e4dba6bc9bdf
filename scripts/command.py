"""What the commands that read stored rows share: folders and key=value arguments, mistakes, a console."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from ponder.errors import UserError


def arguments(
    name: str, argv: Sequence[str], defaults: Mapping[str, str], choices: Mapping[str, Sequence[str]]
) -> tuple[list[str], dict[str, str]]:
    """Folders or files (- is standard input) and options; a folder's name may hold "=" (sweeps make such).

    Args:
        name: the command.
        argv: its arguments.
        defaults: every key and what it is if not given.
        choices: of some keys, the values allowed.

    Raises:
        UserError: an unknown key, a value that is not allowed, or no folder.
    """
    dirs: list[str] = []
    options = dict(defaults)
    for argument in argv:
        key, equals, _ = argument.partition("=")
        folder = argument == "-" or Path(argument).exists() or not (equals or argument.startswith("-"))
        if folder and not (equals and key in defaults):
            dirs.append(argument)
        else:
            options |= option(argument, defaults, choices)
    if not dirs:
        raise UserError("no folder given", f"name at least one: {name} DIR... (see --help)")
    return dirs, options


def option(argument: str, defaults: Mapping[str, str], choices: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """One key=value, as a dictionary of it; arguments and errors as for `arguments`."""
    key, equals, value = argument.partition("=")
    if not equals or key not in defaults:
        raise UserError(f"unknown key {key!r} in {argument!r}", f"allowed keys: {', '.join(defaults)}")
    if value not in choices.get(key, [value]):
        raise UserError(f"{argument}: unknown value {value!r}", f"allowed for {key}: {', '.join(choices[key])}")
    return {key: value}


def command(name: str, usage: str, work: Callable[[Sequence[str]], None], argv: Sequence[str] | None) -> None:
    """Runs a console command: its help, or its work, whose `UserError` is one message and exit code 2.

    Args:
        name: the command.
        usage: its help.
        work: called with the arguments.
        argv: the arguments, the process's own if None.
    """
    argv = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(argv):
        print(usage)
        return
    try:
        work(argv)
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def console() -> Console:
    """Where tables are printed."""
    shown = Console(markup=False, highlight=False)
    if not shown.is_terminal:
        shown.width = 200  # a pipe has no width: never cut columns there
    return shown
