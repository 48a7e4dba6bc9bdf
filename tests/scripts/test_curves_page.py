"""The interactive page of ponder-curves in a real headless Chromium: complete in one file, axes that can be changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ponder.scripts import curves
from tests.scripts.browsing import browser, page
from tests.scripts.test_curves import row, write

__all__ = ["browser", "page"]


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    for n, right in ((1, 1), (4, 3)):
        rows = [row(f"p{i}", ["a" if i < right else "b"] * n, [1.0] * n, "argmax") for i in range(4)]
        write(tmp_path / f"run{n}", "astar", n, rows)
    write(tmp_path / "other", "<script>alert(1)</script>", 4, [row("p0", ["a"] * 4, [1.0] * 4, "argmax")])
    curves.main([str(tmp_path)])
    return tmp_path / "curves.html"


def lines(page: Any) -> Any:
    """What is drawn, by method: where and how high."""
    return page.evaluate("document.getElementById('curves').data.map(one => [one.name, [...one.x], [...one.y]])")


def test_the_axis_can_be_changed(page: Any, drawn: Path) -> None:
    page.goto(drawn.as_uri())
    page.wait_for_selector("#curves .legend")
    found = {name: (x, y) for name, x, y in lines(page)}
    assert found["astar · argmax"] == ([10, 40], [0.25, 0.75])
    page.locator(".updatemenu-header").click()
    page.locator(".updatemenu-dropdown-button", has_text="verifier_calls").click()
    page.wait_for_selector("text=verifier calls per question")
    assert {name: x for name, x, _ in lines(page)}["astar · argmax"] == [1, 4]


def test_a_name_is_text(page: Any, drawn: Path) -> None:
    page.goto(drawn.as_uri())
    page.wait_for_selector("#curves .legend")
    assert any("script" in name for name, _, _ in lines(page))
    assert page.evaluate("document.querySelectorAll('#curves script').length") == 0
