"""Pages out of templates: escaped, under a policy that runs only what this service brings, with relative addresses."""

from __future__ import annotations

import functools
from typing import Any

from jinja2 import ChainableUndefined, ChoiceLoader, Environment, PackageLoader
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from exposr_api.answers.responses import PRIVATE, SAFE_HEADERS
from exposr_api.links import link
from exposr_api.pages.assets import asset_version
from exposr_api.pages.words import FILTERS

ROOT = "console/"
HTML = "text/html; charset=utf-8"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; worker-src 'self';"
    " frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    **SAFE_HEADERS,
    **PRIVATE,
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}
TEMPLATES = ("exposr_api.pages", "exposr_api.signin", "exposr_api.console")  # packages with a folder templates/
NAVIGATION = (
    ("Overview", ""),
    ("Pictures", "pictures"),
    ("Label", "queue"),
    ("Models", "models"),
    ("Runs", "runs"),
    ("Sources", "sources"),
    ("Field", "field"),
)


def render(request: Request, template: str, code: int = 200, /, **values: Any) -> Response:
    """A page, or a part of one. `values` are escaped wherever the template puts them.

    In a template `to("models")` is the address of a page of the console, `link("login")` that of anything else.
    """
    context = {
        "to": lambda path: link(request, ROOT + path),
        "link": functools.partial(link, request),
        "asset": lambda name: link(request, f"{ROOT}static/{name}?{asset_version()}"),
        "nav": NAVIGATION,
        "here": None,
        "session": None,
        "said": "",
        "said_bad": False,
        **values,
    }
    body = _environment().get_template(template).render(context)
    return Response(body.encode("utf-8", "replace"), code, {**HEADERS, "content-type": HTML})


def redirect(request: Request, path: str) -> Response:
    """Go to a page of the console, after a form was sent."""
    return RedirectResponse(link(request, ROOT + path), 303, {**SAFE_HEADERS, **PRIVATE})


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in TEMPLATES]),
        autoescape=True,
        undefined=ChainableUndefined,  # a version's card may be of another time: what it lacks is not known
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update({words.__name__: words for words in FILTERS})
    environment.globals["zip"] = zip
    return environment
