"""500 of the recorded programs for HumanEval; all 8,200 are graded in tests/slow/test_recorded_programs.py."""

from __future__ import annotations

import sys

import pytest

from ponder.verifiers import execution
from tests.tasks.recorded_programs import DATA, differing, graded

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="shared/data is not beside the repository")


def test_500_programs_are_graded_as_recorded() -> None:
    if refusal := execution._refusal():
        pytest.skip(f"this kernel isolates nothing: {refusal}")
    found, seconds = graded(500)
    sys.stdout.write(f"{1000 * seconds:.0f} ms a program\n")
    assert differing(found) == {}
    assert 50 < sum(one.ours for one in found) < 250
