"""The split: never parts a group, never moves a sample, only ever grows the test split."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.snapshot import Sample
from trainer.data.types import PARTS
from trainer.split.near_duplicates import close_pairs
from trainer.split.split import Split, split_samples

DISTANCE = 6


def sample(name: str, label: str = "real", **facts: object) -> Sample:
    digest = hashlib.sha256(name.encode()).hexdigest()
    plain = Sample(digest, f"{name}.jpg", digest, 1, "real", "manual", "jpeg", 256, 256, False, phash=digest[:16])
    return replace(plain, label=label, **facts)  # type: ignore[arg-type]


def split(samples: list[Sample], ledger: Path) -> Split:
    return split_samples(samples, ledger, key="test", near_duplicate_distance=DISTANCE)


def places(result: Split) -> dict[str, str]:
    return {member.sample.sha256: member.part for member in result.samples()}


def many(count: int, label: str, start: int = 0) -> list[Sample]:
    return [sample(f"{label}-{number}", label) for number in range(start, start + count)]


def flipped(phash: str, bits: list[int]) -> str:
    return f"{int(phash, 16) ^ sum(1 << bit for bit in set(bits)):016x}"


names = st.sampled_from([None, "ann", "bob", "cid", "dot", "eve"])


@st.composite
def collections(draw: st.DrawFn) -> list[Sample]:
    """Samples with shared creators, posts and near-duplicates of one another."""
    samples: list[Sample] = []
    for number in range(draw(st.integers(1, 40))):
        fresh = sample(
            f"s{number}",
            draw(st.sampled_from(["real", "ai_generated"])),
            creator=draw(names),
            post=draw(st.sampled_from([None, None, "p1", "p2", "p3"])),
            added=f"2026-01-01T00:{number:02d}:00Z",
        )
        if samples and draw(st.booleans()):
            model = draw(st.sampled_from(samples))
            bits = draw(st.lists(st.integers(0, 63), max_size=DISTANCE))
            fresh = replace(fresh, phash=flipped(model.phash or "0", bits))
        samples.append(fresh)
    return samples


def tied(first: Sample, second: Sample) -> bool:
    distance = (int(first.phash or "0", 16) ^ int(second.phash or "0", 16)).bit_count()
    same_creator = first.creator is not None and first.creator == second.creator
    same_post = first.post is not None and first.post == second.post
    return same_creator or same_post or distance <= DISTANCE


@settings(max_examples=60, deadline=None)
@given(samples=collections(), data=st.data())
def test_growth_moves_nobody_and_parts_no_tie(samples: list[Sample], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=3)))
    order = data.draw(st.permutations(samples))
    seen: dict[str, str] = {}
    left_out: set[str] = set()
    with TemporaryDirectory() as folder:
        for upto in (*cuts, len(order)):
            result = split(list(order[:upto]), Path(folder) / "split.sqlite")
            now = places(result)
            assert all(now[sha256] == part for sha256, part in seen.items())
            assert left_out <= result.left_out.keys()
            assert now.keys() | result.left_out.keys() == {one.sha256 for one in order[:upto]}
            seen, left_out = now, set(result.left_out)
            used = [member for member in result.samples() if member.sample.sha256 in now]
            for i, first in enumerate(used):
                for second in used[:i]:
                    if tied(first.sample, second.sample):
                        assert first.part == second.part
                        assert first.group == second.group


@settings(max_examples=30, deadline=None)
@given(samples=collections())
def test_same_data_and_key_give_the_same_split_anywhere(samples: list[Sample]) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        first = split(samples, Path(one) / "split.sqlite")
        second = split(samples[::-1], Path(other) / "split.sqlite")
        assert places(first) == places(second)
        assert first.left_out.keys() == second.left_out.keys()


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.integers(0, 2**64 - 1), max_size=12),
    bits=st.lists(st.lists(st.integers(0, 63), max_size=9), max_size=12),
    distance=st.integers(0, 8),
)
def test_close_pairs_finds_what_comparing_all_finds(texts: list[int], bits: list[list[int]], distance: int) -> None:
    hashes: list[str | None] = [f"{text:016x}" for text in texts]
    hashes += [flipped(hashes[i % len(texts)] or "0", flips) for i, flips in enumerate(bits)] if texts else []
    hashes.append(None)
    expected = {
        (i, j)
        for j, second in enumerate(hashes)
        for i, first in enumerate(hashes[:j])
        if first and second and (int(first, 16) ^ int(second, 16)).bit_count() <= distance
    }
    assert set(close_pairs(hashes, distance)) == expected


def test_every_part_of_a_small_set_has_both_labels(tmp_path: Path) -> None:
    for count in (10, 25, 45):
        result = split(many(count, "real") + many(count, "ai_generated"), tmp_path / f"{count}.sqlite")
        for part in PARTS:
            assert {member.sample.label for member in result.parts[part]} == {"real", "ai_generated"}, (count, part)
        assert len(result.parts["train"]) >= count  # half of all


def test_shares_of_a_large_set_are_those_of_the_hash(tmp_path: Path) -> None:
    result = split(many(2000, "real") + many(2000, "ai_generated"), tmp_path / "split.sqlite")
    shares = {part: len(members) / 4000 for part, members in result.parts.items()}
    expected = {"train": 0.6, "validation": 0.1, "calibration": 0.1, "test": 0.2}
    assert shares == pytest.approx(expected, abs=0.03)


def test_a_sample_that_ties_two_parts_is_left_out_for_good(tmp_path: Path) -> None:
    base = many(40, "real") + many(40, "ai_generated")
    first = split(base, tmp_path / "split.sqlite")
    trained, tested = first.parts["train"][0].sample, first.parts["test"][0].sample
    held = [replace(one, creator="ann") if one == trained else one for one in base]
    split(held, tmp_path / "split.sqlite")
    bridge = sample("bridge", creator="ann", phash=tested.phash)
    follower = sample("follower", creator="ann")
    result = split([*held, bridge, follower], tmp_path / "split.sqlite")
    assert list(result.left_out) == [bridge.sha256]
    assert places(result)[follower.sha256] == "train"
    again = split([one for one in [*held, bridge, follower] if one != tested], tmp_path / "split.sqlite")
    assert bridge.sha256 in again.left_out


def test_what_hung_on_a_left_out_sample_alone_is_used(tmp_path: Path) -> None:
    base = many(40, "real") + many(40, "ai_generated")
    first = split(base, tmp_path / "split.sqlite")
    trained, tested = first.parts["train"][0].sample, first.parts["test"][0].sample
    held = [replace(one, creator="ann") if one == trained else one for one in base]
    split(held, tmp_path / "split.sqlite")
    bridge = sample("bridge", creator="ann", post="series", phash=tested.phash)
    sibling = sample("sibling", post="series", added="2026-02-01T00:00:00Z")
    result = split([*held, bridge, sibling], tmp_path / "split.sqlite")
    assert bridge.sha256 in result.left_out
    assert sibling.sha256 in places(result)


def test_a_deleted_sample_and_its_near_duplicates_come_back_to_their_part(tmp_path: Path) -> None:
    base = many(40, "real") + many(40, "ai_generated")
    first = split(base, tmp_path / "split.sqlite")
    gone = first.parts["test"][0].sample
    rest = [one for one in base if one != gone]
    split(rest, tmp_path / "split.sqlite")
    recoded = sample("recoded", gone.label, phash=flipped(gone.phash or "0", [1, 2, 3]))
    assert places(split([*rest, recoded], tmp_path / "split.sqlite"))[recoded.sha256] == "test"


def test_an_edited_creator_takes_samples_out_of_train_not_out_of_test(tmp_path: Path) -> None:
    base = many(40, "real") + many(40, "ai_generated")
    first = split(base, tmp_path / "split.sqlite")
    trained, tested = first.parts["train"][0].sample, first.parts["test"][0].sample
    edited = [replace(one, creator="ann") if one in (trained, tested) else one for one in base]
    result = split(edited, tmp_path / "split.sqlite")
    assert list(result.left_out) == [trained.sha256]
    assert places(result)[tested.sha256] == "test"


def test_a_prolific_creator_is_trained_on_rather_than_tested(tmp_path: Path) -> None:
    prolific = [replace(one, creator="ann") for one in many(30, "ai_generated")]
    result = split(prolific + many(40, "ai_generated", 100) + many(70, "real"), tmp_path / "split.sqlite")
    assert {places(result)[one.sha256] for one in prolific} == {"train"}


def test_the_report_names_the_leaks_of_a_split_by_single_image(tmp_path: Path) -> None:
    samples = [replace(one, creator=f"c{n % 5}") for n, one in enumerate(many(100, "ai_generated"))]
    copies = many(50, "real")
    copies += [sample(f"copy-{n}", phash=flipped(one.phash or "0", [n % 64])) for n, one in enumerate(copies)]
    leaks = split(samples + copies, tmp_path / "split.sqlite").report["would_leak"]
    assert leaks["creator"] > 0.3
    assert leaks["near_duplicate"] > 0.2
    assert leaks["post"] == 0


def test_a_ledger_that_was_written_by_half_is_as_before(tmp_path: Path) -> None:
    base = many(30, "real") + many(30, "ai_generated")
    first = split(base, tmp_path / "split.sqlite")
    connection = sqlite3.connect(tmp_path / "split.sqlite")
    connection.execute("INSERT INTO samples VALUES ('half', NULL, 'test')")
    connection.close()  # never committed
    assert places(split(base, tmp_path / "split.sqlite")) == places(first)
