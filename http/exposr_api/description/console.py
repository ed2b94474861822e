"""The console in openapi.json."""

from __future__ import annotations

from exposr_api.description.pages import JSON_ERROR, OPEN, SEE_OTHER, SESSION, Document, error, form, page

CHOSEN: Document = {
    "decision": "`real`, `ai_generated`, `skip` or `undo`.",
    "picture": "SHA-256, once for each picture.",
}
CONFIRMED = "`yes`; anything else answers with the question."
FRAGMENT: Document = {
    "name": "fragment",
    "in": "query",
    "schema": {"type": "string"},
    "description": "Only this part of the page, as the page itself asks for it.",
}


def _in_path(name: str, pattern: str, meaning: str) -> Document:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": meaning}


SHA256 = _in_path("sha256", "^[0-9a-f]{64}$", "SHA-256 of the picture's bytes.")
MODEL = _in_path("name", "^[A-Za-z0-9][A-Za-z0-9._-]*$", "Family of the model, such as `vit`.")
NUMBER = _in_path("version", "^[A-Za-z0-9][A-Za-z0-9._-]*$", "Version, such as `v2`.")
RUN = _in_path("id", "^[A-Za-z0-9][A-Za-z0-9._:-]*$", "Id of a run.")
SIZE = _in_path("size", "^(small|large)$", "`small` (256 pixels) or `large` (1280 pixels).")
ASSET = _in_path("name", "^[a-z0-9.-]+$", "A file of the pages' own look.")


def _described(operation: Document, parameters: list[Document]) -> Document:
    return {**operation, "parameters": parameters}


def _file(summary: str, media_types: list[str], security: list[Document], parameters: list[Document]) -> Document:
    content = {kind: {"schema": {"type": "string"}} for kind in media_types}
    missing = {"description": "There is none.", "content": JSON_ERROR}
    answers = {"200": {"description": summary, "content": content}, "404": missing}
    if security:
        answers["303"] = SEE_OTHER
    return {
        "summary": summary,
        "security": security,
        "responses": {**answers, "default": error()},
        "parameters": parameters,
    }


CONSOLE_PAGES: Document = {
    "/": {"get": {**page("Leads to the console", OPEN), "responses": {"303": SEE_OTHER}}},
    "/console": {"get": {**page("Leads to the console", OPEN), "responses": {"303": SEE_OTHER}}},
    "/console/": {"get": page("Overview", SESSION, [FRAGMENT])},
    "/console/pictures": {"get": page("The gallery, newest first, with its filters", SESSION, [FRAGMENT])},
    "/console/pictures/{sha256}": {"get": page("One picture", SESSION, [SHA256])},
    "/console/pictures/{sha256}/label": {
        "post": _described(form("Label a picture", {"label": "`real`, `ai_generated` or `unlabeled`."}), [SHA256])
    },
    "/console/problems": {"get": page("Files that are not used, by kind")},
    "/console/queue": {
        "get": page("What to label next"),
        "post": form("Decide about pictures", {**CHOSEN, "by": "`one`, `folder` or `similar`."}),
    },
    "/console/models": {"get": page("The versions", SESSION, [FRAGMENT])},
    "/console/models/rollback": {"post": form("Roll back", {"confirmed": CONFIRMED})},
    "/console/models/{name}/{version}": {"get": page("One version", SESSION, [MODEL, NUMBER])},
    "/console/models/{name}/{version}/report": {"get": page("Its report", SESSION, [MODEL, NUMBER])},
    "/console/models/{name}/{version}/promote": {
        "post": _described(form("Put a version in service", {"confirmed": CONFIRMED}), [MODEL, NUMBER])
    },
    "/console/runs": {
        "get": page("The runs, newest first", SESSION, [FRAGMENT]),
        "post": form("Start a run", {"kind": "`scrape` or `train`."}),
    },
    "/console/runs/{id}": {"get": page("One run with its log", SESSION, [RUN, FRAGMENT])},
    "/console/runs/{id}/stop": {"post": _described(form("Stop a run for good", {"confirmed": CONFIRMED}), [RUN])},
    "/console/sources": {
        "get": page("The sources", SESSION, [FRAGMENT]),
        "post": form("Collect from one source now", {"source": "Its name."}),
    },
    "/console/field": {"get": page("What Exposr-Cores see and report")},
    "/console/events": {"get": _file("Names of events, for open pages", ["text/event-stream"], SESSION, [])},
    "/console/thumbnails/{size}/{sha256}": {"get": _file("A small picture", ["image/webp"], SESSION, [SIZE, SHA256])},
    "/console/static/{name}": {
        "get": _file("Style, scripts and icon", ["text/css", "text/javascript", "image/svg+xml"], OPEN, [ASSET])
    },
}
