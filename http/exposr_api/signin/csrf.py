"""Each change that a page asks for carries a token that only its own session can know (CSRF)."""

from __future__ import annotations

import hmac

from starlette.requests import Request

from exposr_api.answers.errors import ApiError
from exposr_api.signin.session import Session

FIELD = "csrf_token"
HEADER = "x-csrf-token"
OWN_SITE = ("same-origin", "none")  # "none": typed in, or from a bookmark


async def require_csrf_token(request: Request, session: Session, *, in_form: bool) -> None:
    """Raises ApiError unless the header, or with `in_form` a field, has the session's token, and no other site asks."""
    if request.headers.get("sec-fetch-site", "none") not in OWN_SITE:
        raise ApiError("forbidden", "another site asked for this; open the page here and try again")
    given = request.headers.get(HEADER)
    if given is None and in_form:
        field = (await request.form()).get(FIELD)
        given = field if isinstance(field, str) else None
    if given is None or not hmac.compare_digest(given.encode(), session.csrf_token.encode()):
        raise ApiError("forbidden", "this form is out of date; load the page again and repeat it")
