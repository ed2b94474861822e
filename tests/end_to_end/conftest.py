from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service_process import ServiceProcess


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    made = ServiceProcess(tmp_path)
    yield made
    made.end()


@pytest.fixture
def running(service: ServiceProcess) -> ServiceProcess:
    service.start()
    return service
