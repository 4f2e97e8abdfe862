"""The page in headless Chromium: nothing fetched, nothing run but its own script, legible in dark, narrow and on paper.

Needs playwright and a Chromium, of which `FACTORY_CHROMIUM` may give the path; skipped where either is missing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import factory

from .made import HOSTILE, manifest_of

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    named = os.environ.get("FACTORY_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    with sync_api.sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        if named is None and not own.exists():
            pytest.skip("no Chromium is installed; FACTORY_CHROMIUM may give its path")
        started = playwright.chromium.launch(executable_path=named or str(own), args=FLAGS)
        yield started
        started.close()


class Opened:
    """A page, what it complained of and what it asked for."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        url = file.absolute().as_uri()

        def route(request: Any) -> None:
            if request.request.url == url:
                request.continue_()
            else:
                self.asked.append(request.request.url)
                request.abort()

        self.page.route("**/*", route)
        self.page.goto(url)
        self.page.wait_for_load_state("load")


@pytest.fixture(scope="module")
def pages(runs: dict[str, Path], hostile_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    return {
        name: factory.report(path, folder / f"{name}.html").path
        for name, path in {**runs, "hostile": hostile_run}.items()
    }


@pytest.mark.parametrize("kind", ["self_instruct", "evol_instruct", "filters", "table", "hostile"])
def test_nothing_is_said_or_fetched_and_every_panel_has_content(
    kind: str, browser: Any, pages: dict[str, Path]
) -> None:
    opened = Opened(browser, pages[kind])
    page = opened.page
    assert (opened.said, opened.asked) == ([], [])
    for section in page.query_selector_all("main > section"):
        inner = section.query_selector_all("svg rect, svg polyline, tbody tr, li, dd")
        assert inner, section.text_content()
    drawn = page.eval_on_selector_all(
        "figure svg", "all => all.map(each => each.querySelectorAll('rect, polyline').length)"
    )
    assert all(drawn)
    ids = page.eval_on_selector_all("[id]", "all => all.map(each => each.id)")
    assert len(ids) == len(set(ids))
    opened.context.close()


def test_hostile_data_are_shown_and_not_run(browser: Any, pages: dict[str, Path]) -> None:
    opened = Opened(browser, pages["hostile"])
    page = opened.page
    assert page.evaluate("window.broken") is None
    assert page.evaluate("getComputedStyle(document.body).display") == "block"
    assert page.url.endswith("hostile.html")
    assert page.locator("script").count() == 2
    assert page.locator("main img, main link, main meta, main style, main script, main iframe").count() == 0
    attributes = (
        "all => all.flatMap(each => [...each.attributes].map(one => one.name)).filter(name => name.startsWith('on'))"
    )
    assert page.eval_on_selector_all("*", attributes) == []
    text = page.evaluate("document.body.textContent")
    for each in HOSTILE:
        assert each.split("\u2028")[0].split("\x07")[0].strip() in text, each
    assert "49 {% raw" not in text
    opened.context.close()


def test_figures_stay_inside_their_element(browser: Any, hostile_run: Path, tmp_path: Path) -> None:
    shutil.copytree(hostile_run, tmp_path / "run")
    manifest = manifest_of(hostile_run)
    manifest["name"] = "</script><script>window.broken = 5</script><!-- \u2028"
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    file = factory.report(tmp_path / "run").path
    opened = Opened(browser, file)
    assert opened.page.evaluate("window.broken") is None
    assert (opened.said, opened.asked) == ([], [])
    assert opened.page.evaluate("JSON.parse(document.getElementById('figures').textContent).name") == manifest["name"]
    opened.context.close()


def test_an_injected_script_or_handler_would_not_run_either(
    browser: Any, pages: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.html"  # as if escaping had failed somewhere
    text = pages["filters"].read_text()
    evil = (
        "<script>window.broken = 1</script><img src=x onerror='window.broken = 2'><img src='http://127.0.0.1:9/x.png'>"
    )
    broken.write_text(text.replace("<footer", f"{evil}<footer"))
    opened = Opened(browser, broken)
    assert opened.page.evaluate("window.broken") is None
    assert opened.asked == []
    assert any("Content Security Policy" in each for each in opened.said)
    opened.context.close()


@pytest.mark.parametrize("kind", ["self_instruct", "evol_instruct", "table"])
def test_dark_narrow_and_paper(kind: str, browser: Any, pages: dict[str, Path], tmp_path: Path) -> None:
    opened = Opened(browser, pages[kind], color_scheme="dark", viewport={"width": 360, "height": 700})
    page = opened.page
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(20, 23, 26)"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Change to the light colours").click()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.reload()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"  # remembered
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 20_000
    assert (opened.said, opened.asked) == ([], [])
    opened.context.close()


def test_a_page_that_may_not_store_anything_still_works(browser: Any, pages: dict[str, Path]) -> None:
    opened = Opened(browser, pages["filters"])
    opened.page.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no storage'); }})"
    )
    opened.page.reload()
    opened.page.locator("#theme").click()
    assert opened.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert opened.said == []
    opened.context.close()


def test_keyboard_alone_is_enough(browser: Any, pages: dict[str, Path]) -> None:
    opened = Opened(browser, pages["filters"])
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    summary = page.locator("#funnel details summary")
    summary.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.locator("#funnel details").get_attribute("open") is not None
    opened.context.close()


def test_tables_are_sorted_by_their_buttons(browser: Any, pages: dict[str, Path]) -> None:
    opened = Opened(browser, pages["filters"])
    table = opened.page.locator("#rejected-rows table").first
    column = table.locator("thead th").nth(3)
    cells = "all => all.map(each => Number(each.dataset.value))"
    before = table.locator("tbody td:nth-child(4)").evaluate_all(cells)
    assert before == sorted(before, reverse=True) and len(set(before)) > 1
    column.locator("button").focus()
    opened.page.keyboard.press("Enter")
    assert column.get_attribute("aria-sort") == "descending"
    opened.page.keyboard.press("Enter")
    assert table.locator("tbody td:nth-child(4)").evaluate_all(cells) == sorted(before)
    opened.context.close()


def test_moving_the_threshold_changes_the_count(browser: Any, pages: dict[str, Path]) -> None:
    opened = Opened(browser, pages["filters"])
    page = opened.page
    before = page.locator("#passed0").text_content()
    assert before is not None and before.startswith("0.60: ")
    slider = page.locator("#limit0")
    slider.focus()
    page.keyboard.press("End")
    counts = page.locator("#passed0").text_content()
    step = page.evaluate(
        "JSON.parse(document.getElementById('figures').textContent).panels['Nearest neighbours'].steps[0]"
    )
    assert counts == f"1.00: {step['total']} of {step['total']} pass"
    page.keyboard.press("Home")
    none = sum(score <= 0 for group in step["groups"] for score in group["scores"])
    assert page.locator("#passed0").text_content() == f"0.00: {none} of {step['total']} pass"
    opened.context.close()
