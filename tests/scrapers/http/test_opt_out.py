from __future__ import annotations

import httpx
import pytest

from scrapers.http.opt_out import find_opt_out


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Robots-Tag", "noai")],
        [("x-robots-tag", "NoImageAI")],
        [("X-Robots-Tag", "max-snippet:20, noindex")],
        [("X-Robots-Tag", "all"), ("X-Robots-Tag", "noai, noimageai")],
        [("X-Robots-Tag", "*: noai")],
        [("X-Robots-Tag", "ExposrTrainer: noai")],
        [("X-Robots-Tag", "otherbot: noindex, exposrtrainer: noimageindex")],
        [("X-Robots-Tag", "unavailable_after: Wed, 01 Jan 2099 00:00:00 GMT, noai")],
        [("X-Robots-Tag", "none")],
        [("tdm-reservation", "1")],
    ],
)
def test_opt_outs_are_found_in_every_spelling(headers: list[tuple[str, str]]) -> None:
    assert find_opt_out(httpx.Headers(headers)) is not None


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Robots-Tag", "all")],
        [("X-Robots-Tag", "googlebot: noindex")],
        [("X-Robots-Tag", "otherbot: noai, noindex")],
        [("X-Robots-Tag", "unavailable_after: Wed, 01 Jan 2099 00:00:00 GMT")],
        [("X-Robots-Tag", "nofollow, noarchive")],
        [("tdm-reservation", "0")],
    ],
)
def test_what_is_not_meant_for_us_is_no_opt_out(headers: list[tuple[str, str]]) -> None:
    assert find_opt_out(httpx.Headers(headers)) is None
