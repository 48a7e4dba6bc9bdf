r"""Any data set of reasoning-gym by its name: some hundred generators with their own scorers (arXiv 2505.24760).

One row (name=knights_knaves, seed 0, problem 0; the gold answer stays behind):

    {"question": "A very special island is inhabited only by knights and knaves. Knights always tell ...",
     "answer": "Victoria is a knight, and Jacob is a knave.", "metadata": {"difficulty": {...}, ...}}

The form of an answer is the library's: its system prompt (reasoning_gym/utils.py, SYSTEM_PROMPTS) asks for
`<answer>...</answer>`, and the last such pair outside thoughts is read, as its `extract_answer` does; nothing else.
Right is what the data set's `score_answer` gives at least `threshold`.

Problems are drawn and answers scored in processes of their own (`gym_worker.py`) with a fixed hash seed, on which some
generators depend. Scorers that evaluate text run in the sandbox alone.
"""

from __future__ import annotations

import difflib
import json
import os
import queue
import re
import secrets
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from ponder.errors import TaskError, UserError
from ponder.tasks.code import Sandbox
from ponder.tasks.statement import outside
from ponder.types import Problem, Trace

INSTRUCTIONS = """Given a problem, your task is to answer the question by thinking step-by-step in a clear and \
specific manner.
Once you have thought about the reasoning process, provide the answer in the following format:
<answer>answer here</answer>
Do not explain your reasoning inside the answer tags, provide only the final answer. When an example is provided, you \
should strictly follow the format of the output/answer in that example.
"""

_NUMBERS = re.compile(r"[-+*/(). \d]*", re.ASCII)
_LISTS = re.compile(r"[-+A-Z_\d\[\](),.'\"\s]*", re.ASCII)  # no lower case: no name of Python is in reach
_WORDS = "(?:[a-zA-MPRT-Z]|sin|cos|tan|sec|csc|cot|a?sinh|a?cosh|a?tanh|asin|acos|atan|exp|log|ln|sqrt|Abs|pi|Integral)"
_FORMULA = re.compile(rf"(?:(?<![A-Za-z_.]){_WORDS}(?![A-Za-z_])|[-+*/^().,=\d\s])*", re.ASCII)
_ANY = re.compile(r".*", re.DOTALL)

