"""The page in headless Chromium, Debian's own: drawn, moved, read by a keyboard, and asking nobody for anything."""

from __future__ import annotations

import shutil

import msgspec
import pytest

for needed in ("playwright", "axe_playwright_python", "altair", "vl_convert"):
    pytest.importorskip(needed)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("there is no chromium (Debian: apt-get install chromium)", allow_module_level=True)

from axe_playwright_python.base import AXE_SCRIPT  # noqa: E402  needs the packages
from playwright.sync_api import sync_playwright  # noqa: E402

from planner_report.page import page  # noqa: E402

DRAWN = "document.querySelectorAll('.chart[data-drawn]').length === document.querySelectorAll('.chart').length"
CHOSEN = "document.querySelector('#chart-frontier [aria-label=\"chosen point\"]')"
PLACE = f"(() => {{ const box = {CHOSEN}.getBoundingClientRect(); return [box.x, box.y]; }})()"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def files(known, logged, tmp_path_factory):
    place = tmp_path_factory.mktemp("pages")
    for name, report in (("known", known), ("logged", logged)):
        (place / f"{name}.html").write_bytes(page(msgspec.to_builtins(report)))
    return place


@pytest.fixture
def opened(browser, files):
    """``opened(name, **context)`` gives a page that is drawn; what went wrong on the way ends the test."""
    contexts, wrong = [], []

    def open_page(name, path=None, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        tab = context.new_page()
        target = (path or files / f"{name}.html").as_uri()
        tab.on("request", lambda request: wrong.append(request.url) if request.url != target else None)
        tab.on("console", lambda said: wrong.append(f"{said.type}: {said.text}"))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        context.route("**/*", lambda route: route.continue_() if route.request.url == target else route.abort())
        tab.goto(target)
        tab.wait_for_function(DRAWN)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def test_the_charts_are_drawn_with_what_they_show(opened, known):
    tab = opened("known")
    assert tab.locator(".chart svg").count() == 3
    points = tab.locator("#chart-calibration svg .mark-symbol path").count()
    assert points == len(known.calibration)
    assert tab.title().startswith("Does it save money?")


def test_the_slider_moves_the_chosen_point_by_keyboard(opened, known):
    tab = opened("known")
    slider = tab.locator("#worth-slider")
    before, said = tab.evaluate(PLACE), slider.get_attribute("aria-valuetext")
    slider.focus()
    for _ in range(3):
        tab.keyboard.press("ArrowRight")
    tab.wait_for_function(f"JSON.stringify({PLACE}) !== '{msgspec.json.encode(before).decode()}'")
    after = tab.evaluate(PLACE)
    assert after[0] > before[0] and after[1] < before[1]  # dearer, and more pass
    told = slider.get_attribute("aria-valuetext")
    assert told != said and tab.locator("#worth-told").inner_text() == told
    choice = known.evaluation["sensitivity"]["choices"][int(slider.input_value())]
    assert f"passes {100 * choice['pass_rate']['estimate']:.1f} of 100 issues" in told
    assert tab.locator("tr.chosen").count() == 2  # of the table beside it and of the sensitivity
    tab.keyboard.press("Home")
    assert tab.locator("tr.chosen").first.get_attribute("data-step") == "0"


@pytest.mark.parametrize("name", ["known", "logged"])
def test_nothing_is_wider_than_a_phone(opened, name):
    tab = opened(name, viewport={"width": 390, "height": 844})
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    for summary in tab.locator("summary").all():
        summary.click()
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    # What does not fit is reached by scrolling its own region, which the keyboard can enter.
    wide = (
        "[...document.querySelectorAll('.wide')].every(box => box.tabIndex === 0 || box.scrollWidth <= box.clientWidth)"
    )
    assert tab.evaluate(wide)


def test_it_is_dark_where_the_reader_wants_it_dark(opened):
    colours = {}
    for scheme in ("light", "dark"):
        tab = opened("known", color_scheme=scheme)
        colours[scheme] = tab.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,"
            f" getComputedStyle({CHOSEN}).stroke]"
        )
    assert all(light != dark for light, dark in zip(colours["light"], colours["dark"], strict=True))


@pytest.mark.parametrize(("name", "scheme"), [("known", "light"), ("logged", "dark")])
def test_axe_finds_nothing_serious(opened, name, scheme):
    tab = opened(name, color_scheme=scheme, viewport={"width": 390, "height": 844})
    for summary in tab.locator("summary").all():
        summary.click()
    tab.evaluate(AXE_SCRIPT)
    found = tab.evaluate("axe.run()")
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in serious] == []
    assert len(found["passes"]) > 20


def test_it_prints(opened):
    tab = opened("known")
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not tab.locator("#worth-slider").is_visible()
    assert tab.pdf()[:5] == b"%PDF-"


def test_without_scripts_the_tables_are_there(browser, files):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((files / "known.html").as_uri())
    assert tab.locator("noscript").count() == 1
    assert tab.locator("table").count() >= 6
    context.close()


def test_hostile_names_run_nothing(opened, logged, told, tmp_path):
    text = "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    first = msgspec.structs.replace(logged.changes.largest[0], issue_id=text, tags=[text])
    document = told(changes=msgspec.structs.replace(logged.changes, largest=[first]), against=text)
    document["rows"][-1]["name"] = text
    path = tmp_path / "hostile.html"
    path.write_bytes(page(document))
    tab = opened("hostile", path)
    tab.wait_for_timeout(200)
    assert "owned" not in tab.title().split(" against ")[0]
    assert tab.evaluate("document.querySelectorAll('img').length") == 0
