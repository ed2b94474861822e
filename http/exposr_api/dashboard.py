"""`GET /`: one page for people, with nothing from elsewhere. It asks for the key and calls the API as clients do."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from exposr_api.answers.responses import revalidated_response

INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


def dashboard_response(request: Request) -> Response:
    page, policy = _page_and_policy()
    response = revalidated_response(request, page, "text/html; charset=utf-8")
    response.headers["content-security-policy"] = policy
    return response


@functools.cache
def _page_and_policy() -> tuple[bytes, str]:
    """The page, and a policy under which only its own inline style and script run and only this service is asked."""
    page = files("exposr_api").joinpath("dashboard.html").read_text(encoding="utf-8")
    allowed: dict[str, list[str]] = {"style": [], "script": []}
    for kind, text in INLINE.findall(page):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
        allowed[kind].append(f"'sha256-{digest}'")
    policy = (
        f"default-src 'none'; connect-src 'self'; img-src data:; style-src {' '.join(allowed['style'])}; "
        f"script-src {' '.join(allowed['script'])}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page.encode(), policy
