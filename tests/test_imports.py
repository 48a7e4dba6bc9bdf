"""The rule of imports and the limits of size, read from the sources.

Dependencies point one way: types, errors <- ledger, protocols <- batching <- context <- runner <- scripts.
Rooms know the contracts, never each other; heavy libraries load when a part is made, not when it is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("search", "verifiers", "samplers", "tasks", "conf", "scripts")
FOLDERS = (*ROOMS, "ponder", "tests", "benchmarks")

CORE = {
    "types": 0,
    "errors": 0,
    "ledger": 1,
    "protocols": 1,
    "batching": 2,
    "context": 3,
    "runner": 4,
    "__init__": 5,
}
"""A core file imports only core files of a lower rank."""

FRONT_DOOR = "ponder.scripts.solve."
"""What `import ponder` offers besides the core; no core file itself imports it."""

CONTRACTS = {"types", "protocols", "errors"}
ALLOWED = {
    "search": CONTRACTS | {"search", "context"},
    "verifiers": CONTRACTS | {"verifiers"},
    "samplers": CONTRACTS | {"samplers"},
    "tasks": CONTRACTS | {"tasks"},
    "conf": set(),
}

HEAVY = {"torch", "vllm", "transformers"}
HEAVY_FILES = {
    "samplers/vllm_engine.py",
    "samplers/vllm_start.py",
    "samplers/hf.py",
    "samplers/flops.py",
    "verifiers/prm.py",
    "verifiers/prm_transformers.py",
    "verifiers/prm_vllm.py",
    "verifiers/rewards.py",
}
"""Where torch, vllm and transformers may be imported, inside functions."""

ONLY_SCRIPTS = {"hydra", "omegaconf", "wandb", "wandb_workspaces", "plotly"}


class Import(NamedTuple):
    """One imported module: its dotted name, and whether it loads with the importing module."""

    name: str
    line: int
    at_once: bool


def imports(source: str) -> Iterator[Import]:
    """All imports of a source but those for type checkers only; `from a import b` gives a.b."""

    def walk(node: ast.AST, at_once: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                for other in child.orelse:
                    yield from walk(ast.Module([other], []), at_once)
            elif isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, at_once) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                module = "." * child.level + (child.module or "")
                yield from (Import(f"{module}.{alias.name}", child.lineno, at_once) for alias in child.names)
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, at_once and not inside)

    return walk(ast.parse(source), True)


def broken_rules(path: str, source: str) -> list[str]:
    """What a file breaks of the rule of imports.

    Args:
        path: from the root of the repository, with forward slashes.
        source: its text.

    Returns:
        One line for each forbidden import.
    """
    room, _, rest = path.partition("/")
    broken = []
    for name, line, at_once in imports(source):
        top, *parts = name.split(".")
        target = parts[0] if parts else "__init__"
        why = None
        if top == "":
            why = "a relative import: write ponder.<room>"
        elif top in ROOMS:
            why = f"a bare import: write ponder.{top}"
        elif room in ("tests", "benchmarks", "scripts"):
            continue
        elif top in ONLY_SCRIPTS:
            why = f"only scripts import {top}"
        elif top in HEAVY and path not in HEAVY_FILES:
            why = f"{top} belongs to {', '.join(sorted(HEAVY_FILES))}"
        elif top in HEAVY and at_once:
            why = f"{top} is imported inside the function that needs it"
        elif top == "ponder" and room in ALLOWED and target not in ALLOWED[room]:
            why = f"{room} imports only {', '.join(sorted(ALLOWED[room]))}"
        elif path == "ponder/__init__.py" and name.startswith(FRONT_DOOR):
            continue
        elif top == "ponder" and room == "ponder" and CORE.get(target, 99) >= CORE[Path(rest).stem]:
            why = "core files depend one way: " + " <- ".join(CORE)
        if why:
            broken.append(f"{path}:{line} imports {name}; {why}")
    return broken


def sources() -> list[Path]:
    """Every Python file once, by its real path."""
    found = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py")]
    return sorted({p.resolve() for p in found if "__pycache__" not in p.parts})


def relative(path: Path) -> str:
    """A path from the root, with forward slashes."""
    return path.relative_to(ROOT.resolve()).as_posix()


def lines(path: Path) -> int:
    """How many lines a file has."""
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", sources(), ids=relative)
def test_imports_keep_the_rule(path: Path) -> None:
    assert broken_rules(relative(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("search/beam.py", "from ponder.samplers.hf import HFSampler"),
        ("search/beam.py", "from ponder import samplers"),
        ("search/beam.py", "import ponder.runner"),
        ("search/beam.py", "from ponder import Problem"),
        ("search/beam.py", "from search.weights import odds"),
        ("search/beam.py", "from .weights import odds"),
        ("search/beam.py", "def f():\n    import torch"),
        ("search/beam.py", "import wandb"),
        ("verifiers/prm.py", "from ponder.context import Context"),
        ("verifiers/prm.py", "import torch"),
        ("verifiers/prm.py", "try:\n    from vllm import LLM\nexcept ImportError:\n    pass"),
        ("verifiers/prm.py", "class A:\n    import transformers"),
        ("verifiers/rule.py", "def f():\n    from ponder.tasks.arithmetic import Chain"),
        ("samplers/chat.py", "def f():\n    from transformers import AutoTokenizer"),
        ("samplers/hf.py", "from hydra.utils import instantiate"),
        ("tasks/gsm8k.py", "import conf"),
        ("ponder/types.py", "from ponder.ledger import Ledger"),
        ("ponder/ledger.py", "from ponder.protocols import Until"),
        ("ponder/context.py", "from ponder.runner import run"),
        ("ponder/context.py", "from ponder.search.select import argmax"),
        ("ponder/runner.py", "import torch"),
        ("ponder/runner.py", "from ponder.scripts.solve import solve"),
        ("ponder/__init__.py", "from ponder.scripts.run import main"),
        ("ponder/runner.py", "from omegaconf import OmegaConf"),
        ("tests/test_it.py", "import tasks.arithmetic"),
        ("scripts/run.py", "from verifiers import check"),
    ],
)
def test_a_broken_rule_is_seen(path: str, source: str) -> None:
    assert len(broken_rules(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("search/beam.py", "from ponder.context import Context\nfrom ponder.search.weights import odds\nimport numpy"),
        ("verifiers/prm.py", "def f():\n    import torch\n    from vllm import LLM"),
        ("verifiers/prm.py", "if TYPE_CHECKING:\n    import torch"),
        ("ponder/protocols.py", "if TYPE_CHECKING:\n    from ponder.context import Context"),
        ("ponder/runner.py", "from ponder.context import Report\nfrom ponder.types import Cost"),
        ("ponder/__init__.py", "from ponder.scripts.solve import solve\nfrom ponder.types import Cost"),
        ("scripts/run.py", "import hydra\nimport torch\nfrom ponder.search.select import argmax"),
        ("tasks/gsm8k.py", "from re import search"),
    ],
)
def test_a_kept_rule_passes(path: str, source: str) -> None:
    assert broken_rules(path, source) == []


def test_the_core_is_small() -> None:
    assert sum(lines(path) for path in (ROOT / "ponder").glob("*.py")) < 1300


@pytest.mark.parametrize("room", ["ponder", "search", "verifiers", "samplers", "tasks"])
def test_no_file_is_long(room: str) -> None:
    long = {relative(p): lines(p) for p in sources() if relative(p).startswith(f"{room}/") and lines(p) > 300}
    assert long == {}


def bodies(source: str) -> Iterator[tuple[str, int]]:
    """The length of each strategy's `__call__` in lines, without signature and docstring."""
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    for node in classes:
        for method in node.body:
            if isinstance(method, ast.AsyncFunctionDef) and method.name == "__call__":
                body = method.body[1:] if ast.get_docstring(method) else method.body
                yield node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_a_strategy_is_its_pseudocode() -> None:
    found = [one for path in (ROOT / "search").glob("*.py") for one in bodies(path.read_text(encoding="utf-8"))]
    assert len(found) >= 3, "no strategies seen"
    assert {name: length for name, length in found if length > 30} == {}
