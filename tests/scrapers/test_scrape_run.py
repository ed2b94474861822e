"""Whole runs against the sandbox over real sockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lifted import NAMES

from fake_clock import FakeClock
from scrapers.harvest import Harvest, user_agent
from scrapers.outcomes.outcome import SourceOutcome
from scrapers.sandbox.server import SandboxServer
from scrapers.status import collected_mix, source_states
from utils.config_loader import Config
from utils.errors import StopRunError
from utils.files import sha256_of_file
from utils.metadata import Metadata, read_metadata

Collect = Callable[..., dict[str, SourceOutcome]]
Configure = Callable[..., Config]
Misbehave = Callable[..., None]


def metas(config: Config) -> list[Metadata]:
    return [read_metadata(file) for file in sorted((config.storage.local_path / "meta").rglob("*.json"))]


def images(config: Config) -> list[Path]:
    return [file for file in (config.storage.local_path / "images").rglob("*") if file.is_file()]


def requests(sandbox: SandboxServer) -> Counter[str]:
    return Counter(sandbox.sandbox.journal.counters(with_paths=False)["requests"])


def offered(sandbox: SandboxServer, *names: str) -> int:
    return sum(len(sandbox.sandbox.catalogues[name].pictures) for name in names)


def stored(outcomes: dict[str, SourceOutcome]) -> int:
    return sum(outcome.tally.total("stored") for outcome in outcomes.values())


def test_all_sources_are_crawled_downloaded_and_stored_with_the_guides_metadata(
    configure: Configure, collect: Collect, sandbox: SandboxServer
) -> None:
    config = configure()
    outcomes = collect(config)
    assert {outcomes[name].result.state for name in NAMES} == {"finished"}
    found = metas(config)
    assert stored(outcomes) == len(found) == len(images(config)) == 42, "each picture once, whoever offers it"
    for meta in found:
        assert meta.label == ("ai_generated" if meta.source == "civitai" else "real") and meta.label_source == "source"
        assert {"platform", "photographer", "license", "url"} <= set(meta.attribution)
        assert sha256_of_file(config.storage.local_path / meta.path) == meta.sha256
        assert meta.api_data["creator"].startswith(f"{meta.source}:")
        assert {"url", "etag", "time", "variant"} <= set(meta.api_data["download"])
        assert "?" not in meta.api_data["download"]["url"]
    assert {meta.api_data["generator"] for meta in found if meta.source == "civitai"} == {"Model A"}
    assert {Path(meta.path).suffix for meta in found} == {".jpg", ".png", ".webp"}, "the true types"


def test_originals_are_kept_byte_by_byte(configure: Configure, collect: Collect, few_pictures: Path) -> None:
    config = configure()
    collect(config)
    given = {sha256_of_file(file) for file in few_pictures.rglob("*.*")}
    assert {meta.sha256 for meta in metas(config)} == given


def test_a_second_run_stores_nothing_twice_and_finds_what_is_new(
    configure: Configure, collect: Collect, sandbox: SandboxServer, misbehave: Misbehave
) -> None:
    config = configure(only=("civitai",))
    misbehave(civitai={"shifting_feed": 5})
    sandbox.sandbox.count_call("never")  # nothing revealed yet
    first = stored(collect(config))
    downloads = requests(sandbox)["civitai image"]
    misbehave()
    second = stored(collect(config, "run-2"))
    assert first + second == 12 and first < 12
    assert requests(sandbox)["civitai image"] == downloads + second


def test_a_newest_page_that_has_not_changed_is_not_sent_again(
    configure: Configure, collect: Collect, sandbox: SandboxServer, misbehave: Misbehave
) -> None:
    misbehave(photo_sources=("unsplash",))
    config = configure(only=("unsplash",), every={"queries": ("noise",)})
    first = stored(collect(config))
    sandbox.sandbox.reset()
    assert stored(collect(config, "run-2")) == 0 and first > 0
    assert sandbox.sandbox.journal.counters(with_paths=False)["statuses"] == {"unsplash api 304": 1}


def test_every_request_carries_our_name_and_the_key_goes_to_the_api_only(
    configure: Configure, collect: Collect, sandbox: SandboxServer
) -> None:
    collect(configure(every={"contact": "ops@example.org"}))
    counters = sandbox.sandbox.journal.counters(with_paths=False)
    assert set(counters["agents"]) == {user_agent("ops@example.org")}
    assert user_agent("ops@example.org").startswith("ExposrTrainer/")
    keys = {key.split(" ", 1)[1] for key in counters["keys"]}
    assert keys == {"api sandbox", "api anonymous", "image anonymous"}  # openverse needs no key
    assert set(counters["hosts"]) == {sandbox.host}


def test_limits_hold_for_a_query_and_a_run(configure: Configure, collect: Collect, misbehave: Misbehave) -> None:
    misbehave(photo_sources=("pexels",))
    config = configure(only=("pexels",), every={"limit_per_query": 4})
    assert stored(collect(config)) == 4
    assert stored(collect(config, "run-2", limit=3)) == 3


def test_what_a_limit_left_over_is_taken_by_the_next_run_without_asking_again(
    configure: Configure, collect: Collect, sandbox: SandboxServer, misbehave: Misbehave
) -> None:
    misbehave(photo_sources=("pexels",))
    config = configure(only=("pexels",), every={"limit_per_query": 10, "head_interval_seconds": 3600})
    assert stored(collect(config)) == 10
    pages = requests(sandbox)["pexels api"]
    assert stored(collect(config, "run-2")) == 10
    assert requests(sandbox)["pexels api"] == pages


def test_what_waits_under_a_query_that_was_removed_is_not_lost(
    configure: Configure, collect: Collect, misbehave: Misbehave
) -> None:
    misbehave(photo_sources=("pexels",))
    assert stored(collect(configure(only=("pexels",), every={"limit_per_query": 10}))) == 10
    changed = configure(only=("pexels",), every={"queries": ("noise",), "head_interval_seconds": 3600})
    assert stored(collect(changed, "run-2")) == 20


def test_one_creator_fills_no_more_than_its_share(configure: Configure, collect: Collect, misbehave: Misbehave) -> None:
    misbehave(creators=1)
    outcomes = collect(configure(only=("civitai",), every={"max_per_creator": 5}))
    assert outcomes["civitai"].as_details()["filtered"] == {"creator_cap": 7}
    assert stored(outcomes) == 5


def test_a_label_that_is_far_ahead_waits_for_the_other(
    configure: Configure, collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scrapers.limits.balance.SLACK_IMAGES", 2)
    outcomes = collect(configure(harvest={"max_label_ratio": 1}))
    generated = outcomes["civitai"].tally.total("stored")
    assert generated == 12
    assert stored(outcomes) - generated <= generated + 2 + 3 * 8, "ahead by what was under way, at most"
    assert any("max_label_ratio" in outcome.result.message for outcome in outcomes.values())


def test_a_day_and_a_size_can_be_limited(configure: Configure, collect: Collect) -> None:
    assert stored(collect(configure(only=("civitai",), every={"max_per_day": 5}))) == 5
    size = sum(file.stat().st_size for file in images(configure()))
    config = configure(only=("civitai",), storage={"max_dataset_gb": (size + 25_000) / 1e9})
    grown = collect(config, "run-2")["civitai"]
    assert "max_dataset_gb" in grown.result.message and grown.tally.total("stored") > 0
    held = sum(file.stat().st_size for file in images(config))
    assert size < held <= size + 25_000, "not even what was under way goes beyond it"
    outcome = collect(configure(only=("civitai",), storage={"max_dataset_gb": 1e-6}), "run-2b")["civitai"]
    assert "max_dataset_gb" in outcome.result.message and outcome.tally.total("stored") == 0
    config = configure(only=("civitai",), storage={"min_free_gb": 1e6})
    assert "min_free_gb" in collect(config, "run-3")["civitai"].result.message


# keys and quotas


def test_each_source_says_what_it_lacks_and_the_others_go_on(configure: Configure, collect: Collect) -> None:
    config = configure(
        keys={"pexels_api_key": "wrong", "civitai_api_key": "sandbox"}, openverse={"base_url": "http://127.0.0.1:9"}
    )
    outcomes = collect(config)
    assert (outcomes["unsplash"].result.state, outcomes["pexels"].result.state) == ("no_key", "blocked")
    assert "UNSPLASH_ACCESS_KEY" in outcomes["unsplash"].result.message
    assert "key was refused" in outcomes["pexels"].result.message
    assert "PEXELS_API_KEY" in outcomes["pexels"].result.message
    assert outcomes["openverse"].result.state == "parked"
    assert "cannot be reached" in outcomes["openverse"].result.message
    assert outcomes["civitai"].tally.total("stored") == 12


def test_a_real_host_needs_a_contact_and_a_disabled_source_says_so(configure: Configure, collect: Collect) -> None:
    real = {"base_url": "https://api.pexels.com", "min_interval_seconds": None, "requests_per_hour": None}
    real |= {
        "requests_per_day": None,
        "head_interval_seconds": 300,
        "image_interval_seconds": 1,
        "image_connections": 1,
    }
    config = configure(only=("pexels",), pexels={**real, "image_hosts": ("images.pexels.com",)})
    outcomes = collect(config)
    assert outcomes["pexels"].result.state == "blocked" and "contact" in outcomes["pexels"].result.message
    assert outcomes["civitai"].result.state == "disabled"


@pytest.mark.parametrize("status", [403, 429])
def test_unsplash_out_of_quota_is_parked_until_the_hour_ends_and_stays_so(
    configure: Configure,
    collect: Collect,
    misbehave: Misbehave,
    sandbox: SandboxServer,
    fake_clock: FakeClock,
    status: int,
) -> None:
    misbehave(photo_sources=("unsplash",), unsplash={"hourly_limit": 4, "exhausted_status": status})
    # headers are not believed here: the source itself must say it
    config = configure(only=("unsplash",), every={"requests_per_hour": 0})
    misbehave(
        photo_sources=("unsplash",), unsplash={"hourly_limit": 4, "exhausted_status": status, "stale_headers": True}
    )
    fake_clock.pass_time(1200)
    outcome = collect(config, clock=fake_clock)["unsplash"]
    assert outcome.result.state == "parked"
    (state, *_) = source_states(config, fake_clock.now)
    assert state.name == "unsplash" and not state.usable
    assert (state.parked_until or "").startswith("2026-03-01T13:00:")
    asked = requests(sandbox)
    assert collect(config, "run-2", clock=fake_clock)["unsplash"].result.state == "parked"
    assert requests(sandbox) == asked, "a parked source is left alone"
    sandbox.sandbox.reset()
    fake_clock.pass_time(2500)
    assert source_states(config, fake_clock.now)[0].usable
    assert collect(config, "run-3", clock=fake_clock)["unsplash"].tally.total("stored") > 0


def test_unsplash_in_demo_mode_never_exceeds_its_fifty_calls(
    configure: Configure, collect: Collect, misbehave: Misbehave, sandbox: SandboxServer, fake_clock: FakeClock
) -> None:
    misbehave(synthetic=200, photo_sources=("unsplash",), unsplash={"hourly_limit": 50})
    config = configure(only=("unsplash",), every={"requests_per_hour": None})
    outcome = collect(config, clock=fake_clock)["unsplash"]
    calls = requests(sandbox)["unsplash api"]
    assert outcome.result.state == "parked" and 40 <= calls <= 48
    reports = Counter(
        {
            path: n
            for path, n in sandbox.sandbox.journal.counters(with_paths=True)["paths"].items()
            if "download" in path
        }
    )
    assert max(reports.values()) == 1, "one report for each image used"
    assert outcome.tally.total("stored") == len(reports) >= 43


def test_pexels_429_without_headers_parks_to_the_hour(
    configure: Configure, collect: Collect, misbehave: Misbehave, fake_clock: FakeClock
) -> None:
    misbehave(synthetic=400, photo_sources=("pexels",), pexels={"hourly_limit": 2})
    outcome = collect(configure(only=("pexels",)), clock=fake_clock)["pexels"]
    assert outcome.result.state == "parked" and outcome.result.until is not None
    assert outcome.result.until.hour == 13 and outcome.result.until.day == 1
    assert outcome.tally.total("stored") == 160, "what the pages had given was still fetched"


def test_pexels_out_of_its_month_rests_until_the_month_ends(
    configure: Configure, collect: Collect, misbehave: Misbehave, fake_clock: FakeClock
) -> None:
    misbehave(photo_sources=("pexels",), pexels={"monthly_limit": 20_000, "monthly_used": 19_990})
    config = configure(only=("pexels",), every={"queries": ("a", "b", "c")})
    outcome = collect(config, clock=fake_clock)["pexels"]
    assert outcome.result.state == "parked" and outcome.result.until is not None
    assert (outcome.result.until - fake_clock.now()).days >= 1


# CivitAI's paging


@pytest.mark.parametrize(
    "quirks",
    [
        {"generation": "old"},
        {"generation": "new"},
        {"generation": "old", "short_pages": True, "wrapped_meta": True, "expire_cursor_at_page": 2},
        {"generation": "new", "empty_pages": True, "expire_cursor_at_page": 3},
    ],
    ids=str,
)
def test_civitai_is_crawled_to_its_end_whatever_its_pages_do(
    configure: Configure, collect: Collect, misbehave: Misbehave, sandbox: SandboxServer, quirks: dict[str, Any]
) -> None:
    misbehave(synthetic=400, civitai=quirks)
    outcome = collect(configure(only=("civitai",), every={"image_connections": 16}))["civitai"]
    assert outcome.result.state == "finished"
    assert outcome.tally.total("stored") == offered(sandbox, "civitai") == 212


def test_a_cursor_cycle_ends_the_crawl(
    configure: Configure, collect: Collect, misbehave: Misbehave, sandbox: SandboxServer
) -> None:
    misbehave(synthetic=400, civitai={"cursor_cycle_pages": 1, "short_pages": True})
    outcome = collect(configure(only=("civitai",), every={"image_connections": 16}))["civitai"]
    assert outcome.result.state == "finished" and outcome.tally.total("stored") >= 100
    assert requests(sandbox)["civitai api"] < 10


@pytest.mark.parametrize(("switch", "words"), [("region_blocked", "region"), ("challenge", "challenge")])
def test_civitai_blocks_are_reported_and_not_fought(
    configure: Configure, collect: Collect, misbehave: Misbehave, sandbox: SandboxServer, switch: str, words: str
) -> None:
    misbehave(civitai={switch: True})
    outcome = collect(configure(only=("civitai",)))["civitai"]
    assert outcome.result.state == "blocked" and words in outcome.result.message
    assert requests(sandbox)["civitai api"] == 1


# what a single run is told


def test_only_what_was_published_since_a_day_is_taken_and_the_rest_waits(
    configure: Configure, collect: Collect, sandbox: SandboxServer
) -> None:
    dates = sorted(picture.created for picture in sandbox.sandbox.catalogues["civitai"].pictures)
    config = configure(only=("civitai", "pexels"))
    outcomes = collect(config, since=dates[7])
    assert outcomes["civitai"].tally.total("stored") == 5
    assert outcomes["pexels"].tally.total("stored") == 0 and "--since" in outcomes["pexels"].result.message
    assert collect(config, "run-2")["civitai"].tally.total("stored") == 7


def test_only_large_pictures_are_taken_and_the_others_later(configure: Configure, collect: Collect) -> None:
    config = configure(only=("openverse",))
    assert stored(collect(config, min_side=81)) == 0, "all are 80 pixels high"
    assert stored(collect(config, "run-2", min_side=80)) == 30


# Wikimedia Commons


def test_commons_gives_photographs_and_generated_pictures_with_their_generator(
    configure: Configure, collect: Collect, misbehave: Misbehave, sandbox: SandboxServer
) -> None:
    misbehave(wikimedia={"lag_calls": 1})
    config = configure(only=("wikimedia", "wikimedia_ai"))
    outcomes = collect(config)
    counts = {name: outcome.tally.total("stored") for name, outcome in outcomes.items()}
    assert (counts["wikimedia"], counts["wikimedia_ai"]) == (30, 12)
    for meta in metas(config):
        generated = meta.source == "wikimedia_ai"
        assert meta.label == ("ai_generated" if generated else "real")
        assert meta.api_data.get("generator") == ("Model A" if generated else None)
        assert meta.attribution["photographer"] and "<" not in meta.attribution["photographer"]
        assert meta.api_data["creator"].startswith(f"{meta.source}:")
    assert collected_mix(config) == {"real": {"wikimedia": 30}, "ai_generated": {"Model A": 12}}
    assert sandbox.sandbox.journal.counters(with_paths=False)["peak_in_flight"]["wikimedia api"] == 1, "as they ask"
    again = collect(config, "run-2")
    assert stored(again) == 0 and again["wikimedia"].is_good and again["wikimedia_ai"].is_good


def test_generators_are_kept_in_balance(
    configure: Configure, collect: Collect, misbehave: Misbehave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scrapers.limits.shares.SLACK_IMAGES", 4)
    misbehave(synthetic=120)  # 60 generated ones of 8 generators, besides 12 of Model A
    config = configure(only=("civitai",), harvest={"max_generator_share": 0.1})
    outcome = collect(config)["civitai"]
    assert outcome.as_details()["filtered"]["generator_share"] > 0
    mix = collected_mix(config)["ai_generated"]
    assert len(mix) == 9 and max(mix.values()) <= max(4, 0.1 * sum(mix.values()) + 1)
    freed = configure(only=("civitai",), harvest={"max_generator_share": 0})
    assert stored({"civitai": outcome}) + stored(collect(freed, "run-2")) == 72, "what was left out is taken then"


def test_a_generator_without_others_is_not_held_back(
    configure: Configure, collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scrapers.limits.shares.SLACK_IMAGES", 2)
    assert stored(collect(configure(only=("civitai",)))) == 12


# odd and foreign items


def test_only_true_labels_are_stored(configure: Configure, collect: Collect, misbehave: Misbehave) -> None:
    odd: dict[str, Any] = {"odd_items": True, "foreign_items": True}
    misbehave(
        unsplash={**odd, "sponsored_first": True, "inexact_totals": True},
        pexels={"odd_items": True, "wrong_extensions": True, "claimed_total": 8000},
        civitai=odd,
        openverse={"foreign_items": True},
    )
    config = configure()
    outcomes = collect(config)
    left_out = {
        name: {**outcome.as_details()["filtered"], **outcome.as_details()["refused"]}
        for name, outcome in outcomes.items()
    }
    assert {"watermarked", "not_a_photo", "render"} <= set(left_out["unsplash"])
    assert {"rating", "no_evidence", "gif", "video"} <= set(left_out["civitai"])
    assert "file_type" in left_out["openverse"]
    assert {outcomes[name].result.state for name in NAMES} == {"finished"}
    for meta in metas(config):
        assert (config.storage.local_path / meta.path).is_file()


def test_a_flagged_query_is_never_asked_again(
    configure: Configure, collect: Collect, sandbox: SandboxServer, misbehave: Misbehave
) -> None:
    misbehave(photo_sources=("unsplash",))
    config = configure(only=("unsplash",), every={"queries": ("spam",)})
    assert "flagged" in collect(config)["unsplash"].result.message
    collect(config, "run-2")
    assert requests(sandbox)["unsplash api"] == 1


def test_a_huge_original_is_replaced_by_the_smaller_variant(
    configure: Configure, collect: Collect, misbehave: Misbehave
) -> None:
    misbehave(photo_sources=("pexels",), pexels={"huge_original_bytes": 3_000_000})
    config = configure(only=("pexels",), every={"max_image_mb": 1})
    outcome = collect(config)["pexels"]
    assert outcome.tally.total("refused") == 0
    assert "large2x" in {meta.api_data["download"]["variant"] for meta in metas(config)}


def test_a_second_collection_on_the_same_state_refuses(configure: Configure) -> None:
    config = configure()

    async def both() -> None:
        first = asyncio.create_task(Harvest(config, "one").run())
        await asyncio.sleep(0.1)
        try:
            with pytest.raises(StopRunError, match="another collection"):
                await Harvest(config, "two").run()
        finally:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    asyncio.run(both())
