"""Ten thousand odd paths against the file API: nothing but published bytes is ever served."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from urllib.parse import quote

import pytest
from api_double import AUTH, KEY, WEIGHTS, SmallService, head_of
from starlette.testclient import TestClient

from exposr_api.transport.server import ApiServer

SECRET = b"must never leave this machine"
IN_PROCESS, OVER_SOCKETS = 1_500, 8_500

PARTS = [
    *("vit", "v1", "weights.pt", "model.json", "models", "latest", "key", "registry.json", "aliases.json", ".lock"),
    *(
        "..",
        ".",
        "...",
        "",
        "..;",
        "..\\",
        "\\",
        "\\..\\",
        "C:\\",
        "~",
        "-",
        "*",
        "?",
        "#",
        "|",
        "%",
        "%%",
        "%2",
        "%zz",
    ),
    *("%2e%2e", "%2E%2e", "%252e%252e", "%2f", "%5c", "%c0%ae%c0%ae", "%c0%af", "%e0%80%ae", "%uff0e", "．．", "∕"),
    *(
        "%00",
        "\x00",
        "weights.pt%00.json",
        "weights.pt\n",
        "%0a",
        "%0d%0a",
        " weights.pt",
        "weights.pt ",
        "weights.pt.",
    ),
    *("WEIGHTS.PT", "Vit", "V1", "v01", "v1 ", "v١", "weights.pt::$DATA", "weights.pt/", "file:", "http:"),
    *("etc", "passwd", "proc", "self", "environ", "state", "secret.pt", "link.pt", "linked", "outside", "notes.txt"),
    *(
        ".staging-v2-abc",
        "v2",
        "v9",
        "\ud800",
        "é",
        "e\u0301",
        "\u202e",
        "a" * 300,
        "a" * 5000,
        "0",
        "-1",
        "None",
        "null",
    ),
]


@pytest.fixture
def planted(service: SmallService, models_folder: Path, tmp_path: Path) -> SmallService:
    """One published version amid links to, and neighbours of, what must stay private."""
    service.models.publish()
    outside = tmp_path / "outside"
    (outside / "v1").mkdir(parents=True)
    for name in ("secret.pt", "weights.pt", "v1/weights.pt", "v1/model.json"):
        (outside / name).write_bytes(SECRET)
    family = models_folder / "vit"
    (models_folder / "secret.pt").write_bytes(SECRET)
    (family / "v1" / "notes.txt").write_bytes(SECRET)
    (family / "v1" / "link.pt").symlink_to(outside / "secret.pt")
    (family / "v1" / "linked").symlink_to(outside)
    (family / "v2").symlink_to(outside / "v1")
    (family / "v9").mkdir()
    (family / "v9" / "weights.pt").write_bytes(SECRET)
    (models_folder / "linked").symlink_to(outside)
    (family / ".staging-v2-abc").mkdir()
    (family / ".staging-v2-abc" / "weights.pt").write_bytes(SECRET)
    return service


def odd_path(chance: random.Random) -> str:
    """Three odd parts, a few more or less; some quoted once more, some glued with odd slashes."""
    count = chance.choice([3, 3, 3, 3, 1, 2, 4, 6, 12])
    parts = [chance.choice(PARTS) for _ in range(count)]
    if chance.random() < 0.3:
        parts = ["vit", "v1", *parts]
    if chance.random() < 0.2:
        parts[0] = "../" * chance.randrange(1, 9) + parts[0]
    if chance.random() < 0.2:
        parts = [quote(part, safe="", errors="surrogatepass") for part in parts]
    return "/models/" + chance.choice(["/", "/", "/", "//", "%2f", "\\", "/./"]).join(parts)


def is_allowed(status: int, body: bytes) -> bool:
    """Either a refusal in the error form, or the one published version, or what the API says about it."""
    if SECRET in body:
        return False
    return (
        status in (400, 401, 404, 405, 414, 431)
        or body in (WEIGHTS, b"")
        or body.startswith((b"{", b"-----BEGIN", b"<!doctype"))
    )


@pytest.mark.timeout(120)
def test_in_process(planted: SmallService, client: TestClient) -> None:
    chance = random.Random(7)
    served = 0
    for _ in range(IN_PROCESS):
        path = odd_path(chance)
        raw = quote(path, safe="/%:;*?#|\\~", errors="surrogatepass")
        answer = client.get(raw, headers=AUTH, follow_redirects=False)
        assert is_allowed(answer.status_code, answer.content), path
        assert answer.status_code < 500, path
        served += answer.content == WEIGHTS
    assert served < IN_PROCESS / 100


@pytest.mark.timeout(120)
def test_over_sockets_where_no_client_tidies_the_path(planted: SmallService, server: ApiServer) -> None:
    chance = random.Random(11)
    for _ in range(OVER_SOCKETS):
        path = odd_path(chance)
        raw = path.encode("utf-8", "surrogatepass")
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as peer:
            peer.sendall(b"GET " + raw + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n")
            peer.sendall(f"Authorization: Bearer {KEY}\r\n\r\n".encode())
            received = bytearray()
            while chunk := peer.recv(1 << 20):
                received += chunk
        status, _, body = head_of(bytes(received))
        assert is_allowed(status, body), path
        assert status < 500, path
