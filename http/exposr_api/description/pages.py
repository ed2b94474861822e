"""The pages for people in openapi.json: what a browser gets, and the forms it sends."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]

HTML: Document = {"text/html": {"schema": {"type": "string"}}}
ERROR: Document = {"$ref": "#/components/schemas/Error"}
JSON_ERROR: Document = {"application/json": {"schema": ERROR}}
SEE_OTHER: Document = {"description": "Done: `Location` is the page to show; without a session it is the sign-in form."}
SESSION: list[Document] = [{"session": []}]
OPEN: list[Document] = []
TOKEN = "The session's token: this field, or the header `X-CSRF-Token`."  # noqa: S105 - a description


def page(summary: str, security: list[Document] = SESSION, parameters: list[Document] | None = None) -> Document:
    """A page; who is not signed in is sent to the sign-in form."""
    responses = {"200": {"description": summary, "content": HTML}, "303": SEE_OTHER}
    return {
        "summary": summary,
        "security": security,
        "responses": {**responses, "default": error()},
        **({"parameters": parameters} if parameters else {}),
    }


def form(
    summary: str, fields: dict[str, str], security: list[Document] = SESSION, further: Document | None = None
) -> Document:
    """A change that a page asks for; `fields` beside the CSRF token, with what they mean."""
    described = {"csrf_token": TOKEN, **fields}
    properties = {name: {"type": "string", "description": meaning} for name, meaning in described.items()}
    schema = {"type": "object", "properties": properties}
    return {
        "summary": summary,
        "security": security,
        "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": schema}}},
        "responses": {
            "303": SEE_OTHER,
            "403": {"$ref": "#/components/responses/forbidden"},
            **(further or {}),
            "default": error(),
        },
    }


def error() -> Document:
    return {"description": "Any other error.", "content": {**JSON_ERROR, **HTML}}


LOGIN_FIELDS = {"key": "An API key.", "next": "Where to go then: a path below the service's root."}
REFUSED: Document = {"description": "The form again, with the reason.", "content": {**HTML, **JSON_ERROR}}
PAGES: Document = {
    "/login": {
        "get": page("The sign-in form", OPEN),
        "post": form("Sign in: an API key for a session", LOGIN_FIELDS, OPEN, {"403": REFUSED, "429": REFUSED}),
    },
    "/logout": {"post": form("Sign out: the session ends", {})},
}
