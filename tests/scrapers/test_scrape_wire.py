"""Every way in which an image host can misbehave on the wire: what becomes of the one image that it hits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scrapers.harvest import SourceOutcome
from scrapers.sandbox.civitai import image_uuid
from scrapers.sandbox.server import SandboxServer
from utils.config_loader import Config

Collect = Callable[..., dict[str, SourceOutcome]]
Configure = Callable[..., Config]
Misbehave = Callable[..., None]

HASTY = {"read_seconds": 0.4, "download_seconds": 0.8, "max_attempts": 2}


def hit_one(sandbox: SandboxServer, misbehave: Misbehave, **fault: Any) -> str:
    """Let one of CivitAI's twelve images misbehave; its path."""
    victim = image_uuid(sandbox.sandbox.catalogues["civitai"].pictures[5])
    location = {"location": fault["location"].replace("{host}", sandbox.host)} if "location" in fault else {}
    misbehave(faults=[{"where": "image", "contains": victim, **fault, **location}])
    return victim


@pytest.mark.parametrize(
    ("fault", "state", "why"),
    [
        ({"kind": "html"}, "refused", "html"),
        ({"kind": "video"}, "refused", "video"),
        ({"kind": "truncated_image"}, "refused", "decode"),
        ({"kind": "length_too_small"}, "refused", "decode"),
        ({"kind": "gzip_bomb", "mebibytes": 8}, "refused", "content_encoding"),
        ({"kind": "image_bomb"}, "refused", "too_many_pixels"),
        ({"kind": "oversized", "mebibytes": 2}, "refused", "too_large"),
        ({"kind": "redirect"}, "refused", "not_https"),
        ({"kind": "redirect", "location": "https://169.254.169.254/latest"}, "refused", "host"),
        ({"kind": "redirect", "location": "http://10.0.0.1/x.jpg"}, "refused", "not_https"),
        ({"kind": "redirect", "location": "http://localhost:{port}/trap"}, "refused", "not_https"),
        ({"kind": "redirect", "location": "file:///etc/passwd"}, "refused", "not_https"),
        ({"kind": "redirect", "location": "http://user:word@{host}/x.jpg"}, "refused", "user_info"),
        ({"kind": "redirect_loop"}, "refused", "redirects"),
        ({"kind": "noai"}, "refused", "opt_out"),
        ({"kind": "noai", "header": "X-Robots-Tag: all, NoImageAI"}, "refused", "opt_out"),
        (
            {"kind": "noai", "header": "X-Robots-Tag: unavailable_after: 25 Jun 2030 15:00:00 GMT, noai"},
            "refused",
            "opt_out",
        ),
        ({"kind": "noai", "header": "tdm-reservation: 1"}, "refused", "opt_out"),
        ({"kind": "status", "status": 404}, "failed", "http_404"),
        ({"kind": "status", "status": 500, "retry_after": "0"}, "failed", "http_500"),
        ({"kind": "cut_body"}, "failed", "network"),
        ({"kind": "length_too_large"}, "failed", "network"),
        ({"kind": "slow_drip", "seconds": 0.1}, "failed", "timeout"),
        ({"kind": "hang"}, "failed", "timeout"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_the_one_image_is_left_out_with_its_reason_and_the_others_are_stored(
    configure: Configure,
    collect: Collect,
    sandbox: SandboxServer,
    misbehave: Misbehave,
    fault: dict[str, Any],
    state: str,
    why: str,
) -> None:
    hit_one(sandbox, misbehave, **fault)
    config = configure(only=("civitai",), every={"max_image_mb": 1}, harvest=HASTY)
    outcome = collect(config)["civitai"]
    assert outcome.tally.flat() == {"stored": 11, "duplicate": 0, f"{state}:{why}": 1}
    assert outcome.result.state == "finished"
    assert len([file for file in config.storage.local_path.rglob("*") if file.is_file()]) == 22
    assert set(sandbox.sandbox.journal.counters(with_paths=False)["hosts"]) == {sandbox.host}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "text_plain"},
        {"kind": "length_missing"},
        {"kind": "noai", "header": "X-Robots-Tag: otherbot: noai"},
        {"kind": "noai", "header": "X-Robots-Tag: unavailable_after: 25 Jun 2030 15:00:00 GMT"},
        {"kind": "noai", "header": "tdm-reservation: 0"},
        {"kind": "status", "status": 503, "retry_after": "0", "attempts": 1},
        {"kind": "status", "status": 503, "retry_after": "-5", "attempts": 1},
        {"kind": "status", "status": 503, "retry_after": "soon", "attempts": 1},
        {"kind": "status", "status": 429, "attempts": 1},
        {"kind": "cut_body", "attempts": 1},
        {"kind": "length_too_large", "attempts": 1},
        {"kind": "hang", "attempts": 1},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
def test_what_is_harmless_or_passes_costs_no_image(
    configure: Configure, collect: Collect, sandbox: SandboxServer, misbehave: Misbehave, fault: dict[str, Any]
) -> None:
    hit_one(sandbox, misbehave, **fault)
    outcome = collect(configure(only=("civitai",), harvest=HASTY))["civitai"]
    assert outcome.tally.flat() == {"stored": 12, "duplicate": 0}


def test_a_server_that_asks_for_days_parks_the_source_and_the_image_waits(
    configure: Configure, collect: Collect, sandbox: SandboxServer, misbehave: Misbehave
) -> None:
    hit_one(sandbox, misbehave, kind="status", status=503, retry_after="999999")
    config = configure(only=("civitai",))
    outcome = collect(config)["civitai"]
    assert outcome.result.state == "parked" and outcome.result.until is not None
    assert outcome.tally.total("failed") == 0
    before = sandbox.sandbox.journal.counters(with_paths=False)["requests"]
    assert collect(config, "run-2")["civitai"].result.state == "parked"
    assert sandbox.sandbox.journal.counters(with_paths=False)["requests"] == before


def test_an_api_that_redirects_elsewhere_gets_neither_key_nor_request(
    configure: Configure, collect: Collect, sandbox: SandboxServer, misbehave: Misbehave
) -> None:
    misbehave(faults=[{"kind": "redirect", "where": "api", "location": "http://localhost:{port}/trap"}])
    outcomes = collect(configure())
    assert sum(outcome.tally.total("stored") for outcome in outcomes.values()) == 0
    assert all("only https is followed" in outcome.result.message for outcome in outcomes.values())
    assert set(sandbox.sandbox.journal.counters(with_paths=False)["hosts"]) == {sandbox.host}


@pytest.mark.parametrize("kind", ["gzip_bomb", "html", "challenge", "cut_body"])
def test_an_api_that_is_broken_for_good_ends_its_source_in_words(
    configure: Configure, collect: Collect, sandbox: SandboxServer, misbehave: Misbehave, kind: str
) -> None:
    misbehave(faults=[{"kind": kind, "where": "api", "source": "civitai"}], photo_sources=("pexels",))
    outcomes = collect(configure(only=("civitai", "pexels"), harvest={"max_attempts": 3}))
    assert outcomes["civitai"].tally.total("stored") == 0
    assert outcomes["civitai"].result.message
    assert outcomes["pexels"].tally.total("stored") == 30
