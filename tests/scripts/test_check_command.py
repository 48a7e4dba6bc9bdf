"""ponder-check: what a verifier's contract was tried with, and what came of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ponder.scripts import check
from tests.scripts.command import user_folder
from tests.scripts.test_rescore import here, refused

KEPT = {
    "graded": """\
class Graded:
    range = (0.0, 1.0)

    def __init__(self, bonus=0.0):
        self.bonus = bonus

    async def score(self, traces):
        return [min(1.0, len(t.text) % 9 / 10 + self.bonus) for t in traces]
""",
    "ranked": """\
class Ranked:
    def compare(self, traces):
        order = sorted({t.text for t in traces})
        return [float(order.index(t.text)) for t in traces]
""",
}

BROKEN = {
    "first": (
        """\
class First:
    def compare(self, traces):
        return [1.0 if place == 0 else 0.0 for place in range(len(traces))]
""",
        ("First.compare", "order"),
    ),
    "wide": (
        """\
class Wide:
    range = (0.0, 1.0)

    def score(self, traces):
        return [2.0 for t in traces]
""",
        ("Wide.score returned 2", "Wide.range", "declare the range that they have"),
    ),
    "mute": ("class Mute:\n    pass\n", ("Mute has no method score", "def score")),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_verifier_that_keeps_the_contract(name: str, tmp_path: Path) -> None:
    user_folder(tmp_path, "verifier", name, KEPT[name], f"_target_: {name}.{name.title()}\n")
    bonus = ["+verifier.bonus=0.05"] if name == "graded" else []
    done = here(check.main, tmp_path, "--config-dir", "conf", f"verifier={name}", *bonus).well()
    assert f"verifier={name}: {name.title()}" in done.out
    assert done.out.count("kept") == 5
    assert "BROKEN" not in done.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conf", f"{name}.py"]


@pytest.mark.parametrize("name", BROKEN)
def test_a_verifier_that_breaks_it(name: str, tmp_path: Path) -> None:
    code, words = BROKEN[name]
    user_folder(tmp_path, "verifier", name, code, f"_target_: {name}.{name.title()}\n")
    done = here(check.main, tmp_path, "--config-dir", "conf", f"verifier={name}")
    refused(done, *words)
    assert "BROKEN" in done.out
    assert sum(line.startswith("ponder-check: ") for line in done.err.splitlines()) == 1


def test_ours_with_their_arguments(tmp_path: Path) -> None:
    assert "Length.score gave" in here(check.main, tmp_path, "verifier=length", "verifier.target=9").well().out


def test_mistakes(tmp_path: Path) -> None:
    refused(here(check.main, tmp_path), "ponder-check: no verifier given", "verifier=NAME")
    refused(here(check.main, tmp_path, "verifier=nope"), "verifier/nope", "constant", "ponder-check --help")
    refused(here(check.main, tmp_path, "verifier=constant", "verifier.foo=1"), "verifier.foo")
    refused(here(check.main, tmp_path, "verifier=length", "verifier.target=0"), "verifier.target=0", "from 1")


def test_help_is_a_manual(tmp_path: Path) -> None:
    page = here(check.main, tmp_path, "--help").well().out
    for word in ("ponder-check verifier=", "--config-dir", "EXIT CODES", "verifier:"):
        assert word in page
