"""ponder-view in a real headless Chromium: text stays text, keys work, runs side by side, large runs are quick."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from ponder.scripts import view
from tests.scripts.browsing import browser, page
from tests.scripts.command import ponder_here, rows, runs
from tests.scripts.viewed_runs import HOSTILE, failed, large, question, trace, write

__all__ = ["browser", "page"]
QUICK = 2.0  # seconds


def shown(page: Any, *folders: Path, out: Path) -> Any:
    """The page of some runs, opened, with its first question."""
    page.goto(view.write(folders, out).as_uri())
    page.wait_for_selector("main section")
    return page


def chosen(page: Any) -> str:
    return str(page.locator("main h2").first.inner_text())


def test_what_a_model_wrote_is_text(page: Any, tmp_path: Path) -> None:
    written = [
        question(f"q{i}", [trace([text, text + "."], text, True)], prompt=text) for i, text in enumerate(HOSTILE)
    ]
    shown(page, write(tmp_path / "run", written), out=tmp_path / "page")
    for i, text in enumerate(HOSTILE):
        page.wait_for_selector(f"main[data-shown=q{i}]")
        assert page.evaluate("document.querySelector('.prompt').textContent") == text
        page.locator(".tree button.node").last.click()
        steps = page.evaluate("[...document.querySelectorAll('.inspector .text')].map(one => one.textContent)")
        assert steps == [text, text + "."]
        page.keyboard.press("j")
    assert page.evaluate("document.querySelectorAll('main script, main img, main b b, main textarea').length") == 0


def test_the_policy_stops_what_would_ask_the_network(browser: Any, tmp_path: Path) -> None:
    """Without the fixture's rule: here the page is made to ask, and must be refused by its own policy."""
    opened = browser.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    shown(opened, write(tmp_path / "run", [question("q", [trace(["a"], "1", True)])]), out=tmp_path / "page")
    opened.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    opened.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x'}))")
    opened.wait_for_timeout(200)
    assert opened.evaluate("window.ran === undefined")
    assert sum("Content Security Policy" in text for text in said) >= 2
    opened.close()


