"""Draws and scores problems of reasoning-gym in a process of its own: a program, never imported by a task.

`reasoning_gym.py` starts it with a fixed hash seed, or runs it in the sandbox. Lines of JSON come in and go out:

    {"name": "countdown", "seed": 0, "size": 100, "config": {}, "evaluates": true}  ->  {"ready": true}
    {"entry": 3}                             ->  {"question": "...", "gold": "...", "meta": {...}}
    {"score": 3, "answer": "1 + 2", "mark": "..."}  ->  {"score": 0.05, "mark": "..."}

Needs the standard library and reasoning-gym only, so that its text alone is a program for the sandbox.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import random
import resource
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

MEMORY = 4 << 30
"""Bytes of address space."""
EXAMPLES = ("example_answer", "example_correct_answer", "possible_answer")
"""Where an entry without the one right answer has one of several."""
_scoring = False


class Refused(Exception):
    """What the user asked for does not exist; says what does."""


def guard(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: while an answer is scored, nothing is compiled, evaluated, written, started or connected."""
    if not _scoring:
        return
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event.partition(".")[0] in ("compile", "exec", "os", "subprocess", "socket", "ctypes", "shutil"):
        raise PermissionError(f"{event} is not allowed while an answer is scored")


def limit() -> None:
    """No more memory than is needed, no files."""
    for kind, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def made(name: str, seed: int, size: int, config: dict[str, Any]) -> Any:
    """The data set.

    Raises:
        Refused: no such data set, no such key of its configuration, or a value that it does not allow.
    """
    from reasoning_gym.factory import DATASETS, create_dataset

    if name not in DATASETS:
        raise Refused("unknown", sorted(DATASETS))
    keys = [field.name for field in dataclasses.fields(DATASETS[name][1]) if field.name not in ("seed", "size")]
    if wrong := sorted(set(config) - set(keys)):
        raise Refused("refused", [f"task.config.{wrong[0]} is unknown to {name}", f"allowed: {', '.join(keys)}"])
    try:
        return create_dataset(name, seed=seed, size=size, **config)
    except Exception as error:
        why = f"task.config={config} is refused by {name}: {type(error).__name__}: {error}"
        raise Refused("refused", [why, "its source in reasoning_gym says what is allowed"]) from error


class Gym:
    """One data set and its entries."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.data = made(settings["name"], settings["seed"], settings["size"], settings["config"])
        self.seed = settings["seed"]
        self.evaluates = settings["evaluates"]
        self.entry = functools.lru_cache(maxsize=None)(self._entry)

    def _entry(self, index: int) -> dict[str, Any]:
        import numpy

        random.seed(f"{self.seed}/{index}")  # list_functions draws from these
        numpy.random.seed(index)
        entry: dict[str, Any] = self.data[index]
        return entry

    def told(self, index: int) -> dict[str, Any]:
        """What the task must know of an entry; no gold answer in `meta`."""
        entry = self.entry(index)
        found = [entry["metadata"][name] for name in EXAMPLES if entry["metadata"].get(name) is not None]
        gold = entry["answer"] if entry["answer"] is not None else found[0] if found else None
        meta = {"category": self.data.category}
        if entry["metadata"].get("difficulty") is not None:
            meta["difficulty"] = entry["metadata"]["difficulty"]
        text = gold if gold is None or isinstance(gold, str) else json.dumps(gold)
        return {"question": entry["question"], "gold": text, "meta": meta}

    def score(self, index: int, answer: str) -> float:
        """The data set's own score, 0 if it fails over the answer."""
        global _scoring
        entry = self.entry(index)
        _scoring = not self.evaluates
        try:
            return float(self.data.score_answer(answer, entry))
        except Exception:  # of any kind: the answer is whatever a model wrote
            return 0.0
        finally:
            _scoring = False


def main() -> None:
    """Answers each line of standard input until it ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    warnings.simplefilter("ignore")
    gym: Gym | None = None
    with open(os.devnull, "w", encoding="utf-8") as quiet, redirect_stdout(quiet), redirect_stderr(quiet):
        for line in sys.stdin:
            asked = json.loads(line)
            try:
                if gym is None:
                    gym = Gym(asked)
                    limit()
                    sys.addaudithook(guard)
                    reply: dict[str, Any] = {"ready": True}
                elif "entry" in asked:
                    reply = gym.told(asked["entry"])
                else:
                    reply = {"score": gym.score(asked["score"], asked["answer"]), "mark": asked["mark"]}
            except ImportError as error:
                reply = {"missing": str(error)}
            except Refused as error:
                reply = dict([error.args])
            except Exception as error:
                reply = {"failed": f"{type(error).__name__}: {error}"}
            out.write(json.dumps(reply, default=str) + "\n")


if __name__ == "__main__":
    main()
