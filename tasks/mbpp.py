r"""MBPP: mostly basic Python problems, a sentence and three asserts each (arXiv 2108.07732).

One row of the test split:

    {"task_id": 11, "text": "Write a python function to remove first and last occurrence of a given character from the
     string.", "code": "def remove_Occ(s,ch): \r\n    for i in range(len(s)): ...", "test_list":
     ["assert remove_Occ(\"hello\",\"l\") == \"heo\"", ...], "test_setup_code": "", "challenge_test_list": [...]}

The prompt is the paper's; it shows the asserts by which the solution is graded, since they name the function. The
variant "sanitized" has `prompt` for `text` and `test_imports` for `test_setup_code`.
"""

from __future__ import annotations

from typing import Literal

from ponder.errors import UserError
from ponder.tasks.code import Exercise, Programs, Sandbox
from ponder.tasks.loading import Row, first, rows

PROMPT = """You are an expert Python programmer, and here is your task: {text} Your code should pass these tests:

{tests}

Write the code in one block, between ```python and ```."""


def mbpp(
    sandbox: Sandbox,
    path: str | None = None,
    variant: Literal["full", "sanitized"] = "full",
    split: str = "test",
    limit: int | None = None,
) -> Programs:
    """The problems of MBPP.

    Args:
        sandbox: where solutions run.
        path: a file of rows; None loads google-research-datasets/mbpp with the package datasets.
        variant: of the hub's data set.
        split: of the hub's data set: test has 500 problems, 257 if sanitized.
        limit: the first problems only; None for all.

    Raises:
        UserError: an unknown variant, no such file, or a row that is none.
    """
    if variant not in ("full", "sanitized"):
        raise UserError(f"task.variant={variant!r} is unknown", "allowed: full, sanitized")
    hub = ("google-research-datasets/mbpp", variant)
    found = rows(
        path,
        {"task_id": int, "code": str, "test_list": list},
        hub=hub,
        split=split,
        id_field="task_id",
        check=_checked,
    )
    return Programs([_exercise(row) for row in found[: first(limit)]], sandbox)


def _checked(row: Row) -> None:
    if not isinstance(row.get("text") or row.get("prompt"), str):
        raise ValueError("neither text nor prompt is a text")
    if not row["test_list"] or not all(isinstance(one, str) for one in row["test_list"]):
        raise ValueError("test_list is a list of asserts")


def _exercise(row: Row) -> Exercise:
    before = row.get("test_imports") or row.get("test_setup_code") or ""
    return Exercise(
        id=f"mbpp-{row['task_id']}",
        prompt=PROMPT.format(text=row.get("text") or row["prompt"], tests="\n".join(row["test_list"])),
        tests="\n".join(row["test_list"]),
        setup=before if isinstance(before, str) else "\n".join(before),
        solution=row["code"].replace("\r\n", "\n"),
    )
