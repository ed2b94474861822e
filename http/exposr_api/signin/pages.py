"""`/login` and `/logout`: the API key once, for a session."""

from __future__ import annotations

import math
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from exposr_api.answers.responses import PRIVATE, SAFE_HEADERS
from exposr_api.auth import Keys
from exposr_api.links import link, route_path
from exposr_api.pages.rendering import render
from exposr_api.protocols import Service
from exposr_api.signin.csrf import require_csrf_token
from exposr_api.signin.session import COOKIE, Session, Sessions, any_session_of, session_of
from exposr_api.signin.tries import Tries
from utils.logs import get_logger

log = get_logger(__name__)

MAX_NEXT = 500  # characters of the address to come back to
NO_COOKIE = "The browser sent no cookie, or an old one. Allow cookies for this page and try again."
WRONG_KEY = "This is not a key of this service."


async def get_login(request: Request, service: Service) -> Response:
    if session_of(request) is not None:
        return redirect(request, "")
    return _form(request, _wanted(request.query_params.get("next")))


async def post_login(request: Request, service: Service) -> Response:
    """A right key begins a session of a new id: whatever cookie was there before stays worth nothing.

    Sent twice, as by a double click, the form signs in twice, and the second cookie counts.
    """
    form = await request.form()
    wanted, key = (str(form.get(name) or "") for name in ("next", "key"))
    wanted = _wanted(wanted)
    before = any_session_of(request)
    if before is None:
        return _form(request, wanted, 403, NO_COOKIE)
    await require_csrf_token(request, before, in_form=True)
    tries: Tries = request.app.state.tries
    address = request.client.host if request.client else ""
    wait = math.ceil(tries.wait_seconds(address))
    if wait:
        text = f"Too many wrong keys from this address. Try again in {wait} s."
        return _form(request, wanted, 429, text, {"retry-after": str(wait)})
    keys: Keys = request.app.state.keys
    token = key.strip().encode("utf-8", "replace")
    if not keys.accepts(token):
        tries.note_wrong(address)
        log.warning("sign_in_refused", client=address)
        return _form(request, wanted, 403, WRONG_KEY)
    tries.forget(address)
    log.info("signed_in", client=address)
    sessions: Sessions = request.app.state.sessions
    response = redirect(request, wanted)
    _set_cookie(request, response, sessions.signed_in(token))
    return response


async def post_logout(request: Request, service: Service) -> Response:
    """Ends this session, wherever a copy of its cookie may be."""
    session = session_of(request)
    if session is not None:
        sessions: Sessions = request.app.state.sessions
        await run_in_threadpool(sessions.end, session)
        log.info("signed_out", client=request.client.host if request.client else "")
    response = redirect(request, "login")
    response.set_cookie(COOKIE, "", max_age=0, path=None, httponly=True, samesite="lax")
    return response


def redirect(request: Request, target: str) -> Response:
    """303 to a path below the service's root, relative, so that a prefix stays."""
    return RedirectResponse(link(request, target), 303, {**SAFE_HEADERS, **PRIVATE})


def redirect_to_login(request: Request) -> Response:
    """For a page that needs a session; after sign-in the same page comes. A part that htmx asks for loads it whole."""
    is_part = "hx-request" in request.headers
    wanted = _shown_page(request) if is_part else _asked_page(request)
    target = f"login?next={quote(wanted, safe='')}" if wanted else "login"
    if is_part:
        return Response(status_code=401, headers={**SAFE_HEADERS, **PRIVATE, "hx-redirect": link(request, target)})
    return redirect(request, target)


def _asked_page(request: Request) -> str:
    wanted = route_path(request).lstrip("/") if request.method in ("GET", "HEAD") else ""
    return f"{wanted}?{request.url.query}" if wanted and request.url.query else wanted


def _shown_page(request: Request) -> str:
    """The page of the console on which a part was asked for, whatever prefix its address has."""
    address = urlsplit(request.headers.get("hx-current-url", ""))
    _, found, page = address.path.rpartition("/console/")
    return _wanted(f"console/{page}{'?' + address.query if address.query else ''}") if found else ""


def _form(
    request: Request, wanted: str, status: int = 200, error: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """The form, with an anonymous session to protect it where there is none yet."""
    session = any_session_of(request)
    sessions: Sessions = request.app.state.sessions
    shown = session or sessions.anonymous()
    response = render(request, "login.html", status, session=shown, next=wanted, error=error)
    response.headers.update(headers or {})
    if session is None:
        _set_cookie(request, response, shown)
    return response


def _set_cookie(request: Request, response: Response, session: Session) -> None:
    sessions: Sessions = request.app.state.sessions
    # no path: a browser takes the folder of the address, which is the service's root behind any prefix
    response.set_cookie(
        COOKIE,
        sessions.write(session),
        max_age=sessions.seconds,
        path=None,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def _wanted(value: str | None) -> str:
    """The page to go to after sign-in. Below this service's root: `link` keeps it there, whatever it says."""
    text = value or ""
    is_plain = len(text) <= MAX_NEXT and text.isascii() and text.isprintable() and "\\" not in text
    return text.lstrip("/") if is_plain else ""
