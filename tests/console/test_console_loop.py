"""The whole loop as a person sees it: a training is started and watched, and what Core reports comes first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from console_kit import HOSTILE, enter, open_browser
from playwright.sync_api import Page, expect

from drawn_pictures import draw, write_pictures
from service_process import KEY, ServiceProcess, wait_until

CORE = Path(__file__).parents[2] / "examples/core"
QUICK = {  # a training of few measurements: what is looked at here is how it is shown
    "EXPOSR_GATE__ENABLED": "false",
    "EXPOSR_AUDIT__ENABLED": "false",
    "EXPOSR_TRAINING__MODE": "frozen",
    "EXPOSR_TRAINING__EPOCHS": "1",
    "EXPOSR_EVALUATION__ROBUSTNESS": "false",
    "EXPOSR_EVALUATION__LEAVE_ONE_OUT": "false",
    "EXPOSR_EVALUATION__BOOTSTRAP_SAMPLES": "100",
}


@pytest.fixture
def trainer(tmp_path: Path) -> Iterator[ServiceProcess]:
    made = ServiceProcess(tmp_path, QUICK)
    write_pictures(made.data / "real", 40)
    write_pictures(made.data / "ai_generated", 40, first_seed=1000)
    write_pictures(made.data / "inbox", 3, first_seed=2000)
    made.start()
    made.wait_for_counts(60, pending=0, total=83)
    yield made
    made.end()


@pytest.fixture
def core(trainer: ServiceProcess, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """examples/core as its own process, as someone integrating has it."""
    environ = {"EXPOSR_TRAINER_URL": trainer.url, "EXPOSR_TRAINER_API_KEY": KEY, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "uvicorn", "--app-dir", str(CORE), "app:app", "--port", "0"],
        env=os.environ | environ | {"EXPOSR_MODEL_CACHE": str(tmp_path / "cache")},
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.terminate()
    process.wait(20)
    assert process.stderr is not None
    process.stderr.close()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_training_is_stopped_another_watched_to_its_end_and_what_core_reports_comes_first(
    trainer: ServiceProcess, core: subprocess.Popen[str]
) -> None:
    with open_browser() as browser:
        page = enter(browser.new_context(), trainer.url)
        run_id = _start_training(page)
        page.once("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("#run .badge", has_text="stopped")).to_be_visible(timeout=40_000)
        assert trainer.get(f"/runs/{run_id}")["state"] == "stopped"
        assert trainer.get("/status")["running"] == {}

        _start_training(page)
        expect(page.locator("#run .badge", has_text="succeeded")).to_be_visible(timeout=240_000)  # without reload
        expect(page.locator("#run pre")).to_contain_text("version_published")
        page.goto(f"{trainer.url}/console/models")
        expect(page.get_by_text("in service", exact=True)).to_be_visible()

        url = _address(core)
        wait_until(lambda: httpx.get(f"{url}/health", trust_env=False).status_code == 200, 100, lambda: "no model")
        reported = trainer.folder / "reported.jpg"
        draw(4000).save(reported)
        with reported.open("rb") as picture:
            answer = httpx.post(
                f"{url}/report",
                files={"file": ("a.jpg", picture)},
                data={"label": "real", "note": HOSTILE},
                timeout=60,
                trust_env=False,
            )
        assert answer.status_code == 202, answer.text
        trainer.wait_for_counts(20, unlabeled=4)
        page.goto(f"{trainer.url}/console/queue")
        expect(page.locator("#queue")).to_contain_text("Reported by Exposr-Core")
        expect(page.locator("#queue")).to_contain_text(HOSTILE)
        page.keyboard.press("r")
        expect(page.locator("#queue")).not_to_contain_text("Reported by Exposr-Core")
        trainer.wait_for_counts(20, unlabeled=3, real=41)
        expect(page.locator("#queue")).to_contain_text("the model says P(generated)")


def _start_training(page: Page) -> str:
    """Its id, once its page shows that it goes on."""
    page.get_by_role("link", name="Runs").first.click()
    page.get_by_role("button", name="Train now").click()
    page.wait_for_url(re.compile("/console/runs/train-"))
    expect(page.locator("#run progress")).to_be_visible(timeout=60_000)
    return page.url.rpartition("/")[2]


def _address(core: subprocess.Popen[str]) -> str:
    assert core.stderr is not None
    for line in core.stderr:
        if found := re.search(r"running on (http://[\d.]+:\d+)", line):
            return found[1]
    raise AssertionError("the reference Core did not start")
