"""A source must not go silent for good: what is refused by settings, odd items, bad pages, single bad files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from one_page import OnePage, config_for, one_page_source, photo, picture
from raw_server import answer, raw_server

from fake_clock import FakeClock
from scrapers.__main__ import emit_result, summarize
from scrapers.http.address_guard import AllowList
from scrapers.outcomes.outcome import SourceOutcome
from scrapers.status import EMPTY_RUNS_UNTIL_DEGRADED, candidate_totals, how_to_start, source_states
from scrapers.store.schema import DATABASE_FILE
from utils.config.sources import Civitai, Openverse, Pexels, Source, Unsplash
from utils.config_loader import Config, Secrets, load_config
from utils.errors import ConfigError

Collect = Callable[..., dict[str, SourceOutcome]]


@pytest.fixture
def source() -> Iterator[OnePage]:
    with one_page_source() as (source, _):
        yield source


def good(source: OnePage, *numbers: int) -> list[dict[str, Any]]:
    return [photo(number, f"{source.url}/image/{number}.jpg") for number in numbers]


# verdicts that depend on settings


@pytest.mark.parametrize("through", ["payload", "redirect"])
def test_a_host_that_is_allowed_later_is_asked_then(
    tmp_path: Path, source: OnePage, collect: Collect, through: str
) -> None:
    body = picture(1)
    with raw_server(lambda head: answer(body, Content_Length=str(len(body)))) as other:
        source.pages = [[photo(1, f"{other.url}/1.jpg" if through == "payload" else f"{source.url}/image/1.jpg")]]
        source.files = {"/image/1.jpg": answer(b"", status="302 Found", Location=f"{other.url}/1.jpg")}
        first = collect(config_for(tmp_path, source))["pexels"].as_details()
        assert first["stored"] == 0 and sum(first["refused"].values()) == 1
        assert collect(config_for(tmp_path, source), "run-2")["pexels"].as_details()["stored"] == 0
        assert other.heads == []
        own = source.url.removeprefix("http://")
        allowed = config_for(tmp_path, source, image_hosts=(own, other.host))
        assert collect(allowed, "run-3")["pexels"].as_details()["stored"] == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [({"max_image_mb": 0.0001}, {}), ({"max_per_creator": 1}, {"max_per_creator": 9})],
    ids=["size", "creator"],
)
def test_a_limit_that_is_raised_lets_in_what_it_kept_out(
    tmp_path: Path, source: OnePage, collect: Collect, before: dict[str, Any], after: dict[str, Any]
) -> None:
    source.pages = [[{**item, "photographer_id": 7} for item in good(source, 1, 2, 3)]]
    kept = collect(config_for(tmp_path, source, **before))["pexels"].tally.total("stored")
    assert kept < 3
    assert collect(config_for(tmp_path, source, **after), "run-2")["pexels"].tally.total("stored") == 3 - kept


def test_a_verdict_of_an_older_version_is_asked_again(
    tmp_path: Path, source: OnePage, collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.pages = [good(source, 1)]
    source.files = {"/image/1.jpg": answer(b"GIF89a" + bytes(60), Content_Length="66")}
    config = config_for(tmp_path, source)
    assert collect(config)["pexels"].as_details()["refused"] == {"gif": 1}
    source.files.clear()
    assert collect(config, "run-2")["pexels"].tally.total("stored") == 0
    monkeypatch.setattr("scrapers.outcomes.reasons.VERSION", "99.0")
    assert collect(config, "run-3")["pexels"].tally.total("stored") == 1


def test_a_state_of_the_first_version_forgets_what_it_refused_by_its_settings(
    tmp_path: Path, source: OnePage, collect: Collect
) -> None:
    source.pages = [good(source, 1, 2)]
    config = config_for(tmp_path, source)
    collect(config, limit=1)
    with sqlite3.connect(config.storage.state_path / DATABASE_FILE) as db:
        db.executescript(
            "ALTER TABLE crawls RENAME TO walks; ALTER TABLE walks DROP COLUMN failures;"
            "ALTER TABLE walks DROP COLUMN skipped; DROP INDEX items_basis; DROP INDEX items_mix;"
            "ALTER TABLE items DROP COLUMN basis; ALTER TABLE items DROP COLUMN generator;"
            "ALTER TABLE sources DROP COLUMN outcome; ALTER TABLE sources DROP COLUMN empty_runs;"
            "ALTER TABLE sources DROP COLUMN rules; DROP TABLE totals; PRAGMA user_version = 1;"
            "UPDATE items SET state = 'refused', why = 'host_not_allowed', candidate = NULL WHERE state = 'queued';"
        )
    db.close()
    assert source_states(config)[1].outcome is None, "the older form is left alone by readers"
    assert collect(config, "run-2")["pexels"].as_details()["stored"] == 1


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (Civitai(), "https://image.civitai.com/x/1/original=true/1.jpeg"),
        (Civitai(), "https://image-b2.civitai.com/file/civitai-media-cache/7c1f7d0e/original"),
        (Civitai(), "https://image.civitai.red/x"),
        (Unsplash(), "https://images.unsplash.com/photo-1"),
        (Pexels(), "https://images.pexels.com/photos/1/a.jpeg"),
        (Openverse(), "https://live.staticflickr.com/1/2_3_b.jpg"),
        (Civitai(image_hosts=("image.civitai.com",)), "https://image-b2.civitai.com/file/x"),
        (Pexels(image_hosts=("*.cdn.example",)), "https://eu.cdn.example/a.jpg"),
    ],
)
def test_every_host_of_the_sources_own_domains_may_hand_over_pictures(settings: Source, url: str) -> None:
    AllowList.of(settings).check_image(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://civitai.com.evil.example/x",
        "https://evilcivitai.com/x",
        "http://image.civitai.com/x",
        "https://image.civitai.com:8443/x",
        "https://civitai.net/x",
    ],
)
def test_no_other_host_passes_for_one_of_them(url: str) -> None:
    with pytest.raises(Exception, match=r"not on the source's list|only https"):
        AllowList.of(Civitai()).check_image(url)


def test_a_whole_top_level_domain_cannot_be_allowed() -> None:
    with pytest.raises(ConfigError, match="top-level"):
        load_config(environ={"EXPOSR_SOURCES__PEXELS__IMAGE_HOSTS": '["*.com"]'})


# odd items and unreadable pages


ODD_URLS = [
    "http://127.0.0.1:99999/x.jpg",
    "https://[::1/x.jpg",
    "https://exa mple/\x00.jpg",
    "https://\ud800/x.jpg",
    "http://[v1.x]/x",
    "https://a:b@127.0.0.1:-1/x",
    "x" * 100_000,
    "",
    7,
    None,
    ["https://x"],
    {"a": 1},
]


def test_odd_addresses_cost_their_own_items_only(tmp_path: Path, source: OnePage, collect: Collect) -> None:
    odd = [photo(100 + index, url) for index, url in enumerate(ODD_URLS)]
    source.pages = [[*good(source, 1, 2, 3), *odd, None, 7, [], {"id": {}}, *good(source, 4, 5)]]
    details = collect(config_for(tmp_path, source))["pexels"].as_details()
    assert details["stored"] == 5
    assert details["offered"] == 5 + len(odd) + 4, "each is counted"
    assert details["filtered"]["no_id"] == 4
    again = collect(config_for(tmp_path, source), "run-2")["pexels"].as_details()
    assert again["state"] == "finished" and again["stored"] == 0 and again["known"] == 5 and not again["empty"]


def test_an_item_that_breaks_the_reader_is_left_out(
    tmp_path: Path, source: OnePage, collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    import scrapers.sources.pexels as pexels

    read = pexels._read_photo
    monkeypatch.setattr(pexels, "_read_photo", lambda item: read(item) if item["id"] != 2 else 1 / 0)
    source.pages = [good(source, 1, 2, 3)]
    details = collect(config_for(tmp_path, source))["pexels"].as_details()
    assert details["stored"] == 2 and details["filtered"] == {"unreadable": 1}


UNREADABLE_PAGES = [
    b"[]",
    b'{"photos": 5}',
    b"{",
    b"",
    b"\xff\xfe\x00\x00",
    b'{"photos": ' + b"[" * 100 + b"]" * 100 + b"}",
]


@pytest.mark.parametrize("body", UNREADABLE_PAGES, ids=range(len(UNREADABLE_PAGES)))
def test_a_page_that_cannot_be_read_is_skipped_after_three_runs_with_an_alert(
    tmp_path: Path, source: OnePage, collect: Collect, body: bytes
) -> None:
    source.pages = [good(source, 1, 2), body, good(source, 3, 4)]
    config = config_for(tmp_path, source, head_interval_seconds=3600)
    outcomes = [collect(config, f"run-{number}")["pexels"].as_details() for number in range(3)]
    assert [outcome["stored"] for outcome in outcomes] == [2, 0, 2]
    assert [alert["code"] for alert in outcomes[2]["alerts"]] == ["page_skipped"]
    assert outcomes[0]["alerts"] == [] and outcomes[0]["message"]


def test_a_number_beyond_reason_costs_no_page(tmp_path: Path, source: OnePage, collect: Collect) -> None:
    page = json.dumps({"photos": good(source, 1, 2)}).replace('"id": 2', '"id": ' + "9" * 6000)
    source.pages = [page.encode()]
    details = collect(config_for(tmp_path, source))["pexels"].as_details()
    assert details["stored"] == 1 and details["filtered"] == {"no_id": 1}


# empty success


def test_a_run_in_which_everything_was_refused_has_failed_and_says_why(
    tmp_path: Path, source: OnePage, collect: Collect, capsys: pytest.CaptureFixture[str]
) -> None:
    source.pages = [[photo(number, f"https://elsewhere.example/{number}.jpg") for number in range(20)]]
    config = config_for(tmp_path, source)
    for number in range(EMPTY_RUNS_UNTIL_DEGRADED):
        outcomes = list(collect(config, f"run-{number}").values())
        emit_result(outcomes)
        event = json.loads(capsys.readouterr().out.splitlines()[-1])
        pexels = event["details"]["sources"]["pexels"]
        assert event["result"] == "failed" and "20 refused" in event["summary"]
        assert (pexels["offered"], pexels["stored"], pexels["refused"]) == (20, 0, {"host_not_allowed": 20})
        assert "sources.pexels.image_hosts" in pexels["reasons"]["host_not_allowed"]["remedy"]
        state = source_states(config)[1]
        assert state.empty_runs == number + 1 and state.outcome == pexels
        assert bool(state.problem) == (number + 1 == EMPTY_RUNS_UNTIL_DEGRADED)
    assert "image_hosts" in state.problem and "20 refused" in state.problem
    assert candidate_totals(config) == {("pexels", "refused", "host_not_allowed"): 60}
    source.pages = [good(source, 50)]
    assert collect(config, "run-9")["pexels"].is_good
    assert source_states(config)[1].problem == ""


def test_a_source_of_which_everything_is_known_has_not_failed(
    tmp_path: Path, source: OnePage, collect: Collect
) -> None:
    source.pages = [good(source, 1, 2)]
    config = config_for(tmp_path, source)
    collect(config)
    outcome = collect(config, "run-2")["pexels"]
    assert outcome.is_good and outcome.as_details()["known"] == 2 and not outcome.tally.is_empty
    assert "0 stored" in summarize([outcome])


def test_a_source_of_which_no_page_can_be_read_has_failed(tmp_path: Path, source: OnePage, collect: Collect) -> None:
    source.pages = [b"{}"]
    outcome = collect(config_for(tmp_path, source))["pexels"]
    assert not outcome.is_good and outcome.tally.is_empty and "no list of photos" in outcome.describe()


def test_a_source_that_cannot_be_reached_for_long_is_a_problem_and_one_out_of_quota_is_not(
    tmp_path: Path, source: OnePage, collect: Collect, fake_clock: FakeClock
) -> None:
    config = config_for(tmp_path, source, base_url="http://127.0.0.1:9/pexels")
    for number in range(EMPTY_RUNS_UNTIL_DEGRADED):
        collect(config, f"run-{number}", clock=fake_clock, sleep=passing(fake_clock, []))
        fake_clock.pass_time(3600)
    state = source_states(config, fake_clock.now)[1]
    assert "cannot be reached" in state.problem and state.empty_runs == EMPTY_RUNS_UNTIL_DEGRADED
    source.pages = [answer(b"", status="429 Too Many Requests")]
    source.respond_pages = True
    for number in range(EMPTY_RUNS_UNTIL_DEGRADED):
        config = config_for(tmp_path / "quota", source)
        outcome = collect(config, f"run-{number}", clock=fake_clock)["pexels"]
        assert outcome.result.state == "parked" and outcome.result.code == "quota"
        fake_clock.pass_time(7200)
    assert source_states(config, fake_clock.now)[1].problem == ""


# faults of single items


BAD_FILES = {
    "too_long": answer(picture(1), Content_Length="100000"),
    "too_short": answer(picture(1), Content_Length="10"),
    "negative": answer(picture(1), Content_Length="-5"),
    "no_number": answer(picture(1), Content_Length="many"),
    "garbage": b"HTTP/1.1 2x0 ?\r\n\r\n",
}


def passing(clock: FakeClock, waits: list[float]) -> Callable[[float], Awaitable[None]]:
    """Sleep on a fake clock."""

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.pass_time(seconds)

    return sleep


def test_bad_files_do_not_close_their_host(
    tmp_path: Path, source: OnePage, collect: Collect, fake_clock: FakeClock
) -> None:
    bad = [f"/bad/{kind}-{copy}.jpg" for kind in BAD_FILES for copy in range(3)]
    source.files = {path: BAD_FILES[path.split("/")[2].split("-")[0]] for path in bad}
    items = [photo(200 + index, f"{source.url}{path}") for index, path in enumerate(bad)]
    source.pages = [[*items, *good(source, *range(1, 41))]]
    waits: list[float] = []
    config = config_for(tmp_path, source, image_connections=1)
    details = collect(config, clock=fake_clock, sleep=passing(fake_clock, waits))["pexels"].as_details()
    assert details["stored"] == 40 and details["state"] == "finished"
    assert sum(details["failed"].values()) + sum(details["refused"].values()) == len(bad)
    assert max(waits, default=0) < 60, "no breaker has opened"


def test_a_host_that_answers_nothing_is_closed(
    tmp_path: Path, source: OnePage, collect: Collect, fake_clock: FakeClock
) -> None:
    source.pages = [good(source, *range(1, 41))]
    source.files = {f"/image/{number}.jpg": b"" for number in range(1, 41)}
    config = config_for(tmp_path, source, image_connections=1)
    outcome = collect(config, clock=fake_clock, sleep=passing(fake_clock, []))["pexels"].as_details()
    assert sum(outcome["failed"].values()) < 40, "the others wait until it is better"
    assert outcome["waiting"] > 0


def test_an_outage_of_many_runs_does_not_use_up_the_tries_of_an_item(
    tmp_path: Path, source: OnePage, collect: Collect
) -> None:
    source.pages = [good(source, 1)]
    source.files = {"/image/1.jpg": b""}
    config = config_for(tmp_path, source, harvest={"max_attempts": 1})
    for number in range(8):
        collect(config, f"run-{number}")
    source.files.clear()
    assert collect(config, "run-8")["pexels"].as_details()["stored"] == 1


# what to type


def test_keys_without_a_file_are_told_at_once_what_to_type(tmp_path: Path) -> None:
    keys = {"unsplash_access_key": "a", "pexels_api_key": "b", "civitai_api_key": "c"}
    config = Config(storage={"state_path": tmp_path}, secrets=Secrets.model_validate(keys))
    said = how_to_start(config)
    typed = dict(part.split("=", 1) for part in said.split() if part.startswith("EXPOSR_"))
    assert len(typed) == 6 and "docs/sources.md" in said
    started = load_config(environ={**typed, "UNSPLASH_ACCESS_KEY": "a", "PEXELS_API_KEY": "b", "CIVITAI_API_KEY": "c"})
    assert how_to_start(started) == ""
    assert [state.name for state in source_states(started) if state.usable] == ["unsplash", "pexels", "civitai"]
    (reason,) = [state.reason for state in source_states(config) if state.name == "openverse"]
    assert "enabled is false" in reason and "contact" in reason, "all that is missing, at once"


def test_calls_that_never_left_this_machine_cost_no_quota_and_no_pause(
    tmp_path: Path, source: OnePage, collect: Collect, fake_clock: FakeClock
) -> None:
    waits: list[float] = []
    config = config_for(tmp_path, source, base_url="http://127.0.0.1:9/pexels", min_interval_seconds=600)
    outcome = collect(config, clock=fake_clock, sleep=passing(fake_clock, waits))["pexels"]
    assert outcome.result.state == "parked" and "cannot be reached" in outcome.result.message
    assert max(waits) < 60, "the pause between two calls is for calls that the source has seen"
    with sqlite3.connect(config.storage.state_path / DATABASE_FILE) as db:
        assert db.execute("SELECT count(*) FROM calls").fetchone()[0] == 0
    db.close()