EVALUATES: Mapping[str, re.Pattern[str]] = {
    "binary_matrix": _LISTS,
    "bitwise_arithmetic": _ANY,  # evaluates the problem, not the answer
    "countdown": _NUMBERS,
    "intermediate_integration": _FORMULA,
    "n_queens": _LISTS,
    "number_sorting": _ANY,  # evaluates the gold answer
    "polynomial_multiplication": _FORMULA,
    "puzzle24": _NUMBERS,
    "simple_integration": _FORMULA,
    "spiral_matrix": _LISTS,
    "string_insertion": _LISTS,
}
"""Data sets whose scorers evaluate text, and the form of an answer that is evaluated.

What has another form scores 0: an answer that is a program could write its own score.
"""
FORMS: Mapping[str, re.Pattern[str]] = {
    **EVALUATES,
    "complex_arithmetic": re.compile(r"[-+*.()\s\dijeE]*", re.ASCII),  # its scorer takes nan for right
}
REFUSED = {
    "composite": "mixes other data sets: name them one by one",
    "game_of_life_halting": "takes any answer for right: its scorer compares bool('True') with bool('False')",
}
LIMIT = 5.0
"""Seconds that scoring one answer may take; what takes longer scores 0."""
START = 300.0
"""Seconds in which a worker must have started or drawn one problem, on a busy machine too."""
WORKERS = max(1, min(4, (os.cpu_count() or 1) // 2))
SIZE = 2000
"""Problems that a seed has: the library's `size`, on which one generator (acre) depends."""
WORKER = Path(__file__).with_name("gym_worker.py")


@dataclass(frozen=True)
class ReasoningGym:
    """Problems of one data set of reasoning-gym.

    Problem i of a seed is the same whatever `limit` is, and whatever the hash seed.

    Args:
        name: the data set's name, such as "countdown".
        limit: how many problems.
        seed: which draw.
        threshold: the score from which an answer is right, above 0 to 1. Most scorers know partial credit.
        config: what the data set's configuration shall have instead of its defaults.
        sandbox: where scorers that evaluate text run; None if the data set has none of these.

    Raises:
        UserError: an argument out of range, a data set that needs a sandbox and has none, or one that is refused. When
            the problems are drawn: reasoning-gym is not installed, knows no such data set, or refuses the config.
    """

    name: str = "knights_knaves"
    limit: int = 100
    seed: int = 0
    threshold: float = 1.0
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    sandbox: Sandbox | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.limit, bool) or not isinstance(self.limit, int) or not 1 <= self.limit <= SIZE:
            raise UserError(f"task.limit={self.limit!r} is out of range", f"allowed: 1 to {SIZE}; a seed has no more")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**31:
            raise UserError(f"task.seed={self.seed!r} is out of range", "allowed: a whole number from 0")
        if isinstance(self.threshold, bool) or not 0 < self.threshold <= 1:
            raise UserError(f"task.threshold={self.threshold!r} is out of range", "allowed: above 0, to 1")
        if self.name in REFUSED:
            raise UserError(
                f"task.name={self.name} {REFUSED[self.name]}", "allowed: any other data set: docs/puzzles.md"
            )
        if self.name in EVALUATES and self.sandbox is None:
            raise UserError(
                f"task.name={self.name} evaluates answers, and task.sandbox is null", "give it one: sandbox: ${sandbox}"
            )

    def problems(self) -> Iterator[Problem]:
        """The first `limit` problems of the seed."""
        for index, entry in enumerate(self._entries):
            meta = {"name": self.name, **entry["meta"]}
            yield Problem(f"{self.name}-s{self.seed}-{index:05d}", f"{INSTRUCTIONS}\n{entry['question']}", meta)

    def solution(self, problem: Problem) -> str | None:
        """The data set's own answer in its tags; None where it has none."""
        gold = self._entries[_index(problem)]["gold"]
        return None if gold is None else f"<answer>{gold}</answer>"

    def answer(self, trace: Trace) -> str | None:
        """What the last <answer>...</answer> holds, without white space around it; None if there is none."""
        for piece in reversed(outside(trace.text).split("</answer>")[:-1]):
            _, opened, content = piece.partition("<answer>")
            if opened:
                return content.strip() or None
        return None

    def grade(self, problem: Problem, answer: str | None) -> bool:
        """Whether the answer's score reaches the threshold."""
        return answer is not None and self.score(problem, answer) >= self.threshold - 1e-9

    def score(self, problem: Problem, answer: str) -> float:
        """The data set's own score of an answer, 0 to 1; 0 if it fails over it or takes too long.

        Raises:
            TaskError: no worker could be started.
        """
        return self._scored(_index(problem), answer)

    @cached_property
    def _scored(self) -> Callable[[int, str], float]:
        return lru_cache(maxsize=100_000)(self._score)

    def _score(self, index: int, answer: str) -> float:
        form = FORMS.get(self.name)
        if form is not None and not form.fullmatch(answer):
            return 0.0
        asked = {"score": index, "answer": answer, "mark": secrets.token_hex(16)}
        if self.name not in EVALUATES:
            return float((self._ask(asked, LIMIT) or {"score": 0}).get("score", 0))
        assert self.sandbox is not None
        lines = f"{json.dumps(self._settings, default=_plain)}\n{json.dumps(asked)}\n"
        ran = self.sandbox.run(WORKER.read_text(encoding="utf-8"), lines)
        if ran.out.startswith('{"missing"'):
            raise UserError(f"task.name={self.name}: the sandbox has no reasoning-gym", "set sandbox.packages=true")
        start, end = '{"score": ', f', "mark": "{asked["mark"]}"}}'
        told = [line for line in ran.out.splitlines() if line.startswith(start) and line.endswith(end)]
        return float(told[0][len(start) : -len(end)]) if ran.ended == "exited" and len(told) == 1 else 0.0

    @property
    def _settings(self) -> dict[str, Any]:
        settings = {"name": self.name, "seed": self.seed, "size": SIZE, "config": self.config}
        return {**settings, "evaluates": self.name in EVALUATES}

    @cached_property
    def _entries(self) -> list[dict[str, Any]]:
        """The problems with their gold answers, as a worker tells them."""
        entries = []
        for index in range(self.limit):
            entry = self._ask({"entry": index}, START)
            if entry is None or "failed" in entry:
                why = "a worker of reasoning-gym ended" if entry is None else entry["failed"]
                raise UserError(
                    f"task.name={self.name}: problem {index} cannot be drawn: {why}",
                    "lower task.limit, or mend task.config",
                )
            entries.append(entry)
        if self.name in EVALUATES:
            self.score(Problem(f"{self.name}-0", ""), " ")  # tells now what is wrong with the sandbox
        return entries

    @cached_property
    def _idle(self) -> queue.LifoQueue[_Worker | None]:
        """Workers that wait for work, None for one that has yet to start."""
        idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(WORKERS):
            idle.put(None)
        return idle

    def _ask(self, asked: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """A worker's reply; None if it took longer, or died over it."""
        worker = self._idle.get()
        try:
            if worker is None:
                worker = _Worker()
                _checked(worker.ask(self._settings, START), self.name)
            reply = worker.ask(asked, seconds)
            if reply is None:
                worker = None
            return reply
        except (UserError, TaskError):
            worker = None
            raise
        finally:
            self._idle.put(worker)


class _Worker:
    """A process that runs gym_worker.py; it ends with this object, or with this process."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-B", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the parent
        )
        self.end = weakref.finalize(self, _end, self.process)

    def ask(self, asked: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """Its reply; None, and its end, if it gives none in time."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        clock = threading.Timer(seconds, self.process.kill)
        clock.daemon = True
        clock.start()
        try:
            self.process.stdin.write(json.dumps(asked, default=_plain).encode() + b"\n")
            self.process.stdin.flush()
            reply: dict[str, Any] = json.loads(self.process.stdout.readline())
            return reply
        except (OSError, ValueError):
            self.end()
            return None
        finally:
            clock.cancel()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:  # what was not written yet can no longer be
            continue


def _checked(reply: dict[str, Any] | None, name: str) -> None:
    """Tells what a worker could not begin with."""
    if reply is None:
        raise TaskError("a process of reasoning-gym could not be started")
    if "missing" in reply:
        raise UserError(f"task=reasoning_gym: {reply['missing']}", "pip install 'ponder[puzzles]'")
    if "unknown" in reply:
        known = reply["unknown"]
        close = difflib.get_close_matches(name, known, n=5, cutoff=0.4) or known
        raise UserError(f"task.name={name!r} is no data set of reasoning-gym", f"close to it: {', '.join(close)}")
    if "refused" in reply:
        raise UserError(*reply["refused"])
    if "ready" not in reply:
        raise TaskError(f"reasoning-gym failed: {reply.get('failed')}")


def _index(problem: Problem) -> int:
    return int(problem.id.rpartition("-")[2])


def _plain(value: Any) -> Any:
    """What json does not know: mappings and lists of a configuration file."""
    return dict(value) if isinstance(value, Mapping) else list(value)
