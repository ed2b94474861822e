"""Each file of state and registry cut, overwritten or replaced: made again and said, or refused with advice.

By default all files at once; EXPOSR_FAULTS=all takes each file alone, in each kind of damage.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filled_service import config_of, fill, looked_at
from selection import ALL

from scrapers.store.item_store import ItemStore
from trainer.data.snapshot import Sample
from trainer.fitting.checkpoints import CHECKPOINT_FILE, load_checkpoint, save_checkpoint
from trainer.models.embedding_cache import EmbeddingCache
from trainer.split.split import split_samples
from utils.errors import OperatorError
from utils.sqlite_files import remove_side_files

pytestmark = pytest.mark.slow


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 + 7)


def overwrite(file: Path) -> None:
    file.write_bytes(b"nothing of ours " * 300)


def overwrite_behind_the_first_page(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xff" * max(0, len(content) - 4096))


def replace_by_a_foreign_one(file: Path) -> None:
    file.unlink()
    remove_side_files(file)
    with sqlite3.connect(file) as db:
        for name in ("runs", "samples", "reports", "statements", "items", "embeddings", "predictions", "facts"):
            db.execute(f"CREATE TABLE {name} (something)")
    db.close()


def write_null(file: Path) -> None:
    file.write_text("null")


def write_other_json(file: Path) -> None:
    file.write_text('[{"serial": "four"}]')


DATABASE_DAMAGE = (overwrite_behind_the_first_page, overwrite, cut, replace_by_a_foreign_one)
JSON_DAMAGE = (write_null, cut, overwrite, write_other_json)
REBUILT = {
    "state/index.sqlite": "made again from the files",
    "state/labels.sqlite": "filled again from the metadata files",
    "state/daemon.sqlite": "history and deadlines begin anew",
    "state/field.sqlite": "reports and histograms of Exposr-Core begin anew",
    "models/registry.json": "made again from the folders of the versions",
    "models/aliases.json": "made again from its copy",
}


OF_TRAININGS = ("state/split.sqlite", "state/opinions.sqlite", "state/embeddings/cache.sqlite")
Damages = dict[str, Callable[[Path], None]]  # of each damaged file, how


def damages(name: str) -> tuple[Callable[[Path], None], ...]:
    return JSON_DAMAGE if name.endswith(".json") else DATABASE_DAMAGE


def cases(*names: str) -> list[Any]:
    """All files damaged at once; or each of them alone, in each way."""
    if not ALL:
        return [pytest.param({name: damages(name)[0] for name in names}, id="all at once")]
    return [pytest.param({name: kind}, id=f"{name}-{kind.__name__}") for name in names for kind in damages(name)]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("filled")
    fill(base)
    return base


def damaged(filled: Path, base: Path, found: Damages) -> Path:
    shutil.copytree(filled, base)
    for name, damage in found.items():
        damage(base / name)
    return base


@pytest.mark.parametrize("found", cases(*REBUILT))
def test_what_can_be_made_again_is_made_again_and_said(filled: Path, tmp_path: Path, found: Damages) -> None:
    base = damaged(filled, tmp_path / "service", found)
    with looked_at(base) as service:
        service.wait()
        assert service.health().status == "ok"
        for name in found:
            assert f"{Path(name).name} was damaged" in service.reasons()
            assert REBUILT[name] in service.reasons()
        counts = service.application.dataset.counts()
        assert (counts.total, counts.real, counts.ai_generated) == (6, 2, 4)  # one by the word of a person
        latest = service.service.models.latest()
        assert latest is not None
        assert latest["model_version"] == "v2"  # which was promoted over v3
        assert latest["serial"] >= 4
        assert max(service.answers().values()) < 400
    assert all((base / f"{name}.set-aside").exists() for name in found)
    with looked_at(base) as service:  # the next start has nothing to say any more
        service.wait()
        assert service.reasons() == ""


@pytest.mark.parametrize("found", cases("state/scrape.sqlite"))
def test_what_holds_the_opt_outs_is_refused_with_advice_and_all_else_goes_on(
    filled: Path, tmp_path: Path, found: Damages
) -> None:
    base = damaged(filled, tmp_path / "service", found)
    with looked_at(base) as service:
        service.wait()
        if replace_by_a_foreign_one not in found.values():  # of another version, which the next run perhaps mends
            assert service.health().status == "degraded"
            assert "restore it from a backup" in service.reasons()
            refusal = service.application.scrape_refusal()
            assert refusal is not None
            assert refusal[0] == "state_damaged"
        assert max(service.answers().values()) < 400
    with pytest.raises(OperatorError, match="exposr-trainer forget"):
        ItemStore(base / "state", "run")
    assert not (base / "state/scrape.sqlite.set-aside").exists()


@pytest.mark.parametrize("found", cases(*OF_TRAININGS))
def test_what_a_training_keeps_is_begun_anew_by_the_next_one(filled: Path, tmp_path: Path, found: Damages) -> None:
    base = damaged(filled, tmp_path / "service", found)
    with looked_at(base) as service:
        service.wait()
        assert service.health().status == "ok"
        assert max(service.answers().values()) < 400
        samples = [Sample(**vars_of(sample)) for sample in service.application.dataset.labelled_samples()]
        split = split_samples(samples, base / "state/split.sqlite", key="key", near_duplicate_distance=6)
        assert len(split.samples()) == len(samples)
        cache = EmbeddingCache(base / "state/embeddings/cache.sqlite", 1 << 30)
        cache.add("new", {samples[0].sha256: np.ones((1, 4), np.float32)})
        assert list(cache.find("new", [samples[0].sha256])) == [samples[0].sha256]
        for name in found.keys() - {"state/opinions.sqlite"}:  # which is replaced as a whole
            assert f"{Path(name).name} was damaged" in service.reasons()


def vars_of(sample: object) -> dict[str, object]:
    return {name: getattr(sample, name) for name in Sample.__slots__}


@pytest.mark.parametrize("name", ["api_key", "session_secret", "signing_key.pem"])
def test_a_damaged_key_is_refused_with_advice(tmp_path: Path, filled: Path, name: str) -> None:
    base = damaged(filled, tmp_path / "service", {})
    file = base / "state/keys" / name
    file.write_bytes(b"")
    config = config_of(base, {"TRAINER_API_KEY": ""})
    with pytest.raises(OperatorError, match=f"{name}.*remove it"), looked_at(base, config):
        pass


@pytest.mark.parametrize("damage", [cut, overwrite])
def test_a_damaged_checkpoint_costs_the_work_and_not_the_training(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    save_checkpoint(tmp_path, "owner", {"step": 3})
    assert load_checkpoint(tmp_path, "owner") == {"step": 3}
    damage(tmp_path / CHECKPOINT_FILE)
    assert load_checkpoint(tmp_path, "owner") is None


@pytest.mark.parametrize("name", ["daemon.sqlite", "field.sqlite", "index.sqlite"])
def test_what_cannot_be_opened_at_all_names_the_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "state" / name).mkdir(parents=True)
    (tmp_path / "datasets").mkdir()
    with pytest.raises(OperatorError, match=f"{name}: cannot be opened"), looked_at(tmp_path) as service:
        service.application.dataset.start()
