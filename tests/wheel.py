"""The built wheel, as a user gets it: a pytest plugin, loaded by tests/conftest.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("search", "verifiers", "samplers", "tasks", "conf", "scripts")


def copy_sources(to: Path) -> Path:
    """Copies what a build reads, links as links, so that no build folder of the checkout takes part."""
    to.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, to)
    for name in ("ponder", *ROOMS):
        shutil.copytree(ROOT / name, to / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return to


def build_wheel(sources: Path, into: Path) -> Path:
    """Builds a wheel without network and returns its path."""
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(into), str(sources))
    (wheel,) = into.glob("ponder-*.whl")
    return wheel


def pip(command: str, *arguments: str) -> None:
    """Runs pip without network; its output is shown if it fails."""
    run([sys.executable, "-m", "pip", command, "--no-index", "--no-deps", "--quiet", *arguments])


def run(command: list[str], **options: object) -> str:
    """Runs a command and returns what it printed; fails the test with all of its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def outside(installed: Path) -> Mapping[str, str]:
    """The environment of a process that sees the installed wheel before any checkout."""
    return {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="session")
def built_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel file, built once a session."""
    folder = tmp_path_factory.mktemp("wheel")
    return build_wheel(copy_sources(folder / "sources"), folder / "dist")


@pytest.fixture(scope="session")
def installed_wheel(built_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed into it; for PYTHONPATH of processes outside the repository."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--target", str(folder), str(built_wheel))
    return folder
