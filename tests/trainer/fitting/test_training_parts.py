"""Sampling, strategy, cache, snapshot, launch: the decisions and stores of a training."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.sampling import BatchOrder, epoch_order, sampling_weights
from trainer.data.snapshot import Sample, read_snapshot, stream_snapshot, write_snapshot
from trainer.data.types import GroupedSample
from trainer.distributed.launch import launch_of
from trainer.fitting.strategy import first_strategy, next_strategy
from trainer.models.embedding_cache import EmbeddingCache
from utils.config.training import Training
from utils.errors import OperatorError, StopRunError


def grouped(number: int, label: str, generator: str | None = None) -> GroupedSample:
    name = f"{number:064x}"
    sample = Sample(name, name, name, 1, label, "manual", "jpeg", 8, 8, False, generator=generator)  # type: ignore[arg-type]
    return GroupedSample(sample, name, "train")


def test_labels_are_drawn_equally_and_prolific_generators_by_the_root() -> None:
    samples = [grouped(n, "real") for n in range(10)]
    samples += [grouped(100 + n, "ai_generated", "a" if n < 64 else "b") for n in range(80)]
    weights = sampling_weights(samples)
    assert weights[:10].sum() == pytest.approx(0.5)
    assert weights[10:74].sum() == pytest.approx(2 * weights[74:].sum())
    drawn = np.concatenate([epoch_order(weights, 0, epoch) for epoch in range(20)])
    assert (drawn < 10).mean() == pytest.approx(0.5, abs=0.02)


@settings(max_examples=50, deadline=None)
@given(
    count=st.integers(2, 60), batch=st.integers(1, 9), ranks=st.integers(1, 4), epochs=st.integers(1, 3), data=st.data()
)
def test_ranks_share_one_order_and_resume_in_the_middle(
    count: int, batch: int, ranks: int, epochs: int, data: st.DataObject
) -> None:
    weights = np.full(count, 1 / count)

    def batches(rank: int, of: int, size: int, first_step: int = 0) -> list[list[tuple[int, int, int]]]:
        order = BatchOrder(weights, seed=3, epochs=epochs, batch=size, rank=rank, ranks=of, first_step=first_step)
        drawn = [[(draw.index, draw.epoch, draw.number) for draw in batch] for batch in order]
        assert len(drawn) == len(order)
        return drawn

    alone = batches(0, 1, batch * ranks)
    together = [sorted(chain(*parts)) for parts in zip(*(batches(r, ranks, batch) for r in range(ranks)), strict=True)]
    assert together == [sorted(step) for step in alone]
    first_step = data.draw(st.integers(0, len(alone)))
    assert batches(0, 1, batch * ranks, first_step) == alone[first_step:]
    for epoch in range(epochs):
        numbers = {number for step in alone for _, of, number in step if of == epoch}
        assert numbers == set(range(len(numbers)))  # each draw once


def test_the_strategy_begins_low_and_climbs_only_when_the_head_does_not_satisfy() -> None:
    facts = {"train": 200, "pretrained": True, "on_gpu": False, "small": True}
    auto = Training()
    assert first_strategy(auto, minority=30, **facts).mode == "frozen"
    assert first_strategy(auto, minority=5_000, **facts).mode == "full"
    assert first_strategy(auto, minority=5_000, **{**facts, "small": False}).mode == "lora"
    assert first_strategy(auto, minority=50_000, **{**facts, "on_gpu": True, "small": False}).mode == "full"
    assert first_strategy(auto, minority=5_000, **{**facts, "pretrained": False}).mode == "frozen"
    assert first_strategy(Training(mode="lora"), minority=1, **facts).mode == "lora"
    assert first_strategy(Training(epochs=7), minority=30, **facts).epochs == 7
    assert next_strategy(auto, 0.95, by_sources=False, minority=100, **facts) is None
    assert next_strategy(auto, 0.7, by_sources=False, minority=30, **facts) is None
    assert next_strategy(Training(mode="frozen"), 0.7, by_sources=False, minority=100, **facts) is None
    higher = next_strategy(auto, 0.7, by_sources=False, minority=100, **facts)
    assert higher is not None
    assert (higher.mode, "0.70" in higher.reason) == ("full", True)
    assert next_strategy(auto, 0.7, by_sources=True, minority=100, **facts) is None
    assert next_strategy(auto, 0.7, by_sources=True, minority=100, **{**facts, "on_gpu": True}) is not None


def test_the_cache_gives_back_what_was_put_in_and_forgets_the_oldest(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "cache.sqlite", max_bytes=10_000)
    rows = {f"{n:064x}": np.random.default_rng(n).normal(size=(2, 100)).astype(np.float32) for n in range(8)}
    cache.add("old", rows)
    cache.add("new", {name: row + 1 for name, row in rows.items()})
    found = cache.find("old", [*rows, "unknown"])
    assert found.keys() == rows.keys()
    assert all(np.array_equal(found[name], row) for name, row in rows.items())
    cache.add("old", {name: row * 0 for name, row in rows.items()})
    assert np.array_equal(cache.find("old", list(rows))[f"{0:064x}"], rows[f"{0:064x}"])
    assert cache.shrink() == 1
    assert cache.find("new", list(rows)) == {}
    assert len(cache.find("old", list(rows))) == 8


def test_a_snapshot_reads_back_and_its_fingerprint_knows_labels_not_paths(tmp_path: Path) -> None:
    samples = [grouped(n, "real").sample for n in (3, 1, 2)]
    written = write_snapshot(tmp_path / "snapshot.jsonl", [*samples, samples[0]])
    assert read_snapshot(tmp_path / "snapshot.jsonl") == written
    assert [sample.id[-1] for sample in written.samples] == ["1", "2", "3"]
    moved = write_snapshot(tmp_path / "moved.jsonl", [replace(sample, path="x/" + sample.path) for sample in samples])
    turned = write_snapshot(tmp_path / "turned.jsonl", [replace(sample, label="ai_generated") for sample in samples])
    assert moved.fingerprint == written.fingerprint != turned.fingerprint


def test_a_streamed_snapshot_is_the_same_file(tmp_path: Path) -> None:
    samples = [grouped(n, "real").sample for n in (1, 2, 3)]
    write_snapshot(tmp_path / "written.jsonl", reversed(samples))
    assert stream_snapshot(tmp_path / "streamed.jsonl", iter(samples)) == 3
    assert (tmp_path / "streamed.jsonl").read_bytes() == (tmp_path / "written.jsonl").read_bytes()
    for wrong in ([samples[1], samples[0]], [samples[0], samples[0]]):
        with pytest.raises(ValueError, match="comes after"):
            stream_snapshot(tmp_path / "wrong.jsonl", wrong)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["streamed.jsonl", "written.jsonl"]


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "x"}', '{"label": "maybe"}'])
def test_a_line_that_is_no_sample_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "snapshot.jsonl"
    write_snapshot(file, [grouped(1, "real").sample])
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(StopRunError, match="line 2"):
        read_snapshot(file)


def test_ranks_are_started_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    rank = ["--job", "folder"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert launch_of(Training(), rank) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert launch_of(Training(launch="single"), rank) is None
    assert launch_of(Training(devices=1), rank) is None
    alone = launch_of(Training(), rank)
    assert alone is not None
    assert alone.command[alone.command.index("--nproc-per-node") + 1] == "2"
    assert alone.command[-6:] == [sys.executable, "-P", "-m", "trainer", "--job", "folder"]
    several = launch_of(Training(nodes=2, rendezvous_endpoint="127.0.0.1:29400"), rank)
    assert several is not None
    assert "--standalone" not in several.command
    assert several.command[several.command.index("--local-addr") + 1] == "127.0.0.1"
    assert several.environment["GLOO_SOCKET_IFNAME"] == "lo"
    with pytest.raises(OperatorError, match="rendezvous_endpoint"):
        launch_of(Training(nodes=2), rank)
