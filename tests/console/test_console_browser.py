"""The console in a real browser: live updates, labelling by keyboard, versions, and that anybody can use it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from console_kit import PAGES, enter
from playwright.sync_api import Browser, BrowserContext, Page, expect

from drawn_pictures import write_pictures
from service_process import ServiceProcess, wait_until
from stripping_proxy import StrippingProxy

WITHOUT_SCRIPT = "button => { button.form.removeAttribute('data-confirm'); button.click() }"
SOON = 3000  # milliseconds in which a change has to be seen
THEMES: tuple[Literal["dark", "light"], ...] = ("dark", "light")
CHARTS = {"models": 1, "models/vit/v2": 2, "field": 2}  # how many a page draws
AXE = """() => {
  const rules = Object.fromEntries(axe.getRules().map(({ ruleId }) => [ruleId, { enabled: true }]));
  return axe.run({ resultTypes: ["violations"], rules }).then(({ violations }) => violations);
}"""


def metadata_by_person(service: ServiceProcess) -> list[dict[str, Any]]:
    found = [json.loads(file.read_text()) for file in (service.data / "meta").rglob("*.json")]
    return [each for each in found if each["label_source"] == "person"]


def to(page: Page, service: ServiceProcess, path: str) -> None:
    page.goto(f"{service.url}/console/{path}")


@pytest.fixture
def quiet(page: Page, service: ServiceProcess) -> Iterator[Page]:
    """Fails when the page complains, or asks anybody but the service."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(service.url) else said.append(asked.url))
    yield page
    # the report of these versions has a script in it, which the browser is to refuse
    assert [text for text in said if "document's frame is sandboxed" not in text] == []


def test_a_wrong_key_is_said_and_the_right_one_leads_to_the_page_that_was_asked_for(
    context: BrowserContext, service: ServiceProcess
) -> None:
    page = context.new_page()
    to(page, service, "runs?kind=train")
    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not a key")
    page.get_by_label("API key").fill("test_api_key")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/runs?kind=train")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    to(page, service, "")
    assert "/login" in page.url


def test_every_page_is_for_everybody_runs_without_a_complaint_and_asks_nobody_else(
    quiet: Page, service: ServiceProcess
) -> None:
    """In both themes, by all of axe's rules, and on a phone."""
    gallery = quiet.request.get(f"{service.url}/console/pictures").text()
    for path in (*PAGES, "pictures/" + re.findall(r"small/([0-9a-f]{64})", gallery)[0]):
        to(quiet, service, path)
        expect(quiet.locator("main h1")).to_be_visible()
        if path in CHARTS:
            expect(quiet.locator(".chart canvas")).to_have_count(CHARTS[path])
        assert_accessible(quiet, path)
        quiet.set_viewport_size({"width": 390, "height": 844})
        assert quiet.evaluate("document.documentElement.scrollWidth") <= 390, path
        quiet.set_viewport_size({"width": 1280, "height": 900})
        assert quiet.title() != "ran"


def test_questions_and_refusals_are_pages_for_everybody(
    context: BrowserContext, page: Page, service: ServiceProcess
) -> None:
    for path in ("console/runs/none", "console/models/vit/v9", "no/such/page"):
        page.goto(f"{service.url}/{path}")
        expect(page.get_by_role("heading", name="Not found")).to_be_visible()
        assert_accessible(page, path)
    for button in ("Put in service: vit/v1", "Roll back"):
        to(page, service, "models")
        page.get_by_role("button", name=button).evaluate(WITHOUT_SCRIPT)
        expect(page.get_by_role("link", name="Cancel")).to_be_visible()
        assert_accessible(page, button)
    page.locator("main [name=csrf_token]").evaluate("field => { field.value = '0'.repeat(64) }")
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("heading", name="Forbidden")).to_be_visible()
    expect(page.get_by_text("This form is out of date")).to_be_visible()
    assert_accessible(page, "a form that is out of date")
    page.get_by_role("button", name="Sign out").click()
    assert_accessible(page, "login")
    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not a key")
    assert_accessible(page, "a wrong key")


