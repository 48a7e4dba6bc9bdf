"""Nothing that a model wrote is executed outside the sandbox: our sources have no call that could."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.test_imports import relative, sources

NAMES = {"eval", "exec", "compile", "__import__"}
DOTTED = {
    *("os.system", "os.popen", "pickle.load", "pickle.loads", "marshal.loads", "shelve.open"),
    *("yaml.load", "yaml.unsafe_load", "torch.load", "sympy.sympify", "sympy.parse_expr", "runpy.run_path"),
}


def calls(source: str) -> set[str]:
    """Calls that run text: by their names, and every subprocess with a shell."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            shell = any(one.arg == "shell" and ast.unparse(one.value) != "False" for one in node.keywords)
            if name in NAMES | DOTTED or shell:
                found.add(name)
    return found


@pytest.mark.parametrize("path", [one for one in sources() if not relative(one).startswith("tests/")], ids=relative)
def test_no_source_runs_text(path: Path) -> None:
    assert calls(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    "text", ["eval(x)", "import os\nos.system(x)", "subprocess.run(x, shell=True)", "pickle.loads(x)"]
)
def test_such_a_call_is_seen(text: str) -> None:
    assert len(calls(text)) == 1
