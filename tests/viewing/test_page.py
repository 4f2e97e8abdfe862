"""The page in a headless Chromium: what a person sees, clicks and types."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from factory.datasets_io.parquet import read_shards

from ..small_runs import one_step, run, tickets
from .looked_at import HOSTILE, Client, served, until
from .test_desk import Gate

playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    given = os.environ.get("FACTORY_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    with playwright.sync_playwright() as driver:
        if given is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("no Chromium is installed; name one in FACTORY_CHROMIUM")
        started = driver.chromium.launch(executable_path=given, args=QUIET)
        yield started
        started.close()


class Watched:
    """A page, and all that it has said and asked for."""

    def __init__(self, page: Any, client: Client) -> None:
        self.page, self.client = page, client
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("dialog", lambda dialog: self.said.append("a dialog was opened"))

    def open(self, state: str = "") -> Any:
        self.page.goto(f"{self.client.server.url}#{state}")
        self.page.wait_for_selector("#list .row, #list .empty, #what-if, #sides", state="attached")
        return self.page


@contextmanager
def looking(
    browser: Any, path: Path, *, quiet: bool = True, size: tuple[int, int] = (1180, 800), **options: Any
) -> Iterator[Watched]:
    """A page on a run; at the end nothing may have been said or asked for elsewhere."""
    with served(path, **options) as client:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        watched = Watched(context.new_page(), client)
        yield watched
        if quiet:
            assert watched.said == []
        own = f"http://127.0.0.1:{client.server.port}/"
        assert [url for url in watched.asked if not url.startswith((own, "data:"))] == []
        context.close()


def waits(page: Any, true: str) -> None:
    """Wait until an expression is true; the page's policy forbids Playwright's own way, which evaluates text in the page."""
    until(lambda: page.evaluate(true))


def rows(page: Any) -> list[str]:
    return [one.inner_text() for one in page.query_selector_all("#list .row")]


def test_the_token_leaves_the_address_and_the_page_reloads(browser: Any, judged: tuple[Path, Path]) -> None:
    with looking(browser, judged[0]) as watched:
        page = watched.open("state=rejected")
        assert "token" not in page.url
        assert page.evaluate("document.cookie") == ""
        page.reload()
        page.wait_for_selector("#list .row")
        assert "rejected" in rows(page)[0]


def test_search_finds_a_planted_record_and_filters_narrow_it(browser: Any, hostile: Path) -> None:
    with looking(browser, hostile) as watched:
        page = watched.open("state=all")
        page.keyboard.press("/")
        page.keyboard.type("αθήνα")
        waits(page, "document.querySelector('#found').textContent.endsWith('of 2')")
        assert page.inner_text("#list mark").casefold() == "αθήνα"
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        page.wait_for_selector("#record:not([hidden])")
        assert HOSTILE[5] in page.inner_text("#record")
        page.click("#states button:has-text('kept')")
        waits(page, "document.querySelector('#found').textContent.endsWith('of 1')")
        page.click("#clear")
        waits(page, "!document.querySelector('#found').textContent.endsWith('of 1')")
        assert "q=" not in page.url


def test_hostile_text_is_shown_and_never_run(browser: Any, hostile: Path) -> None:
    with looking(browser, hostile) as watched:
        page = watched.open("state=all")
        assert any(HOSTILE[0] in row for row in rows(page))
        for place, row in enumerate(page.query_selector_all("#list .row")):
            row.click()
            waits(page, f"document.querySelector('#row-{place}').getAttribute('aria-selected') === 'true'")
            waits(
                page,
                "document.querySelector('#record').dataset.id?.startsWith(new URLSearchParams(location.hash.slice(1)).get('key'))",
            )
        assert "owned" not in page.title()
        assert page.query_selector("#record script, #list script, #record img, #list img") is None
        page.evaluate("location.hash = 'state=kept&q=' + encodeURIComponent('{{ 7')")
        waits(page, "document.querySelectorAll('#list .row').length === 1")
        assert "{{ 7 * 7 }} ${7*7}" in rows(page)[0]


def test_the_keyboard_does_it_all(browser: Any, instructed: Path) -> None:
    with looking(browser, instructed) as watched:
        page = watched.open()
        chosen = "document.querySelector('#list [aria-selected=true]').id"
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        assert page.evaluate(chosen) == "row-1"
        key = page.get_attribute("#row-1", "data-key")
        page.keyboard.press("Enter")
        page.wait_for_selector("#record:not([hidden])")
        assert f"key={key}" in page.url
        page.keyboard.press("j")
        waits(page, f"!location.hash.includes('key={key}')")
        assert page.evaluate(chosen) == "row-2"
        page.keyboard.press("Escape")
        page.wait_for_selector("#record", state="hidden")
        first = rows(page)[0]
        page.keyboard.press("n")
        waits(
            page, "location.hash.includes('offset=50') && document.querySelector('#found').textContent.startsWith('51')"
        )
        assert rows(page)[0] != first
        page.keyboard.press("p")
        waits(page, "document.querySelector('#found').textContent.startsWith('1 to')")
        page.keyboard.press("?")
        assert page.is_visible("#help")
        page.keyboard.press("Escape")
        assert not page.is_visible("#help")
        page.keyboard.press("2")
        page.wait_for_selector("#thresholds:not([hidden])")
        page.keyboard.press("1")
        page.wait_for_selector("#records:not([hidden])")


def test_lineage_leads_up_to_the_seeds_and_shows_prompts(browser: Any, instructed: Path) -> None:
    with looking(browser, instructed) as watched:
        page = watched.open()
        page.click("#row-0")
        page.wait_for_selector("#tree button")
        seen = 0
        while page.query_selector("#tree button"):
            assert page.text_content("#record details pre")
            before = page.get_attribute("#record", "data-id")
            page.click("#tree button")
            waits(page, f"document.querySelector('#record').dataset.id !== '{before}'")
            seen += 1
            assert seen < 50
        assert "source row" in page.inner_text("#record .head")
        page.go_back()
        waits(page, f"document.querySelector('#record').dataset.id === '{before}'")


def test_the_slider_changes_the_counts_to_those_of_the_files(browser: Any, judged: tuple[Path, Path]) -> None:
    kept = [row["quality"] for row in read_shards(judged[0] / "data")]
    with looking(browser, judged[0]) as watched:
        page = watched.open("tab=thresholds")
        page.click("#thresholds .rules button:has-text('below_minimum')")
        waits(page, "document.querySelector('#leaving')?.textContent === '0'")
        assert page.inner_text("#kept-now") == str(len(kept))
        page.focus("#slider")
        for _ in range(2):
            page.keyboard.press("ArrowRight")
        leaving = sum(mark < 3 for mark in kept)
        waits(page, f"document.querySelector('#leaving').textContent === '{leaving}'")
        waits(page, "document.querySelector('#at').value === '3'")
        waits(page, f"document.querySelector('#leaving').textContent === '{leaving}'")
        assert "quality.minimum=3" in page.inner_text("#honest code")
        assert "at=3" in page.url
        assert page.query_selector("#failing .row")
        page.fill("#at", "1")
        page.keyboard.press("Tab")
        waits(page, "document.querySelector('#entering').textContent !== '0'")
        page.click("#thresholds .rules button:has-text('too_similar')")
        waits(page, "document.querySelector('#leaving')?.textContent === '0'")
        assert len(page.query_selector_all("#histogram rect.k")) > 3
        page.click("#failing .row")
        page.wait_for_selector("#record:not([hidden]) .verdict del")


def test_two_runs_are_compared(browser: Any, judged: tuple[Path, Path]) -> None:
    with looking(browser, judged[0], compare=judged[1]) as watched:
        page = watched.open("tab=compare")
        names = [{row["record_id"] for row in read_shards(path / "data")} for path in judged]
        page.wait_for_selector("#compared .row")
        assert f"leave ({len(names[0] - names[1])})" in page.inner_text("#sides")
        assert f"stay ({len(names[0] & names[1])})" in page.inner_text("#sides")
        page.click("#compared .row")
        page.wait_for_selector("#record:not([hidden])")
        assert page.get_attribute("#record", "data-id") in names[0] - names[1]


def test_marks_are_made_and_taken_back_by_keys(browser: Any, hostile: Path, tmp_path: Path) -> None:
    shutil.copytree(hostile, tmp_path / "run")
    with looking(browser, tmp_path / "run", marks=True) as watched:
        page = watched.open()
        page.keyboard.press("g")
        page.wait_for_selector("#row-0 .mark.good")
        waits(page, "document.querySelector('#list [aria-selected=true]').id === 'row-1'")
        page.keyboard.press("b")
        page.wait_for_selector("#row-1 .mark.bad")
        page.keyboard.press("u")
        page.wait_for_selector("#row-1 .mark.bad", state="detached")
        assert watched.client("/api/run").json["marks"] == {"good": 1, "bad": 0}
        page.click("#row-0")
        page.fill("#record .note", "well said")
        page.keyboard.press("Tab")
        until_note = "document.querySelector('#record').dataset.note === 'well said'"
        waits(page, until_note)
        page.reload()
        waits(page, until_note)


def test_a_read_only_page_says_how_to_mark(browser: Any, hostile: Path) -> None:
    with looking(browser, hostile) as watched:
        page = watched.open()
        page.keyboard.press("g")
        page.wait_for_selector("#problems:has-text('--marks')")


@pytest.mark.parametrize("tab", ["records", "thresholds", "compare"])
def test_a_narrow_screen_needs_no_sideways_scrolling(browser: Any, judged: tuple[Path, Path], tab: str) -> None:
    with looking(browser, judged[0], compare=judged[1], size=(360, 740)) as watched:
        page = watched.open(f"tab={tab}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        if tab == "records":
            page.click("#row-0")
            page.wait_for_selector("#record:not([hidden])")
            assert not page.is_visible("#list")
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            page.click("#close")
            page.wait_for_selector("#list", state="visible")


def test_a_run_that_is_going_on_fills_the_page_and_keeps_the_scroll(browser: Any, tmp_path: Path) -> None:
    model = Gate(150)
    recipe = one_step(tmp_path, tickets(300))
    thread = threading.Thread(target=lambda: run(recipe, tmp_path / "out", model), daemon=True)
    thread.start()
    try:
        until(lambda: (tmp_path / "out" / "manifest.json").exists())
        with looking(browser, tmp_path / "out") as watched:
            page = watched.open()
            waits(page, "document.querySelectorAll('#list .row').length === 50")
            assert page.inner_text("#status") == "running"
            page.evaluate("document.querySelector('#list').scrollTop = 400")
            model.open.set()
            waits(page, "document.querySelector('#status').textContent === 'complete'")
            waits(page, "document.querySelector('#found').textContent.endsWith('of 300')")
            assert page.evaluate("document.querySelector('#list').scrollTop") == 400
    finally:
        model.open.set()
        thread.join(20)


def test_a_server_that_has_gone_is_said(browser: Any, hostile: Path) -> None:
    with looking(browser, hostile, quiet=False) as watched:
        page = watched.open()
        page.route("**/api/**", lambda route: route.abort())
        page.wait_for_selector("#problems:has-text('does not answer')", timeout=8000)