def assert_accessible(page: Page, path: str) -> None:
    """By every rule that axe has, also those of WCAG's AAA and those that are still tried out, in both themes."""
    page.evaluate(Axe().axe_script)
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        found = page.evaluate(AXE)
        told = [(each["id"], [node["html"][:200] for node in each["nodes"]][:3]) for each in found]
        assert told == [], (path, theme)


def test_a_dropped_picture_appears_without_reload(quiet: Page, service: ServiceProcess) -> None:
    to(quiet, service, "pictures")
    expect(quiet.get_by_text("Live", exact=True)).to_be_visible()
    first = quiet.locator(".gallery img").first
    expect(first).to_have_js_property("complete", True)
    before = first.get_attribute("src")
    write_pictures(service.data / "real/dropped", 1, first_seed=900)
    expect(first).not_to_have_attribute("src", before or "", timeout=SOON)
    expect(quiet.locator(".gallery li").first).to_contain_text("dropped")


def test_ten_pictures_are_labelled_by_keyboard_and_one_is_taken_back(quiet: Page, service: ServiceProcess) -> None:
    unlabeled, said_before = service.counts()["unlabeled"], len(metadata_by_person(service))
    to(quiet, service, "queue")
    name = quiet.locator("#queue h2")
    for number in range(10):
        shown = name.inner_text()
        quiet.keyboard.press("r" if number % 2 else "g")
        expect(name).not_to_have_text(shown)
    last = [each["label"] for each in metadata_by_person(service)]
    assert len(last) == said_before + 10
    assert {last.count("real"), last.count("ai_generated")} >= {5}
    service.wait_for_counts(10, unlabeled=unlabeled - 10)
    quiet.keyboard.press("u")
    expect(quiet.locator(".flash")).to_contain_text("Taken back")
    expect(name).to_have_text(shown)
    assert len(metadata_by_person(service)) == said_before + 9
    service.wait_for_counts(10, unlabeled=unlabeled - 9)
    quiet.keyboard.press("s")
    expect(name).not_to_have_text(shown)


def test_a_key_that_comes_before_the_next_picture_decides_nothing(page: Page, service: ServiceProcess) -> None:
    write_pictures(service.data / "quick", 3, first_seed=1200)
    service.wait_for_counts(10, pending=0)
    to(page, service, "queue")
    sent: list[str] = []
    page.on("request", lambda asked: sent.append(asked.url) if asked.method == "POST" else None)
    name = page.locator("#queue h2")
    shown = name.inner_text()
    page.evaluate("""for (const key of "sgr") dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }))""")
    expect(name).not_to_have_text(shown)
    assert len(sent) == 1
    page.locator("#queue [name=csrf_token]").evaluate("field => { field.value = '0'.repeat(64) }")
    shown = name.inner_text()
    page.keyboard.press("s")
    expect(page.get_by_role("alert")).to_contain_text("This form is out of date")
    expect(name).to_have_text(shown)  # what could not be done leaves the page as it was


def test_two_people_get_different_pictures_and_each_takes_back_their_own(
    browser: Browser, page: Page, service: ServiceProcess
) -> None:
    write_pictures(service.data / "shared", 3, first_seed=1100)
    service.wait_for_counts(10, pending=0)
    to(page, service, "queue")
    mine = page.locator("#queue h2")
    first = mine.inner_text()
    page.keyboard.press("r")
    expect(mine).not_to_have_text(first)
    other = enter(browser.new_context(), service.url)
    to(other, service, "queue")
    expect(other.locator("#queue h2")).not_to_have_text(mine.inner_text())
    expect(other.get_by_role("button", name=re.compile("^Undo"))).to_be_disabled()
    page.keyboard.press("u")
    expect(mine).to_have_text(first)
    other.context.close()


