"""Whether an image's response headers say that it must not be used for training."""

from __future__ import annotations

import re

import httpx

TOKEN = "exposrtrainer"  # noqa: S105 - our product token in scoped directives
DIRECTIVES = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
AGENT = re.compile(r"\*|[a-z][\w.-]*")  # not the hours of a date
VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


def find_opt_out(headers: httpx.Headers) -> str | None:
    """The directive that forbids the use, or None.

    `X-Robots-Tag` may come several times, as a comma list, bare or scoped to an agent (`bot: noai, noindex`); the scope
    holds for what follows it in the same header. `unavailable_after: <date>` has a colon and a comma and no scope.
    """
    for value in headers.get_list("x-robots-tag"):
        scope = "*"
        for part in value.split(","):
            word = part.strip().lower()
            name, colon, rest = word.partition(":")
            if colon and name.strip() in VALUED:
                continue
            if colon and AGENT.fullmatch(name.strip()):
                scope, word = name.strip(), rest.strip()
            if word in DIRECTIVES and scope in ("*", TOKEN):
                return word
    if headers.get("tdm-reservation", "").strip() == "1":
        return "tdm-reservation"
    return None
