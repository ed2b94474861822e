"""Addresses that work behind any prefix: every one is relative to the request's own, so no prefix has to be known."""

from __future__ import annotations

from starlette.requests import Request


def link(request: Request, target: str) -> str:
    """`target`, a path below the service's root without a leading slash, as seen from the page that is asked for.

    "" is the root. From `/pictures/7` the target `pictures` is `../pictures`; query and fragment may follow it.
    """
    depth = route_path(request).count("/") - 1
    # "./" first: a target that came from outside can then never be read as a scheme or a host
    return "../" * max(depth, 0) + target if depth > 0 else f"./{target}"


def route_path(request: Request) -> str:
    """The path without the prefix that a proxy has put before it."""
    path: str = request.scope["path"]
    return path.removeprefix(request.scope.get("root_path", ""))