def test_a_batch_is_labelled_at_once_without_what_was_taken_out(page: Page, service: ServiceProcess) -> None:
    write_pictures(service.data / "album", 4, first_seed=700)
    service.wait_for_counts(10, pending=0)
    wait_until(lambda: "album" in _folders(page, service), 10, lambda: "the album is not in the queue")
    page.get_by_role("checkbox").last.uncheck()
    page.keyboard.press("g")
    expect(page.get_by_role("checkbox")).to_have_count(0)
    said = [each for each in metadata_by_person(service) if each["path"].startswith("album/")]
    assert [each["label"] for each in said] == ["ai_generated"] * 3


def _folders(page: Page, service: ServiceProcess) -> str:
    """Skips batches until the album's is shown."""
    to(page, service, "queue?by=folder")
    folder = page.locator("#queue dd.mono").inner_text()
    if "album" not in folder:
        page.keyboard.press("s")
        page.wait_for_timeout(100)
    return folder


def test_a_version_is_rolled_back_after_a_question(page: Page, service: ServiceProcess) -> None:
    to(page, service, "models")
    row = page.get_by_role("row", name=re.compile("vit.v1"))
    serving = row.get_by_text("in service", exact=True)
    expect(serving).to_have_count(0)
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Roll back").click()
    assert service.get("/models/latest")["model_version"] == "v2"
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Roll back").click()
    expect(serving).to_be_visible()
    assert service.get("/models/latest")["model_version"] == "v1"
    service.post("/models/vit/rollback")
    expect(serving).to_have_count(0, timeout=SOON)  # by the event, without reload


def test_more_tabs_than_a_browser_has_connections_are_all_live(
    context: BrowserContext, page: Page, service: ServiceProcess
) -> None:
    tabs = [context.new_page() for _ in range(7)]
    for tab in (page, *tabs):
        to(tab, service, "")
    for tab in (page, *tabs):
        expect(tab.get_by_text("Live", exact=True)).to_be_visible()


def test_it_works_without_javascript(browser: Browser, service: ServiceProcess) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = enter(context, service.url)
    said_before = len(metadata_by_person(service))
    write_pictures(service.data / "plain", 2, first_seed=800)
    service.wait_for_counts(10, pending=0)
    page.get_by_role("link", name="Label", exact=True).click()
    page.get_by_role("button", name=re.compile("^Real")).click()
    assert len(metadata_by_person(service)) == said_before + 1
    page.get_by_role("button", name=re.compile("^Undo")).click()
    assert len(metadata_by_person(service)) == said_before
    page.get_by_role("link", name="Models").click()
    page.get_by_role("button", name="Put in service: vit/v1").click()
    expect(page.get_by_role("heading", name="Put vit/v1 in service?")).to_be_visible()
    page.get_by_role("link", name="Cancel").click()
    context.close()


def test_it_works_behind_a_proxy_that_takes_a_prefix_off(browser: Browser, service: ServiceProcess) -> None:
    with StrippingProxy(service.url) as proxy:
        context = browser.new_context()
        page = enter(context, proxy.url)
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        page.get_by_role("link", name="Pictures", exact=True).click()
        first = page.locator("a.shot").first
        expect(first.locator("img")).to_have_js_property("naturalWidth", 160)
        first.click()
        page.get_by_role("button", name=re.compile("^Unlabelled")).click()
        expect(page.get_by_role("status").filter(has_text="labelled by a person")).to_be_visible()
        page.get_by_role("link", name="Models", exact=True).click()
        page.get_by_role("link", name="vit/v2").click()
        expect(page.locator("iframe")).to_be_visible()
        assert page.url.startswith(f"{proxy.url}/console/")
        context.close()
        assert [path for path in proxy.strays if path != b"/favicon.ico"] == []


def test_the_keyboard_alone_reaches_everything(page: Page, service: ServiceProcess) -> None:
    to(page, service, "pictures")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.keyboard.press("Enter")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.outerHTML.slice(0, 60)"))
    assert any("shot" in each for each in reached)
    assert any("f-label" in each for each in reached)
    page.locator("a.shot").first.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/pictures/[0-9a-f]{64}"))
    name = page.locator("main h1").inner_text()
    page.keyboard.press("g")
    expect(page.get_by_role("status").filter(has_text="labelled by a person")).to_be_visible()
    assert page.locator("main h1").inner_text() == name