@pytest.fixture
def mixed(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs of the same questions: right, wrong and failed in turn, and the other way round."""
    right, wrong = trace(["a", "b"], "1", True), trace(["a", "c"], "2", False)
    one = [question("first", [right]), question("second", [wrong]), failed("third"), question("fourth", [right])]
    two = [question("second", [right]), question("first", [wrong]), question("third", [right])]
    return write(tmp_path / "one", one), write(tmp_path / "two", two)


def test_filters_and_keys(page: Any, mixed: tuple[Path, Path], tmp_path: Path) -> None:
    shown(page, mixed[0], out=tmp_path / "page")
    assert page.locator("#filters button").all_inner_texts() == [
        "all 4",
        "right 2",
        "wrong 1",
        "failed 1",
    ]
    assert chosen(page) == "first"
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("main[data-shown=third]")
    assert "the <engine> is gone" in page.locator(".error").inner_text()
    page.keyboard.press("k")
    page.wait_for_selector("main[data-shown=second]")
    page.keyboard.press("f")
    assert page.locator(".row b").all_inner_texts() == ["first", "fourth"]
    page.keyboard.press("f")
    assert page.locator(".row b").all_inner_texts() == ["second"]
    page.locator("#filters [data-filter=failed]").click()
    assert page.locator(".row b").all_inner_texts() == ["third"]
    page.locator("#filters [data-filter=all]").click()
    page.keyboard.press("/")
    page.keyboard.type("fou")
    page.keyboard.press("Enter")
    page.wait_for_selector("main[data-shown=fourth]")
    page.keyboard.press("?")
    assert page.locator("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    for tab in ("genealogy", "traces", "tree"):
        page.keyboard.press("t")
        assert page.locator("[role=tab][aria-selected=true]").inner_text() == tab


def test_two_runs_side_by_side(page: Any, mixed: tuple[Path, Path], tmp_path: Path) -> None:
    shown(page, *mixed, out=tmp_path / "page")
    page.keyboard.press("c")
    page.wait_for_selector("main.two")
    assert page.locator("main section").count() == 2
    assert page.locator("main h2").all_inner_texts() == ["first", "first"]
    assert page.locator("main section").nth(1).locator(".mark").first.inner_text() == "✗"
    page.locator("[data-filter='A wrong, B right']").click()
    assert page.locator(".row b").all_inner_texts() == ["second", "third"]
    page.locator("[data-filter='A right, B wrong']").click()
    assert page.locator(".row b").all_inner_texts() == ["first"]
    page.locator("[data-filter=all]").click()
    page.locator(".row b", has_text="fourth").click()
    page.wait_for_selector("main[data-shown=fourth]")
    assert "has no such question" in page.locator("main section").nth(1).inner_text()
    page.keyboard.press("c")
    page.wait_for_selector("main:not(.two) section")


@pytest.mark.parametrize("search", ["particle_filtering", "astar", "mcts", "beam_search"])
def test_a_search_as_it_went(page: Any, tmp_path: Path, search: str) -> None:
    ponder_here(tmp_path, "debug=scripted", f"search={search}", "budget.n=4", "task.limit=2").well()
    (run,) = runs(tmp_path / "runs")
    shown(page, run, out=tmp_path / "page")
    row = rows(run)[0]
    steps = {tuple(trace["steps"][: d + 1]) for trace in row["traces"] for d in range(len(trace["steps"]))}
    assert page.locator(".tree button.node").count() == len(steps)
    orders = page.locator(".tree .order").all_inner_texts()
    assert {int(order[1:]) for order in orders if order} <= set(range(1, len(row["reports"]) + 2))
    assert page.locator(".tree .mark").count() >= 1
    page.locator(".tree button.node").last.press("Enter")
    assert page.locator(".inspector .step").count() >= 1
    page.keyboard.press("t")
    populations = [[tuple(entry[:2]) for entry in report["population"]] for report in row["reports"]]
    final = [(index, len(row["traces"][index]["steps"])) for index, _ in row["population"]]
    populations += [] if populations and populations[-1] == final else [final]
    assert page.locator("svg.genealogy circle").count() == sum(map(len, populations))
    if search == "particle_filtering":  # every particle but the first report's has an ancestor
        assert page.locator("svg.genealogy line").count() == sum(map(len, populations[1:]))
    page.locator("svg.genealogy circle").last.focus()
    assert page.locator("svg.genealogy circle.lit").count() >= 1
    assert page.locator(".inspector .text").first.inner_text() != ""


def test_a_large_run_is_quick(page: Any, tmp_path: Path, record_property: Any) -> None:
    """2,000 questions of 64 traces: the page, a filter, and a question open in under two seconds each."""
    file = view.write([large(tmp_path / "run")], tmp_path / "page")

    def quick(what: str, act: Any, until: str) -> None:
        started = time.monotonic()
        act()
        page.wait_for_selector(until, state="attached")
        took = time.monotonic() - started
        record_property(what, f"{took:.2f} s")
        assert took < QUICK, what

    quick("open the page", lambda: page.goto(file.as_uri()), "main[data-shown=question-0000]")
    assert page.locator(".row").count() < 60  # only what is seen is in the document
    quick("filter", lambda: page.locator("[data-filter=wrong]").click(), "[data-filter=wrong][aria-pressed=true]")
    page.locator("[data-filter=all]").click()
    page.keyboard.press("/")
    quick("find", lambda: page.keyboard.type("question-1234"), "#rows > .row:only-child")
    quick("open a question", lambda: page.keyboard.press("Enter"), "main[data-shown=question-1234]")
    last = f"svg.genealogy circle:nth-of-type({64 * 6})"
    quick("draw its genealogy", lambda: page.keyboard.press("t"), last)
    page.keyboard.press("t")
    assert page.locator("main details").count() == 64


def test_small_scores_keep_their_size(page: Any, tmp_path: Path) -> None:
    one = trace(["a", "b"], "1", True, scores=[2.8765e-10, 0.25], score=0.25)
    shown(page, write(tmp_path / "run", [question("q", [one])]), out=tmp_path / "page")
    page.locator(".tree button.node").last.click()
    assert page.locator(".inspector .step .faint").all_inner_texts() == ["2.88e-10", "0.25"]
