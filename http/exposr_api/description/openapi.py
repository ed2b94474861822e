"""The description of the API (OpenAPI 3.1), served at `GET /openapi.json`. A test holds it equal to the route table."""

from __future__ import annotations

import functools
from typing import Any

from exposr_api.answers.errors import ERROR_CODES
from exposr_api.description.console import CONSOLE_PAGES
from exposr_api.description.pages import PAGES
from exposr_api.description.schemas import SCHEMAS
from exposr_api.signin.session import COOKIE

Document = dict[str, Any]

JSON = "application/json"
OPEN: list[Document] = []  # security requirement of a path that needs no key
RUN_KIND = {"name": "kind", "in": "query", "schema": {"enum": ["scrape", "train"]}, "description": "Only these runs."}
RUN_LIMIT = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50},
    "description": "At most this many, newest first.",
}
REPORT_LIMIT = {**RUN_LIMIT}
NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "schema": {"type": "string"},
    "description": "The ETag of an earlier answer: 304 without a body while it still holds.",
}
RANGE = {"name": "Range", "in": "header", "schema": {"type": "string"}, "description": "One range: `bytes=1000-`."}
IF_RANGE = {
    "name": "If-Range",
    "in": "header",
    "schema": {"type": "string"},
    "description": "The ETag that a resume belongs to; the whole file comes when it is another.",
}
PATH_PARTS = {
    "id": "Id of a run, as in `GET /runs`.",
    "name": "Family of the model, such as `vit`.",
    "version": "Version, such as `v2`.",
    "file": "A file that the version's entry names, such as `weights.pt`.",
}


