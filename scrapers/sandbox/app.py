"""A local stand-in for the sources' APIs and image hosts, over a folder of real pictures.

    https://api.unsplash.com -> /unsplash      https://civitai.com       -> /civitai
    https://api.pexels.com   -> /pexels        https://api.openverse.org -> /openverse
    https://commons.wikimedia.org -> /wikimedia

Images lie under /images/<source>/, the key is `sandbox`, and /control shows and changes what it does (docs/sandbox.md).
"""

from __future__ import annotations

import re
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scrapers.sandbox import control, images
from scrapers.sandbox.apis import civitai, openverse, pexels, unsplash, wikimedia
from scrapers.sandbox.catalogue import BuildCatalogue, Sandbox
from scrapers.sandbox.faults import play
from scrapers.sandbox.settings import SandboxSettings, SourceName
from utils.clock import Clock, SystemClock

BUILDERS: dict[SourceName, BuildCatalogue] = {
    "unsplash": unsplash.build_catalogue,
    "pexels": pexels.build_catalogue,
    "openverse": openverse.build_catalogue,
    "wikimedia": wikimedia.build_catalogue,
    "civitai": civitai.build_catalogue,
}


def create_sandbox(pictures: Path, settings: SandboxSettings | None = None, clock: Clock | None = None) -> Starlette:
    """The application. Raises OperatorError when there is nothing to show."""
    sandbox = Sandbox(pictures, settings or SandboxSettings(), BUILDERS, clock or SystemClock())
    routes = [
        *unsplash.routes(sandbox),
        *pexels.routes(sandbox),
        *openverse.routes(sandbox),
        *wikimedia.routes(sandbox),
        *civitai.routes(sandbox),
        *images.routes(sandbox),
        *control.routes(sandbox),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(FrontDoor, sandbox=sandbox)])
    app.router.redirect_slashes = False
    app.state.sandbox = sandbox
    return app


class FrontDoor:
    """Before routing: tolerate `//` and trailing slashes as the real ones do, write the journal, play faults."""

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = re.sub("/{2,}", "/", scope["path"]).rstrip("/") or "/"
        scope = {**scope, "path": path, "raw_path": path.encode()}
        request = Request(scope)
        sandbox = self._sandbox
        entry = sandbox.journal.begin(request, sandbox.key_kind(request))

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
            elif not message.get("more_body", False):
                # before the last bytes leave: a client that answers them at once is not a second one in flight
                sandbox.journal.end(entry)
            await send(message)

        fault = sandbox.injector.pick(sandbox.settings.faults, entry.source, entry.kind, path, request.url.query)
        try:
            if fault is None:
                await self._app(scope, receive, send_and_note)
            else:
                entry.fault = fault.kind
                await play(
                    fault, entry.source, entry.kind, sandbox.base(request), self._app, scope, receive, send_and_note
                )
        finally:
            sandbox.journal.end(entry)
