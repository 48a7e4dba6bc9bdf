"""Headless Chromium for the tests of pages: one browser a file; a page that may ask for nothing and say nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

FLAGS = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
FLAGS += " --disable-sync --disable-quic"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; the tests are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=FLAGS.split())
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """An empty page; what it says, asks for or stumbles over fails the test."""
    opened = browser.new_page(viewport={"width": 1300, "height": 850})
    wrong: list[str] = []

    def asked(request: Any) -> None:
        if not request.url.startswith("file://"):
            wrong.append(f"request: {request.url}")

    def spoke(dialog: Any) -> None:
        wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    opened.on("console", lambda message: wrong.append(f"console: {message.text}"))
    opened.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    opened.on("dialog", spoke)
    opened.on("request", asked)
    yield opened
    opened.close()
    assert wrong == []
