"""An app, a client and a real server over the small service of api_double.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_double import KEY, SmallModels, SmallService
from starlette.applications import Starlette
from starlette.testclient import TestClient

from exposr_api.app import create_app
from exposr_api.auth import Keys
from exposr_api.transport.server import ApiServer


@pytest.fixture
def models_folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def service(models_folder: Path) -> SmallService:
    return SmallService(SmallModels(models_folder))


@pytest.fixture
def app(service: SmallService) -> Starlette:
    return create_app(service, Keys([KEY]))


@pytest.fixture
def client(app: Starlette) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def server(app: Starlette) -> Iterator[ApiServer]:
    server = ApiServer(app, "127.0.0.1", 0)
    server.start()
    yield server
    assert server.stop()
