"""The sign-in page: a Jinja template, always escaped, under a policy that lets nothing in from elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from exposr_api.answers.responses import plain_response
from exposr_api.links import link

HTML = "text/html; charset=utf-8"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@functools.cache
def _templates() -> Environment:
    return Environment(loader=PackageLoader("exposr_api.signin"), autoescape=True, undefined=StrictUndefined)


def render(request: Request, template: str, status: int, headers: Mapping[str, str], **values: Any) -> Response:
    """`link(target)` in a template gives an address relative to this request's."""
    shown = {"link": functools.partial(link, request), **values}
    body = _templates().get_template(template).render(shown).encode("utf-8", "replace")
    return plain_response(body, HTML, status, {"content-security-policy": PAGE_POLICY, **headers})
