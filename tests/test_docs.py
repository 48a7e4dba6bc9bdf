"""The tables of strategies and verifiers say what is in the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.strategies import SEARCHES
from tests.test_imports import bodies

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| \[`(\w+)`\]\((\w+\.md)\) \| (.+?) \| `(\w+\.py)` \| (\d+) \|", re.MULTILINE)
TABLE = {found[0]: found[1:] for found in ROW.findall((ROOT / "docs" / "strategies.md").read_text(encoding="utf-8"))}


def test_every_strategy_has_a_row_and_every_row_a_strategy() -> None:
    assert sorted(TABLE) == sorted(path.stem for path in SEARCHES)


@pytest.mark.parametrize("path", SEARCHES, ids=lambda path: path.stem)
def test_a_row_names_page_file_and_lines(path: Path) -> None:
    page, paper, file, lines = TABLE[path.stem]
    module, _, name = str(OmegaConf.select(OmegaConf.load(path), "_target_")).rpartition(".")
    assert file == f"{module.rpartition('.')[2]}.py"
    source = (ROOT / "search" / file).read_text(encoding="utf-8")
    assert int(lines) == dict(bodies(source))[name]
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for number in re.findall(r"abs/(\d{4}\.\d{5})", paper):
        assert number in text


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (ROOT / target).exists(), target


VERIFIER = re.compile(r"^\| \[`(\w+)`\]\((\w+\.md)\) \| (.+?) \| `(\w+\.py)` \|", re.MULTILINE)
VERIFIERS = {
    found[0]: found[1:] for found in VERIFIER.findall((ROOT / "docs" / "verifiers.md").read_text(encoding="utf-8"))
}


def test_every_verifier_has_a_row_that_names_its_page_and_file() -> None:
    yamls = {path.stem: path for path in (ROOT / "conf" / "verifier").glob("*.yaml") if path.stem != "none"}
    assert sorted(VERIFIERS) == sorted(yamls)
    for name, (page, paper, file) in VERIFIERS.items():
        target = str(OmegaConf.select(OmegaConf.load(yamls[name]), "_target_"))
        assert file == f"{target.split('.')[2]}.py", name
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        assert name in text, f"{page} does not name {name}"
        for number in re.findall(r"abs/(\d{4}\.\d{5})", paper):
            assert number in text, f"{page} does not name {number}"


TASK = re.compile(r"^\| \[`(\w+)`\]\(([\w.]+)\) \| [^|]+ \| `(\w+\.py)` \|", re.MULTILINE)


def test_every_task_has_a_row_that_names_its_page_and_file() -> None:
    rows = {found[0]: found[1:] for found in TASK.findall((ROOT / "docs" / "tasks.md").read_text(encoding="utf-8"))}
    yamls = {path.stem: path for path in (ROOT / "conf" / "task").glob("*.yaml")}
    assert sorted(rows) == sorted(yamls)
    for name, (page, file) in rows.items():
        target = str(OmegaConf.select(OmegaConf.load(yamls[name]), "task._target_"))
        assert file == f"{target.split('.')[2]}.py", name
        assert name in (ROOT / "docs" / page).read_text(encoding="utf-8"), f"{page} does not name {name}"
