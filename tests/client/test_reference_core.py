"""examples/core as a process of its own: it answers, refuses clearly, and changes models without losing a request."""

from __future__ import annotations

import asyncio
import io
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from reference_core import ReferenceCore
from small_trainer import API_KEY, SmallTrainer
from versions import make_files

from exposr_client import Detector, ModelFollower

pytestmark = pytest.mark.timeout(240)  # each start of a Core imports torch, slowly on a busy machine

REQUESTS = 200
RELOADS = 3


def png(color: str = "red") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (200, 180), color).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallTrainer]:
    with SmallTrainer(tmp_path_factory.mktemp("published")) as trainer:
        yield trainer


@pytest.fixture(scope="module")
def core(trainer: SmallTrainer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReferenceCore]:
    """One process for the module: the tests run in their order on it."""
    with ReferenceCore(trainer.url, tmp_path_factory.mktemp("cache")) as core:
        yield core


def test_it_answers_as_the_guide_says_and_refuses_clearly(core: ReferenceCore, trainer: SmallTrainer) -> None:
    early = core.detect(png())
    assert early.status_code == 503
    assert early.json()["error"]["code"] == "no_model"
    files = make_files("v1", bias=2.0)
    trainer.publish("v1", files)
    core.wait_for("v1")
    answer = core.detect(png())
    assert answer.status_code == 200
    assert set(answer.json()) == {"ai_probability", "label", "model_version"}
    [expected] = Detector(trainer.folder / "vit" / "v1").predict([png()])
    assert math.isclose(answer.json()["ai_probability"], expected.probability, abs_tol=1e-5)
    assert answer.json()["label"] == expected.verdict
    assert answer.json()["model_version"] == "v1"

    report = f"{core.url}/report"
    told = httpx.post(report, files={"file": png()}, data={"label": "real", "note": "mine"}, timeout=60)
    assert (told.status_code, told.json()["status"]) == (202, "report stored")
    [sent] = trainer.reports
    assert (sent["file"], sent["label"], sent["note"]) == (png(), "real", "mine")
    assert (sent["version"], sent["verdict"]) == ("v1", expected.verdict)
    assert math.isclose(float(sent["probability"]), expected.probability, abs_tol=1e-5)
    trainer.report_answer = (409, {"error": {"code": "queue_full", "message": "too many wait"}})
    refused = httpx.post(report, files={"file": png()}, timeout=60)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "queue_full")
    assert httpx.post(report, files={"file": b"<html>"}, timeout=60).status_code == 422
    assert httpx.post(report, files={"file": png()}, data={"label": "cat"}, timeout=60).status_code == 400

    detect = f"{core.url}/detect"
    assert core.detect(b"this is no picture").status_code == 422
    assert core.detect(b"").status_code == 422
    assert core.detect(png()[:300]).status_code == 422
    assert core.detect(bytes(21 * 1024 * 1024)).status_code == 413
    assert httpx.post(detect, files={"other": ("a.png", png())}).status_code == 400
    assert httpx.post(detect, data={"file": "text"}).status_code == 415
    assert httpx.post(detect).status_code == 415
    assert httpx.post(detect, files=[("file", png()), ("file", png())]).status_code == 400
    assert httpx.post(detect, content=b"x", headers={"content-type": "multipart/form-data"}).status_code == 400
    assert httpx.get(detect).status_code == 405
    for response in (core.detect(b"?"), httpx.get(detect), httpx.get(f"{core.url}/nowhere")):
        assert set(response.json()["error"]) == {"code", "message"}


@pytest.mark.slow
def test_it_starts_from_its_cache_without_the_trainer(tmp_path: Path) -> None:
    with SmallTrainer(tmp_path / "published") as trainer:
        trainer.publish("v1", make_files("v1"))
        with ModelFollower(trainer.url, API_KEY, tmp_path / "cache") as follower:
            follower.download()
    with ReferenceCore(trainer.url, tmp_path / "cache") as core:
        core.wait_for("v1")
        assert core.detect(png()).json()["model_version"] == "v1"


@pytest.mark.slow
def test_reloads_and_a_version_that_does_not_load_lose_no_request(core: ReferenceCore, trainer: SmallTrainer) -> None:
    versions = {f"v{number}": make_files(f"v{number}", bias=number - 2.0) for number in range(1, RELOADS + 2)}
    trainer.publish("v1", versions["v1"])
    core.wait_for("v1")

    async def ask_all() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=REQUESTS)
        async with httpx.AsyncClient(base_url=core.url, timeout=60, limits=limits) as client:

            async def ask(number: int) -> httpx.Response:
                await asyncio.sleep(number * 0.01)
                return await client.post("/detect", files={"file": ("picture.png", png())})

            async def publish() -> None:
                for number in range(2, RELOADS + 2):
                    broken = versions[f"v{number}"] | {"weights.pt": b"no weights"}
                    await asyncio.to_thread(trainer.publish, f"v{number}0", broken)
                    await asyncio.to_thread(trainer.publish, f"v{number}", versions[f"v{number}"])
                    await asyncio.to_thread(core.wait_for, f"v{number}")

            answers, _ = await asyncio.gather(asyncio.gather(*map(ask, range(REQUESTS))), publish())
            return list(answers)

    answers = asyncio.run(ask_all())
    assert Counter(answer.status_code for answer in answers) == {200: REQUESTS}
    assert {answer.json()["model_version"] for answer in answers} <= set(versions)
    assert core.detect(png()).json()["model_version"] == f"v{RELOADS + 1}"
    # what it said came along with its polls
    observed = {row["version"] for batch in trainer.observed for row in batch["histograms"]}
    assert observed
    # v1 has also answered the test before, perhaps as the only one
    assert observed <= {answer.json()["model_version"] for answer in answers} | {"v1", f"v{RELOADS + 1}"}
    assert len({batch["reporter"] for batch in trainer.observed}) == 1
