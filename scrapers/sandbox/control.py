"""/control: what the sandbox is set to and what it was asked; change settings, start the counting again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scrapers.sandbox.catalogue import Sandbox, whole_number
from scrapers.sandbox.settings import SandboxSettings
from utils.errors import OperatorError

DEFAULT_LOG_ENTRIES = 100
STANDS_FOR = {
    "unsplash": "https://api.unsplash.com",
    "pexels": "https://api.pexels.com",
    "civitai": "https://civitai.com",
    "openverse": "https://api.openverse.org",
    "wikimedia": "https://commons.wikimedia.org",
}


def routes(sandbox: Sandbox) -> list[Route]:
    panel = _Panel(sandbox)
    return [
        Route("/", panel.welcome),
        Route("/control", panel.show, methods=["GET"]),
        Route("/control", panel.change, methods=["POST"]),
        Route("/control/reset", panel.reset, methods=["POST"]),
    ]


class _Panel:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def welcome(self, request: Request) -> Response:
        """For whoever opens the address in a browser."""
        base = self._sandbox.base(request)
        offered = {name: len(catalogue.pictures) for name, catalogue in self._sandbox.catalogues.items()}
        body = {
            "what": "a local stand-in for the sources' APIs; see docs/sandbox.md",
            "stands_for": {address: f"{base}/{name}" for name, address in STANDS_FOR.items()},
            "key": self._sandbox.settings.key,
            "pictures": offered,
            "control": f"{base}/control",
        }
        return JSONResponse(body)

    async def show(self, request: Request) -> Response:
        """`?log=N` shows so many of the latest requests, `?paths=true` counts them by path."""
        entries = whole_number(request, "log", DEFAULT_LOG_ENTRIES) or 0
        journal = self._sandbox.journal
        body = {
            "settings": self._sandbox.settings.model_dump(mode="json"),
            "pictures": {name: len(catalogue.pictures) for name, catalogue in self._sandbox.catalogues.items()},
            "counters": journal.counters(with_paths=request.query_params.get("paths") == "true"),
            "log": [asdict(entry) for entry in journal.entries()[-entries:]] if entries > 0 else [],
        }
        return JSONResponse(body)

    async def change(self, request: Request) -> Response:
        """Settings to change, nested as in GET; what is not named stays."""
        try:
            changes = await request.json()
            merged = _merge(self._sandbox.settings.model_dump(), changes)
            self._sandbox.configure(SandboxSettings.model_validate(merged))
        except (ValidationError, ValueError, TypeError, OperatorError) as error:
            return JSONResponse({"error": {"code": "bad_settings", "message": str(error)}}, 400)
        return JSONResponse({"settings": self._sandbox.settings.model_dump(mode="json")})

    async def reset(self, request: Request) -> Response:
        """Empty the journal, the quotas and the attempts of the faults; the settings stay."""
        self._sandbox.reset()
        return JSONResponse({"status": "reset"})


def _merge(base: dict[str, Any], changes: object) -> dict[str, Any]:
    if not isinstance(changes, dict):
        raise TypeError("settings are a JSON object")
    merged = dict(base)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merge(merged[name], value) if both else value
    return merged
