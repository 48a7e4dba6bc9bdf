"""What is built is whole, and is all under the name ponder."""

from __future__ import annotations

import re
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.wheel import ROOMS, ROOT, build_wheel, copy_sources, outside, run

TYPES = {".py", ".yaml", ".json", ".jinja", ".safetensors", ".typed", ".html", ".css", ".js"}


def expected() -> set[str]:
    """Every source, yaml and weight of the checkout, by its name in the wheel."""
    found = {f"ponder/{path.name}" for path in (ROOT / "ponder").iterdir() if path.suffix in TYPES}
    for room in ROOMS:
        paths = (path.relative_to(ROOT) for path in (ROOT / room).rglob("*") if path.suffix in TYPES)
        found |= {f"ponder/{path.as_posix()}" for path in paths}
    return found


def contents(wheel: Path) -> set[str]:
    """The files of a wheel without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_wheel_holds_every_room_yaml_and_weight(built_wheel: Path) -> None:
    assert contents(built_wheel) == expected()
    assert {"ponder/conf/run.yaml", "ponder/search/particle_filtering.py", "ponder/py.typed"} <= contents(built_wheel)
    assert "ponder/tasks/embedded/policy/model.safetensors" in contents(built_wheel)


def test_wheel_names_its_commands_and_licence(built_wheel: Path) -> None:
    with zipfile.ZipFile(built_wheel) as archive:
        (commands,) = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
        assert "ponder = ponder.scripts.run:main" in archive.read(commands).decode()
        assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())


@pytest.mark.parametrize("room", ROOMS)
def test_installed_wheel_gives_ponder_and_nothing_else(room: str, installed_wheel: Path, tmp_path: Path) -> None:
    assert {p.name for p in installed_wheel.iterdir() if p.suffix != ".dist-info"} <= {"ponder", "bin"}
    code = f"import ponder.{room} as room; print(room.__file__)"
    file = run([sys.executable, "-c", code], cwd=tmp_path, env=outside(installed_wheel))
    assert Path(file.strip()).is_relative_to(installed_wheel)
    found = run(
        [sys.executable, "-c", f"from importlib.util import find_spec; print(find_spec({room!r}))"],
        cwd=tmp_path,
        env=outside(installed_wheel),
    )
    assert str(installed_wheel) not in found
    assert str(ROOT) not in found


def test_installed_wheel_imports_a_strategy_but_no_bare_room(installed_wheel: Path, tmp_path: Path) -> None:
    code = (
        "import sys, ponder.search.particle_filtering as module\n"
        "assert not {'torch', 'vllm', 'transformers', 'hydra', 'wandb'} & set(sys.modules), 'heavy at import'\n"
        "try:\n    import search\nexcept ModuleNotFoundError:\n    print(module.__file__)"
    )
    file = run([sys.executable, "-c", code], cwd=tmp_path, env=outside(installed_wheel))
    assert Path(file.strip()).is_relative_to(installed_wheel)


@pytest.mark.slow
def test_source_archive_builds_the_same_wheel(built_wheel: Path, tmp_path: Path) -> None:
    sources = copy_sources(tmp_path / "sources")
    run([sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", str(tmp_path), str(sources)])
    (archive,) = tmp_path.glob("ponder-*.tar.gz")
    assert contents(build_wheel(archive, tmp_path / "dist")) == contents(built_wheel)


def test_lock_meets_the_requirements() -> None:
    from packaging.requirements import Requirement

    locks = (ROOT / "requirements" / name for name in ("cpu.txt", "puzzles.txt"))
    text = "".join(lock.read_text(encoding="utf-8") for lock in locks)
    pins = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)$", text, flags=re.MULTILINE))
    assert len(pins) == sum(bool(line) and not line.startswith("#") for line in text.splitlines())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for line in [*project["dependencies"], *(one for extra in extras if extra != "vllm" for one in extras[extra])]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pins[wanted.name]), line
    assert not {"ponder", "torchvision", "torchaudio", "torchcodec"} & set(pins)
    assert extras["vllm"][0].split("==")[1] == extras["cpu"][0].split("==")[1]