@functools.cache
def openapi_document() -> Document:
    """The same document each time; do not change it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Exposr Trainer",
            "version": "1",
            "description": "Collects images, trains the real-or-generated detector, publishes and serves its versions.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "."}],  # relative to this document, so that a proxy's prefix stays
        "security": [{"key": []}, {"session": []}],
        "paths": _paths(),
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": COOKIE,
                    "description": "Of who has signed in at `/login`; a change also needs the header `X-CSRF-Token`.",
                },
            },
            "responses": {
                code: {"description": f"`{code}`: {meaning}", "content": {JSON: {"schema": _ref("Error")}}}
                for code, (_, meaning) in ERROR_CODES.items()
            },
        },
    }


def _paths() -> Document:
    return {
        **CONSOLE_PAGES,
        **PAGES,
        "/status": {"get": _get("Counts, current runs, what is due next", _json("Status"), security=OPEN)},
        "/health": {
            "get": _get(
                "Whether the service lives and is ready; 503 while it is not",
                _json("Health"),
                {"503": {"description": "Starting, or failing.", "content": {JSON: {"schema": _ref("Health")}}}},
                security=OPEN,
            )
        },
        "/openapi.json": {"get": _get("This description", _json({"type": "object"}), security=OPEN, cached=True)},
        "/metrics": {
            "get": _get(
                "Figures in JSON; in Prometheus' text for an Accept header that prefers it",
                {**_json("Metrics"), **_body("text/plain", {"type": "string"})},
            )
        },
        "/scrape": {"post": _post("Collect images now", _json("Started"), refusal=True)},
        "/train": {"post": _post("Train now", _json("Started"), refusal=True)},
        "/feedback": {
            "get": _get(
                "Reports about pictures that were judged wrongly, newest first",
                _json({"type": "object", "properties": {"reports": _list("Report")}, "required": ["reports"]}),
                _errors("bad_request"),
                parameters=[REPORT_LIMIT],
            ),
            "post": {
                **_post(
                    "Report a picture that a version got wrong",
                    _json("Receipt"),
                    _errors("bad_request", "not_a_picture", "too_many_reports", "busy"),
                    status="201",
                ),
                "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _ref("ReportForm")}}},
            },
        },
        "/observations": {
            "get": _get("What detectors have seen, beside validation, and whether it drifts", _json("Observations")),
            "post": {
                **_post("Hand over a detector's histograms", _json("Taken"), _errors("bad_request")),
                "requestBody": {"required": True, "content": _json("Batch")},
            },
        },
        "/runs": {
            "get": _get(
                "Scrapes and trainings, newest first",
                _json({"type": "object", "properties": {"runs": _list("Run")}, "required": ["runs"]}),
                _errors("bad_request"),
                parameters=[RUN_KIND, RUN_LIMIT],
            )
        },
        "/runs/{id}": {"get": _get("One run", _json("Run"), _errors("not_found"), path=["id"])},
        "/runs/{id}/stop": {
            "post": _post("Stop a run for good", _json("Started"), _errors("not_found"), ["id"], refusal=True)
        },
        "/events": {
            "get": _get(
                "Server-sent events: `status` first, then `counts`, `run` and `model` as they happen",
                _body("text/event-stream", {"type": "string"}),
                _errors("busy"),
            )
        },
        "/models": {
            "get": _get(
                "The published versions, oldest first",
                _json({"type": "object", "properties": {"models": _list("Version")}, "required": ["models"]}),
                cached=True,
            )
        },
        "/models/latest": {
            "get": _get("The version in service", _json("Latest"), _errors("nothing_published"), cached=True)
        },
        "/models/pointer": {
            "get": _get("The same, signed", _json("Pointer"), _errors("nothing_published"), cached=True)
        },
        "/models/key": {
            "get": _get(
                "Public half of the signing key, to be pinned",
                _body("application/x-pem-file", {"type": "string"}),
                cached=True,
            )
        },
        "/models/{name}/rollback": {
            "post": _post("Put the previous version back in service", _json("Moved"), _errors("not_found"), ["name"])
        },
        "/models/{name}/{version}/promote": {
            "post": _post("Put a version in service", _json("Moved"), _errors("not_found"), ["name", "version"])
        },
        "/models/{name}/{version}/{file}": {
            "get": _get(
                "A published file; its bytes never change, its ETag is their sha256",
                _body("application/octet-stream", {"type": "string", "format": "binary"}),
                {
                    "206": {"description": "The range asked for."},
                    **_errors("not_found", "precondition_failed", "range_not_satisfiable", "version_damaged"),
                },
                path=["name", "version", "file"],
                parameters=[RANGE, IF_RANGE],
                cached=True,
            )
        },
    }


def _get(
    summary: str,
    content: Document,
    further: Document | None = None,
    *,
    security: list[Document] | None = None,
    path: list[str] | None = None,
    parameters: list[Document] | None = None,
    cached: bool = False,
) -> Document:
    responses: Document = {"200": {"description": summary, "content": content}, **(further or {})}
    if cached:
        responses["304"] = {"description": "The caller has the newest already."}
    return _operation(summary, responses, security, path, [*(parameters or []), *([NONE_MATCH] if cached else [])])


def _post(
    summary: str,
    content: Document,
    further: Document | None = None,
    path: list[str] | None = None,
    *,
    refusal: bool = False,
    status: str = "200",
) -> Document:
    status = "202" if refusal else status
    refused = {"description": "Not now; the code says why.", "content": {JSON: {"schema": _ref("Refused")}}}
    responses: Document = {status: {"description": summary, "content": content}, "409": refused, **(further or {})}
    return _operation(summary, responses | _errors("forbidden", "too_large", "request_timeout"), None, path, [])


def _operation(
    summary: str,
    responses: Document,
    security: list[Document] | None,
    path: list[str] | None,
    parameters: list[Document],
) -> Document:
    parts = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": PATH_PARTS[name]}
        for name in path or []
    ]
    operation: Document = {"summary": summary, "responses": dict(responses)}
    if security is None:
        operation["responses"] |= _errors("unauthorized")
    else:
        operation["security"] = security
    operation["responses"] |= {
        "default": {"description": "Any other error.", "content": {JSON: {"schema": _ref("Error")}}}
    }
    if parts or parameters:
        operation["parameters"] = parts + parameters
    return operation


def _errors(*codes: str) -> Document:
    return {str(ERROR_CODES[code][0]): {"$ref": f"#/components/responses/{code}"} for code in codes}


def _ref(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(name: str) -> Document:
    return {"type": "array", "items": _ref(name)}


def _body(media_type: str, schema: Document) -> Document:
    return {media_type: {"schema": schema}}


def _json(schema: str | Document) -> Document:
    return _body(JSON, _ref(schema) if isinstance(schema, str) else schema)
