"""Whatever is done to the folder, in whatever order: the counts equal the files, and a new index says the same."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import uuid
from pathlib import Path

import pytest
from dataset_kit import Folder, Runner

from handlers.index.rows import Counts
from handlers.index.schema import CLASS_OF_FILE, CLASS_OF_SAMPLE
from handlers.paths import folder_label

PLACES = ("real", "real/deep", "ai_generated", "ai_generated/x/y", "inbox", "images/2025/10/28")
STEPS = 30


class Hand:
    """Somebody who does things to the folder, and knows nothing of the index."""

    def __init__(self, folder: Folder, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._made = 0

    def act(self) -> str:
        actions = [self.add, self.add, self.add, self.copy, self.move, self.delete, self.edit, self.bad]
        actions += [self.scrape, self.scrape, self.label, self.move_folder, self.drop_metadata, self.delete_folder]
        return self._random.choice(actions)()

    def _pictures(self) -> list[Path]:
        root = self._folder.root
        return sorted(path for path in root.rglob("*.png") if path.is_file())

    def _some(self) -> Path | None:
        pictures = self._pictures()
        return self._random.choice(pictures) if pictures else None

    def _new_path(self) -> Path:
        self._made += 1
        path = self._folder.root / self._random.choice(PLACES) / f"{self._made}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add(self) -> str:
        path = self._new_path()
        self._folder.picture(str(path.relative_to(self._folder.root)), self._random.randrange(8))
        return f"add {path.name}"

    def scrape(self) -> str:
        sample_id = str(uuid.UUID(int=self._random.getrandbits(128)))
        self._folder.picture(f"images/2025/10/28/{sample_id}.png", self._random.randrange(8))
        self._folder.metadata(sample_id, self._random.choice(["real", "ai_generated"]), label_source="source")
        return "scrape"

    def copy(self) -> str:
        if (source := self._some()) is not None:
            shutil.copy(source, self._new_path())
        return "copy"

    def move(self) -> str:
        if (source := self._some()) is not None:
            source.rename(self._new_path())
        return "move"

    def delete(self) -> str:
        if (source := self._some()) is not None:
            source.unlink()
        return "delete"

    def edit(self) -> str:
        if (source := self._some()) is not None:
            self._folder.picture(str(source.relative_to(self._folder.root)), self._random.randrange(8))
        return "edit"

    def bad(self) -> str:
        path = self._some() or self._new_path()
        path.write_text("no picture")
        return "bad"

    def label(self) -> str:
        files = self._folder.metadata_files()
        if files:
            file = self._random.choice(files)
            said = json.loads(file.read_text())
            file.write_text(json.dumps(said | {"label": self._random.choice(["real", "ai_generated", None])}))
        return "label"

    def move_folder(self) -> str:
        source = self._folder.root / self._random.choice(PLACES)
        target = self._folder.root / f"moved{self._made}" / self._random.choice(["real", "ai_generated", "other"])
        if source.is_dir() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
        return "move folder"

    def drop_metadata(self) -> str:
        files = self._folder.metadata_files()
        if files:
            self._random.choice(files).unlink()
        return "drop metadata"

    def delete_folder(self) -> str:
        source = self._folder.root / self._random.choice(PLACES)
        if source.is_dir() and self._random.random() < 0.3:
            shutil.rmtree(source)
        return "delete folder"


def truth(folder: Folder) -> tuple[int, int, int]:
    """Different contents, copies, and files that are no pictures: told without any of the code under test."""
    contents, copies, bad = set(), 0, 0
    for path in folder.root.rglob("*.png"):
        data = path.read_bytes()
        if data == b"no picture":
            bad += 1
        elif (digest := hashlib.sha256(data).hexdigest()) in contents:
            copies += 1
        else:
            contents.add(digest)
    return len(contents), copies, bad


@pytest.mark.parametrize("seed", range(12))
def test_counts_equal_the_files_and_a_new_index_agrees(folder: Folder, runner: Runner, seed: int) -> None:
    hand = Hand(folder, seed)
    chance = random.Random(seed)
    for _ in range(STEPS):
        hand.act()
        if chance.random() < 0.5:
            runner.settle(chance.choice([0, 0, 1, 12]))
        if chance.random() < 0.1:
            runner.restart()
    runner.settle(12)
    runner.forget()
    counts = runner.settle(12)
    samples, copies, bad = truth(folder)
    assert counts.total + counts.conflicts == samples
    assert (counts.duplicates, counts.rejected, counts.pending) == (copies, bad, 0)
    said = {json.loads(file.read_text()).get("sha256") for file in folder.metadata_files()}
    assert {sample.sha256 for sample in runner.samples()} <= said
    assert tally(runner) == recounted(runner)
    known = {sample.sha256: sample.label for sample in runner.samples()}
    assert rebuilt(folder, runner) == (counts, known)


def tally(runner: Runner) -> dict[str, int]:
    rows = runner.reconciler._index.connection.execute("SELECT what, number FROM tally WHERE number != 0")
    return dict(rows.fetchall())


def recounted(runner: Runner) -> dict[str, int]:
    found: dict[str, int] = {}
    for table, class_of in (("files", CLASS_OF_FILE), ("samples", CLASS_OF_SAMPLE)):
        query = f"SELECT {class_of.format(row=table)} AS what, count(*) FROM {table} GROUP BY what"
        found |= {what: number for what, number in runner.reconciler._index.connection.execute(query) if what}
    return found


def rebuilt(folder: Folder, runner: Runner) -> tuple[Counts, dict[str, str]]:
    runner.reconciler.close()
    for file in (folder.base / "state").iterdir():
        file.unlink()
    runner.restart()
    counts = runner.settle(12)
    return counts, {sample.sha256: sample.label for sample in runner.samples()}


def test_the_label_folders_of_this_test_are_understood() -> None:
    assert [folder_label(f"{place}/a.png".encode()) for place in PLACES[:4]] == ["real"] * 2 + ["ai_generated"] * 2
