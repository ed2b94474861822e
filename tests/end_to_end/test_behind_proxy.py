"""The service behind a reverse proxy that takes a prefix off and says nothing of it, as nginx does by default."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

import httpx

from service_process import KEY, ServiceProcess
from stripping_proxy import StrippingProxy

PREFIX = "/trainer"  # of the proxy
ADDRESSES = re.compile(r'(?:href|src|action|hx-get|hx-post|data-[a-z-]*(?:url|src))="([^"#]+)')


def test_people_and_programs_work_behind_a_prefix(running: ServiceProcess) -> None:
    with StrippingProxy(running.url) as proxy:
        use(proxy)
        assert proxy.strays == []


def use(proxy: StrippingProxy) -> None:
    root = f"{proxy.url}/"
    with httpx.Client(base_url=root, follow_redirects=True, timeout=20, trust_env=False) as browser:
        form = browser.get("console/pictures?label=real")
        assert form.url.path == f"{PREFIX}/login"
        token = re.findall(r'name="csrf_token" value="(\w+)"', form.text)
        hidden = re.findall(r'name="next" value="([^"]*)"', form.text)
        page = browser.post("login", data={"csrf_token": token[0], "key": KEY, "next": hidden[0]})
        assert page.status_code == 200
        assert (page.url.path, page.url.query) == (f"{PREFIX}/console/pictures", b"label=real")
        cookies = [cookie for cookie in browser.cookies.jar if cookie.name == "exposr_session"]
        assert [cookie.path for cookie in cookies] == [PREFIX]
        pages = [str(page.url), *(root + name for name in ("console/", "console/runs", "console/models"))]
        seen: set[str] = set()
        for address in pages:
            shown = browser.get(address)
            assert shown.status_code == 200, address
            for found in ADDRESSES.findall(shown.text):
                assert not found.startswith("/"), f"{address}: {found}"
                full = urljoin(str(shown.url), found.replace("&amp;", "&"))
                assert full.startswith(root) or found.startswith("data:"), f"{address}: {found}"
                if urlsplit(full).path.endswith((".css", ".js")):
                    seen.add(full)
        assert seen
        assert {browser.get(address).status_code for address in seen} == {200}
        assert browser.get("").url.path.startswith(f"{PREFIX}/console")
        document = browser.get("openapi.json")
        assert urljoin(str(document.url), document.json()["servers"][0]["url"] + "/status") == f"{root}status"
    program = httpx.get(f"{root}runs", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
    assert program.status_code == 200
