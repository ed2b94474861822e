"""A service under many connections, slow clients and mixed load: it answers, and afterwards nothing is lost.

By default some seconds; EXPOSR_FAULTS=all loads it for ten minutes.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from filled_service import running
from invariants import data_violations, model_violations
from selection import ALL

from drawn_pictures import draw
from service_process import KEY, ServiceProcess, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200 if ALL else 120)]

LOAD_SECONDS = 600.0 if ALL else 3.0
CONNECTIONS = 1000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with running(tmp_path_factory.mktemp("service")) as made:
        yield made


def connect(service: ServiceProcess) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((address.hostname or "", address.port or 0), 5)


def test_a_thousand_open_connections_take_nothing_from_who_is_served(service: ServiceProcess) -> None:
    assert service.process is not None
    process = psutil.Process(service.process.pid)
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(httpx.Client(base_url=service.url, trust_env=False, timeout=10))
        assert client.get("/status").status_code == 200
        for _ in range(CONNECTIONS):
            stack.enter_context(connect(service))
        assert client.get("/status").status_code == 200
        with contextlib.suppress(httpx.TransportError):  # closed at once, when many are being refused
            assert httpx.get(service.url + "/status", trust_env=False, timeout=10).status_code == 503
        wait_until(lambda: process.num_fds() < 550, 10, lambda: str(process.num_fds()))
        assert client.get("/status").status_code == 200
    wait_until(
        lambda: httpx.get(service.url + "/status", trust_env=False, timeout=10).status_code == 200, 10, lambda: "busy"
    )


def test_clients_that_send_or_read_a_byte_now_and_then_take_nothing_from_others(service: ServiceProcess) -> None:
    head = f"GET /models/vit/v2/weights.pt HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(service)) for _ in range(50)]
        for number, byte in enumerate(head):
            for connection in slow:
                connection.sendall(bytes([byte]))
            if number % 20 == 0:
                before = time.monotonic()
                assert service.get("/status")["dataset_counts"]["total"] == 6
                assert time.monotonic() - before < 5
        for connection in slow:
            assert connection.recv(1) == b"H"
        assert service.get("/status")["dataset_counts"]["total"] == 6


def test_mixed_load_loses_nothing_and_leaves_nothing(service: ServiceProcess) -> None:
    assert service.process is not None
    process = psutil.Process(service.process.pid)
    wrong: list[str] = []
    answers: Counter[int] = Counter()
    until = time.monotonic() + LOAD_SECONDS

    def repeat(work: Callable[[httpx.Client], None]) -> None:
        with httpx.Client(base_url=service.url, headers=service.headers, trust_env=False, timeout=20) as client:
            while time.monotonic() < until:
                try:
                    work(client)
                except Exception as error:
                    wrong.append(repr(error))
                    return

    paths = itertools.cycle(  # the last is not there
        (
            "/status",
            "/health",
            "/metrics",
            "/models",
            "/models/latest",
            "/runs",
            "/models/vit/v2/weights.pt",
            "/nothing",
        )
    )

    def look(client: httpx.Client) -> None:
        answers[client.get(next(paths)).status_code] += 1

    def move(client: httpx.Client) -> None:
        answers[client.post(f"/models/vit/v{random.randint(1, 3)}/promote").status_code] += 1
        answers[client.post("/models/vit/rollback").status_code] += 1
        time.sleep(0.05)

    def listen(client: httpx.Client) -> None:
        with client.stream("GET", "/events") as stream:
            assert next(stream.iter_raw())

    numbers = itertools.count(1000)

    def drop(_: httpx.Client) -> None:
        file = service.data / f"real/load/{next(numbers)}.png"
        file.parent.mkdir(exist_ok=True)
        draw(random.randrange(1 << 30), 96).save(file)
        others = sorted(file.parent.iterdir())
        if len(others) > 20:
            random.choice(others).unlink()
        time.sleep(0.1)

    def watch(_: httpx.Client) -> None:
        wrong.extend(model_violations(service.models))
        time.sleep(0.02)

    threads = [
        threading.Thread(target=repeat, args=(work,)) for work in (look, look, look, look, move, listen, drop, watch)
    ]
    before = process.num_fds()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert set(answers) <= {200, 202, 404, 409}, answers
    assert answers[200] > 50
    there = len(list(Path(service.data / "real/load").iterdir()))
    service.wait_for_counts(60, total=6 + there, pending=0)
    wait_until(
        lambda: not data_violations(service.data, service.counts()),
        30,
        lambda: str(data_violations(service.data, service.counts())),
    )
    assert model_violations(service.models) == []
    assert process.num_fds() <= before + 20
    log = service.log.read_text()
    assert "Traceback" not in log
    assert KEY not in log
