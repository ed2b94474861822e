"""What all pages share: the request of somebody who has signed in, its form, and one-time messages.

Whether somebody has, and whether a form is one of ours, is checked before a page runs (`exposr_api/app.py`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from exposr_api.console.protocols import ConsoleData
from exposr_api.pages.rendering import redirect, render
from exposr_api.protocols import Decision, Service
from exposr_api.signin.session import Session, session_of

SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_MESSAGES = 1000  # that nobody came back for
Page: TypeAlias = Callable[[Request, "Visit"], Awaitable[Response]]
Handler: TypeAlias = Callable[[Request, Service], Awaitable[Response]]


class Visit:
    """One request of somebody who has signed in."""

    def __init__(self, request: Request, service: Service, session: Session) -> None:
        self.request = request
        self.service = service
        self.session = session

    @property
    def data(self) -> ConsoleData:
        data: ConsoleData = self.request.app.state.console
        return data

    @property
    def _messages(self) -> dict[str, tuple[str, bool]]:
        messages: dict[str, tuple[str, bool]] = self.request.app.state.console_messages
        return messages

    def say(self, text: str, *, bad: bool = False) -> None:
        """Shown once, on the next page."""
        if len(self._messages) > MAX_MESSAGES:
            self._messages.clear()
        self._messages[self.session.csrf_token] = (text, bad)

    def say_decision(self, decision: Decision) -> None:
        self.say(_sentence(decision.message), bad=not decision.accepted)

    def render(self, template: str, here: str, **values: Any) -> Response:
        """The page; or, when `?fragment=NAME` asks for it, `parts/NAME.html` with the same values."""
        fragment = self.request.query_params.get("fragment", "")
        common = {"here": here, "session": self.session, "said_here": "", **values}
        if not fragment or fragment not in values.get("fragments", ()):
            said, bad = self._take_message()
            return render(self.request, template, said=said, said_bad=bad, **common)
        if self.request.method == "POST":  # the answer to a form, rather than one of the refreshes
            common["said_here"], common["said_bad"] = self._take_message()
        return render(self.request, f"parts/{fragment}.html", **common)

    def _take_message(self) -> tuple[str, bool]:
        return self._messages.pop(self.session.csrf_token, ("", False))

    def redirect(self, path: str) -> Response:
        return redirect(self.request, path)

    async def form(self) -> FormData:
        return await self.request.form()


def page(answer: Page) -> Handler:
    """An endpoint's handler out of a page of the console."""

    @functools.wraps(answer)
    async def handler(request: Request, service: Service) -> Response:
        session = session_of(request)
        assert session is not None, "a page's endpoint has access='session'"
        return await answer(request, Visit(request, service, session))

    return handler


def only(form: FormData, name: str) -> str:
    """A text field that is there once; else nothing."""
    values = [value for value in form.getlist(name) if isinstance(value, str)]
    return values[0] if len(values) == 1 else ""


def _sentence(text: str) -> str:
    """With a capital letter, unless it begins with a name such as vit/v2, and with its full stop."""
    begins_with_word = text.partition(" ")[0].isalpha()
    text = text[:1].upper() + text[1:] if begins_with_word else text
    return text if text.endswith((".", "!", "?")) else f"{text}."
