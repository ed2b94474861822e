"""`scripts/screenshots`: every page in every look, as PNG files."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console_kit import enter, open_browser
from playwright.sync_api import Browser

from daemon.demo.pictures import collect_demo_pictures
from drawn_pictures import write_pictures
from service_process import KEY, ServiceProcess

OUT = Path(__file__).parents[2] / "build" / "screenshots"
LOOKS = {"light": ("light", 1280, 860), "dark": ("dark", 1280, 860), "phone": ("light", 390, 844)}
FIXED = {
    "overview": "",
    "pictures": "pictures",
    "rejected": "problems?kind=rejected",
    "conflicts": "problems?kind=conflict",
    "label": "queue",
    "label-folder": "queue?by=folder",
    "models": "models",
    "runs": "runs",
    "sources": "sources",
    "field": "field",
}
FIRST = {  # page -> where the first link to one of its kind is
    "picture": ("pictures?label=real", r'href="\.\./console/(pictures/[0-9a-f]{64})"'),
    "version": ("models", r'href="\.\./console/(models/[^"/]+/[^"/]+)"'),
    "run": ("runs?kind=train", r'href="\.\./console/(runs/[^"/]+)"'),
}
SHOWN = """() => [...document.images].filter((each) => each.getBoundingClientRect().top < innerHeight)
    .every((each) => each.complete && each.naturalWidth)"""


@contextmanager
def own_service(folder: Path) -> Iterator[str]:
    """The address of a service that has pictures to show, and a training behind it."""
    # what is shown is the console: a version is wanted, however little it is worth on so few pictures
    service = ServiceProcess(folder, {"EXPOSR_GATE__ENABLED": "false"})
    pictures = collect_demo_pictures(folder / "pictures", lambda text: print(text))
    print(f"{pictures.real} photographs and {pictures.ai_generated} generated pictures")
    for label in ("real", "ai_generated"):
        files = sorted(file for file in (folder / "pictures" / label).rglob("*") if file.is_file())
        for number, file in enumerate(files):
            below = file.relative_to(folder / "pictures" / label)
            if label == "real":
                below = Path("interiors" if "pexels" in file.name else "classics") / below
            place = service.data / ("inbox" if number % 5 == 4 else label) / below
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    (service.data / "real/not-a-picture.jpg").write_text("words")
    [twice] = write_pictures(service.data / "real", 1)
    (service.data / "ai_generated/twice.jpg").write_bytes(twice.read_bytes())
    service.start()
    try:
        service.wait_for_counts(120, pending=0)
        print("training")
        print(service.wait_for_run(service.post("/train").json()["run_id"], 600)["outcome"]["summary"])
        yield service.url
    finally:
        service.end()


def take(browser: Browser, url: str, key: str) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for look, (theme, width, height) in LOOKS.items():
        context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": height})  # type: ignore[arg-type]
        page = enter(context, url, key)
        pages = dict(FIXED)
        for name, (path, link) in FIRST.items():
            found = re.findall(link, page.request.get(f"{url}/console/{path}").text())
            if found:
                pages[name] = found[0]
        for name, path in pages.items():
            page.goto(f"{url}/console/{path}", wait_until="load")
            page.wait_for_function(SHOWN)
            page.wait_for_timeout(300)  # charts
            page.screenshot(path=OUT / f"{name}-{look}.png")
        context.close()
    print(f"{len(list(OUT.glob('*.png')))} pictures in {OUT}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/screenshots")
    parser.add_argument("--url", help="of a running service, without a slash at its end")
    parser.add_argument("--key", default=KEY, help="its API key")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        if given.url:
            take(browser, given.url, given.key)
        else:
            with own_service(Path(folder)) as url:
                take(browser, url, KEY)


main()
