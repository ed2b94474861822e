"""Nothing that is asked for each file reads a whole table: its cost would grow with the data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from handlers.file_signature import FileSignature
from handlers.index.schema import INDEX_FILE
from handlers.index.store import Index

SHA = "0" * 64
QUESTIONS: list[Callable[[Index], object]] = [
    lambda index: index.file(b"real/a.png"),
    lambda index: list(index.known(b"real")),
    lambda index: index.folders(b"real"),
    lambda index: index.same_inode(FileSignature(1, 2, 3, 4)),
    lambda index: index.files_of("id"),
    lambda index: index.sample("id"),
    lambda index: index.sample_of_content(SHA),
    lambda index: index.metadata_of("id", SHA, []),
    lambda index: index.metadata_of("id", SHA, [b"real/a.png", b"real/b.png"]),
    lambda index: index.metadata_for(b"real/a.png", SHA, None),
    lambda index: index.metadata_named("id"),
    lambda index: index.metadata_about(b"real/a.png"),
    lambda index: list(index.near.candidates("0123456789abcdef", "real", 4)),
    lambda index: index.near.set_conflicts(1, []),
    lambda index: index.has_gone(),
    lambda index: index.gone_outside(1.0, 2.0),
    lambda index: index.set_gone(b"real/a.png", 1.0),
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_about_one_file_finds_it_by_an_index(tmp_path: Path, question: Callable[[Index], object]) -> None:
    index = Index(tmp_path / INDEX_FILE)
    asked: list[str] = []
    index.connection.set_trace_callback(asked.append)
    question(index)
    index.connection.set_trace_callback(None)
    assert asked
    for statement in asked:
        plan = [row[3] for row in index.connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        assert not [step for step in plan if step.startswith("SCAN")], (statement, plan)
    index.close()
