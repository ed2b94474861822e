"""The blocking follower against a real server: what is new, what is downloaded, what is refused."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from small_trainer import API_KEY, SmallTrainer

from exposr_client import (
    AuthError,
    ExpiredError,
    IntegrityError,
    KeyChangedError,
    ModelFollower,
    NoModelError,
    RollbackError,
    SignatureError,
    TrainerUnavailable,
    UnexpectedAnswerError,
    VersionGoneError,
)

V1 = {"weights.pt": b"weights of v1 " * 9000, "model.json": b'{"v": 1}', "report.html": b"<p>"}
V2 = {"weights.pt": b"weights of v2 " * 9000, "model.json": b'{"v": 2}'}


def test_nothing_published_is_nothing_new(follower: ModelFollower) -> None:
    assert follower.check() is None
    assert follower.current() is None
    with pytest.raises(NoModelError):
        follower.download()


def test_a_published_version_is_found_downloaded_and_then_no_longer_new(
    follower: ModelFollower, small_trainer: SmallTrainer
) -> None:
    small_trainer.publish("v1", V1)
    info = follower.check()
    assert info is not None
    assert (info.model, info.version, info.serial) == ("vit", "v1", 1)
    assert (info["model_version"], info["model_name"]) == ("v1", "vit")
    weights = follower.download(info)
    assert weights.name == "weights.pt"
    assert weights.read_bytes() == V1["weights.pt"]
    assert (weights.parent / "model.json").read_bytes() == V1["model.json"]
    assert follower.check() is None
    assert follower.current() == weights
    assert follower.download() == weights
    small_trainer.publish("v2", V2)
    assert follower.download().read_bytes() == V2["weights.pt"]


def test_a_poll_with_nothing_new_is_a_304(follower: ModelFollower, small_trainer: SmallTrainer) -> None:
    small_trainer.publish("v1", V1)
    follower.download()
    follower.check()
    follower.check()
    assert [status for path, status in small_trainer.requests if path == "/models/pointer"] == [200, 304, 304]


def test_a_found_version_stays_new_until_it_is_downloaded(follower: ModelFollower, small_trainer: SmallTrainer) -> None:
    small_trainer.publish("v1", V1)
    assert follower.check() is not None
    assert follower.check() is not None


def test_a_roll_back_under_a_new_serial_is_taken_without_a_download(
    follower: ModelFollower, small_trainer: SmallTrainer
) -> None:
    small_trainer.publish("v1", V1)
    first = follower.download()
    small_trainer.publish("v2", V2)
    follower.download()
    small_trainer.point("v1", V1)
    small_trainer.ranges.clear()
    info = follower.check()
    assert info is not None
    assert info.version == "v1"
    assert follower.download(info) == first == follower.current()
    assert small_trainer.ranges == []


def test_a_replayed_older_pointer_is_refused_and_the_model_stays(
    follower: ModelFollower, small_trainer: SmallTrainer, tmp_path: Path
) -> None:
    old = small_trainer.publish("v1", V1)
    follower.download()
    small_trainer.publish("v2", V2)
    weights = follower.download()
    small_trainer.pointer = old
    with pytest.raises(RollbackError):
        follower.check()
    with ModelFollower(small_trainer.url, API_KEY, tmp_path / "cache", events=False) as restarted:
        with pytest.raises(RollbackError):
            restarted.download()
        assert restarted.current() == weights


def test_two_pointers_with_one_serial_are_refused(follower: ModelFollower, small_trainer: SmallTrainer) -> None:
    small_trainer.publish("v1", V1, serial=5)
    follower.download()
    small_trainer.publish("v2", V2, serial=5)
    with pytest.raises(RollbackError):
        follower.check()


def test_a_version_without_a_card_is_downloaded_and_one_without_weights_refused(
    follower: ModelFollower, small_trainer: SmallTrainer
) -> None:
    small_trainer.publish("v1", {"weights.pt": b"bare"})
    weights = follower.download()
    assert weights.read_bytes() == b"bare"
    assert follower.current() == weights
    small_trainer.publish("v2", {"model.json": b"{}"})
    with pytest.raises(IntegrityError):
        follower.download()
    assert follower.current() == weights


def test_a_renewed_pointer_with_the_same_serial_is_nothing_new(
    follower: ModelFollower, small_trainer: SmallTrainer
) -> None:
    small_trainer.publish("v1", V1, serial=5)
    follower.download()
    small_trainer.point("v1", V1, serial=5)
    assert follower.check() is None


def test_an_expired_pointer_is_refused(follower: ModelFollower, small_trainer: SmallTrainer) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    small_trainer.publish("v1", V1, expires=past.isoformat())
    with pytest.raises(ExpiredError):
        follower.download()
    assert follower.current() is None


def test_a_pointer_that_is_never_renewed_expires_although_the_trainer_says_304(
    follower: ModelFollower, small_trainer: SmallTrainer
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    small_trainer.publish("v1", V1, expires=soon.isoformat())
    weights = follower.download()
    while datetime.now(UTC) < soon:
        threading.Event().wait(0.05)
    with pytest.raises(ExpiredError):
        follower.check()
    assert follower.current() == weights


def test_an_altered_payload_and_another_key_have_their_own_errors(
    follower: ModelFollower, small_trainer: SmallTrainer, tmp_path: Path
) -> None:
    small_trainer.publish("v1", V1)
    weights = follower.download()
    good = small_trainer.publish("v2", V2)
    small_trainer.pointer = good.replace(b'"payload": "ey', b'"payload": "eY')
    with pytest.raises(SignatureError) as altered:
        follower.check()
    assert not isinstance(altered.value, KeyChangedError)
    other = SmallTrainer(tmp_path)
    other.serial = 9
    small_trainer.pointer = other.publish("v2", V2)
    with pytest.raises(KeyChangedError):
        follower.check()
    assert follower.current() == weights


@pytest.mark.parametrize(
    "changes",
    [
        {"serial": 0},
        {"serial": True},
        {"serial": "7"},
        {"serial": 10**12},
        {"version": "../v1"},
        {"model": ""},
        {"version": "v1/.."},
        {"files": {}},
        {"files": {"../weights.pt": {"sha256": "0" * 64, "size_bytes": 1}}},
        {"files": {"weights.pt": {"sha256": "0" * 63, "size_bytes": 1}}},
        {"files": {"weights.pt": {"sha256": "0" * 64, "size_bytes": -1}}},
        {"expires": "tomorrow"},
        {"expires": "2999-01-01T00:00:00"},
        {"issued": None},
    ],
)
def test_a_signed_pointer_that_makes_no_sense_is_refused(
    follower: ModelFollower, small_trainer: SmallTrainer, changes: dict[str, object]
) -> None:
    small_trainer.publish("v1", V1, **changes)
    with pytest.raises(SignatureError):
        follower.check()


def test_swapped_bytes_of_the_right_size_are_refused(follower: ModelFollower, small_trainer: SmallTrainer) -> None:
    small_trainer.publish("v1", V1)
    weights = follower.download()
    small_trainer.publish("v2", V2)
    (small_trainer.folder / "vit" / "v2" / "model.json").write_bytes(V2["model.json"][::-1])
    with pytest.raises(IntegrityError):
        follower.download()
    assert follower.current() == weights


def test_more_bytes_than_signed_are_refused(follower: ModelFollower, small_trainer: SmallTrainer) -> None:
    small_trainer.publish("v1", V1)
    (small_trainer.folder / "vit" / "v1" / "weights.pt").write_bytes(V1["weights.pt"] + b"!")
    with pytest.raises(IntegrityError):
        follower.download()


def test_a_version_that_is_gone_is_told_apart(follower: ModelFollower, small_trainer: SmallTrainer) -> None:
    small_trainer.publish("v1", V1)
    info = follower.check()
    (small_trainer.folder / "vit" / "v1" / "weights.pt").unlink()
    with pytest.raises(VersionGoneError):
        follower.download(info)


def test_a_wrong_key_a_missing_key_and_a_dead_trainer(
    small_trainer: SmallTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EXPOSR_TRAINER_API_KEY", raising=False)
    with pytest.raises(AuthError):
        ModelFollower(small_trainer.url, None, tmp_path)
    with ModelFollower(small_trainer.url, "wrong", tmp_path) as follower, pytest.raises(AuthError):
        follower.check()
    with ModelFollower("http://127.0.0.1:9", API_KEY, tmp_path) as follower, pytest.raises(TrainerUnavailable):
        follower.check()


def test_url_and_key_come_from_the_environment(
    small_trainer: SmallTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPOSR_TRAINER_URL", small_trainer.url + "/")
    monkeypatch.setenv("EXPOSR_TRAINER_API_KEY", API_KEY)
    monkeypatch.setenv("EXPOSR_MODEL_CACHE", str(tmp_path / "elsewhere"))
    small_trainer.publish("v1", V1)
    with ModelFollower() as follower:
        assert follower.download().is_relative_to(tmp_path / "elsewhere")


def test_another_service_at_the_url_is_reported(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    with (
        ModelFollower(small_trainer.url + "/elsewhere", API_KEY, tmp_path) as follower,
        pytest.raises(UnexpectedAnswerError),
    ):
        follower.check()


def test_a_key_is_trusted_on_first_use_loudly_and_kept(
    follower: ModelFollower, small_trainer: SmallTrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small_trainer.publish("v1", V1)
    with caplog.at_level(logging.WARNING, "exposr_client"):
        follower.check()
        follower.check()
    assert [record.getMessage()[:40] for record in caplog.records] == ["trusting this key of the trainer from no"]
    assert (tmp_path / "cache" / "trusted_key.pem").read_bytes() == small_trainer.public_pem()


def test_a_damaged_pinned_key_is_never_replaced_silently(
    follower: ModelFollower, small_trainer: SmallTrainer, tmp_path: Path
) -> None:
    small_trainer.publish("v1", V1)
    follower.download()
    (tmp_path / "cache" / "trusted_key.pem").write_bytes(b"rubbish")
    with pytest.raises(SignatureError):
        follower.check()


def test_a_named_key_is_pinned(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    small_trainer.publish("v1", V1)
    other = SmallTrainer(tmp_path).public_pem()
    with (
        ModelFollower(small_trainer.url, API_KEY, tmp_path / "a", public_key=other) as follower,
        pytest.raises(KeyChangedError),
    ):
        follower.check()
    pem = tmp_path / "trainer.pem"
    pem.write_bytes(small_trainer.public_pem())
    with ModelFollower(small_trainer.url, API_KEY, tmp_path / "b", public_key=pem) as follower:
        assert follower.check() is not None
        assert not (tmp_path / "b" / "trusted_key.pem").exists()


def test_a_new_key_pinned_on_purpose_begins_anew(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    for version, files in (("v1", V1), ("v2", V2)):
        small_trainer.publish(version, files)
        with ModelFollower(small_trainer.url, API_KEY, tmp_path / "cache", events=False) as follower:
            follower.download()
    fresh = SmallTrainer(tmp_path)
    small_trainer.key, small_trainer.serial = fresh.key, 0
    small_trainer.publish("v1", V1)
    pem = small_trainer.public_pem()
    with ModelFollower(small_trainer.url, API_KEY, tmp_path / "cache", public_key=pem, events=False) as follower:
        assert follower.current() is None
        assert follower.download().read_bytes() == V1["weights.pt"]
    with (
        ModelFollower(small_trainer.url, API_KEY, tmp_path / "cache", events=False) as follower,
        pytest.raises(KeyChangedError),
    ):
        follower.check()


def test_a_damaged_note_of_the_last_serial_is_never_forgotten_silently(
    follower: ModelFollower, small_trainer: SmallTrainer, tmp_path: Path
) -> None:
    small_trainer.publish("v1", V1)
    weights = follower.download()
    [note] = (tmp_path / "cache").glob("*/accepted/*.json")
    note.write_text("{}")
    with pytest.raises(SignatureError, match="damaged"):
        follower.check()
    assert follower.current() == weights


def test_current_works_without_the_trainer_and_checks_every_byte(tmp_path: Path) -> None:
    with SmallTrainer(tmp_path / "published") as trainer:
        trainer.publish("v1", V1)
        with ModelFollower(trainer.url, API_KEY, tmp_path / "cache") as follower:
            first = follower.download()
            trainer.publish("v2", V2)
            second = follower.download()
    with ModelFollower(trainer.url, API_KEY, tmp_path / "cache") as follower:
        assert follower.current() == second
        damaged = bytearray(second.read_bytes())
        damaged[1000] ^= 1
        second.write_bytes(damaged)
        assert follower.current() == first
    with SmallTrainer(tmp_path / "published", port=0) as again:
        again.key, again.serial = trainer.key, trainer.serial - 1
        again.point("v2", V2)
        with ModelFollower(again.url, API_KEY, tmp_path / "cache") as follower:
            assert follower.download() == second
            assert second.read_bytes() == V2["weights.pt"]


def test_only_the_last_versions_are_kept(small_trainer: SmallTrainer, tmp_path: Path) -> None:
    with ModelFollower(small_trainer.url, API_KEY, tmp_path / "cache", keep=2) as follower:
        for number in range(1, 6):
            small_trainer.publish(f"v{number}", {"weights.pt": b"%d" % number, "model.json": b"{}"})
            follower.download()
    names = sorted(path.name[:6] for path in (tmp_path / "cache" / "versions").iterdir())
    assert names == ["vit-v4", "vit-v5"]
    assert len(list((tmp_path / "cache").glob("*/installed/*.json"))) == 2
    assert len(list((tmp_path / "cache").glob("*/accepted/*.json"))) == 1
    assert list((tmp_path / "cache" / "parts").iterdir()) == []
