"""A running sandbox over a handful of real files, and clients for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from encoded_pictures import noise_picture
from scrapers.sandbox.server import SandboxServer
from scrapers.sandbox.settings import SandboxSettings

AUTHORIZATION = {"unsplash": "Client-ID sandbox", "pexels": "sandbox", "civitai": "Bearer sandbox"}
PHOTOS = 36
GENERATED = 30


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(PHOTOS):
        path = folder / "real" / f"trip {index % 3}" / f"wet-street_{index}.{('jpg', 'png', 'webp')[index % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise_picture(index, (120 + index, 90)).save(path)
    for index in range(GENERATED):
        name = f"FLUX.1/lighthouse {index}.png" if index % 2 else f"image_z_image_turbo-{index}.webp"
        path = folder / "ai_generated" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise_picture(PHOTOS + index, (96, 128 + index)).save(path)
    (folder / "real" / "notes.txt").write_text("not a picture")
    return folder


@pytest.fixture(scope="session")
def server(pictures: Path) -> Iterator[SandboxServer]:
    with SandboxServer(pictures) as server:
        yield server


@pytest.fixture
def sandbox(server: SandboxServer) -> Iterator[SandboxServer]:
    """The running sandbox with default settings and an empty journal."""
    server.sandbox.configure(SandboxSettings())
    server.sandbox.reset()
    yield server
    server.sandbox.configure(SandboxSettings())


@pytest.fixture
def http(sandbox: SandboxServer) -> Iterator[httpx.Client]:
    """A client with a name of its own that follows no redirect."""
    with httpx.Client(
        base_url=sandbox.url, headers={"user-agent": "Tests/1.0 (+https://example.org)"}, timeout=10
    ) as client:
        yield client


@pytest.fixture
def call(http: httpx.Client) -> Callable[..., httpx.Response]:
    """`call("pexels", "/v1/curated", page=2)`: an API call with the key in the source's own form."""

    def make(source: str, path: str, **parameters: Any) -> httpx.Response:
        headers = {"authorization": AUTHORIZATION[source]} if source in AUTHORIZATION else {}
        return http.get(f"/{source}{path}", params=parameters, headers=headers)

    return make


@pytest.fixture
def set_sandbox(http: httpx.Client) -> Callable[..., None]:
    """`set_sandbox(pexels={"hourly_limit": 3})` through /control, as a person would."""

    def change(**settings: Any) -> None:
        answer = http.post("/control", content=json.dumps(settings))
        assert answer.status_code == 200, answer.text

    return change
