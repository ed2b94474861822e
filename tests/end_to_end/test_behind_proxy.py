"""The service behind a reverse proxy that takes a prefix off and says nothing of it, as nginx does by default."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from service_process import KEY, ServiceProcess

PREFIX = "/trainer"
ADDRESSES = re.compile(r'(?:href|src|action|hx-get|hx-post|data-[a-z-]*(?:url|src))="([^"#]+)')
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


class StrippingProxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = port
        self.strays: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{PREFIX}/"


class _Handler(BaseHTTPRequestHandler):
    server: StrippingProxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self.path.startswith(f"{PREFIX}/"):
            self.server.strays.append(self.path)
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        target = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=20)
        target.request(self.command, self.path.removeprefix(PREFIX), body, dict(self.headers))
        answer = target.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        target.close()

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy(running: ServiceProcess) -> Iterator[StrippingProxy]:
    with StrippingProxy(urlsplit(running.url).port or 0) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield proxy
        proxy.shutdown()


def test_people_and_programs_work_behind_a_prefix(running: ServiceProcess, proxy: StrippingProxy) -> None:
    with httpx.Client(base_url=proxy.url, follow_redirects=True, timeout=20, trust_env=False) as browser:
        form = browser.get("console/pictures?label=real")
        assert form.url.path == f"{PREFIX}/login"
        token = re.findall(r'name="csrf_token" value="(\w+)"', form.text)
        hidden = re.findall(r'name="next" value="([^"]*)"', form.text)
        page = browser.post("login", data={"csrf_token": token[0], "key": KEY, "next": hidden[0]})
        assert page.status_code == 200
        assert (page.url.path, page.url.query) == (f"{PREFIX}/console/pictures", b"label=real")
        cookies = [cookie for cookie in browser.cookies.jar if cookie.name == "exposr_session"]
        assert [cookie.path for cookie in cookies] == [PREFIX]
        pages = [str(page.url), *(proxy.url + name for name in ("console/", "console/runs", "console/models"))]
        seen: set[str] = set()
        for address in pages:
            shown = browser.get(address)
            assert shown.status_code == 200, address
            for found in ADDRESSES.findall(shown.text):
                assert not found.startswith("/"), f"{address}: {found}"
                full = urljoin(str(shown.url), found.replace("&amp;", "&"))
                assert full.startswith(proxy.url) or found.startswith("data:"), f"{address}: {found}"
                if urlsplit(full).path.endswith((".css", ".js")):
                    seen.add(full)
        assert seen
        assert {browser.get(address).status_code for address in seen} == {200}
        assert browser.get("").url.path.startswith(f"{PREFIX}/console")
        document = browser.get("openapi.json")
        assert urljoin(str(document.url), document.json()["servers"][0]["url"] + "/status") == f"{proxy.url}status"
    program = httpx.get(f"{proxy.url}runs", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
    assert program.status_code == 200
    assert proxy.strays == []
