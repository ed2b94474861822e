"""A version on any folder: a table by sub-folder, the most certain mistakes, and what was left out."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from pictures import encoded, scene, stored
from PIL import Image

from trainer.benchmarks.evaluate import evaluate_folder, render_html, render_text
from trainer.benchmarks.pictures import read_pictures
from trainer.data.preprocessing import Preprocessing
from trainer.data.snapshot import write_snapshot
from trainer.models.golden import record_golden
from utils.config.training import Training
from utils.errors import OperatorError, StopRunError
from utils.images.perceptual import perceptual_hash

VIEW = Preprocessing(64, 96, (0.5,) * 3, (0.5,) * 3)
ARGUMENTS = {"num_classes": 1, "img_size": 64}


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with random weights whose thresholds leave nothing undecided."""
    folder = tmp_path_factory.mktemp("version")
    torch.manual_seed(0)
    network = timm.create_model("test_vit", pretrained=False, **ARGUMENTS).eval()
    torch.nn.init.normal_(network.head.weight, std=0.5)
    torch.save(network.state_dict(), folder / "weights.pt")
    card = {
        "gate": {"published_as": "vit/v7"},
        "architecture": {"library": "timm", "name": "test_vit", "kwargs": ARGUMENTS},
        "preprocessing": VIEW.as_card() | {"golden": record_golden(VIEW, network)},
        "calibration": {"temperature": 1.0},
        "operating_points": {"threshold_ai": 0.5, "threshold_real": 0.4999},
        "novelty": None,
        "data": {"training": {"settings": Training().model_dump(mode="json")}},
        "files": {"weights.pt": {"sha256": hashlib.sha256((folder / "weights.pt").read_bytes()).hexdigest()}},
    }
    (folder / "model.json").write_text(json.dumps(card), encoding="utf-8")
    write_snapshot(folder / "snapshot.jsonl", [])
    (folder / "split.jsonl").touch()
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for place, count, start in (("real/phone", 6, 0), ("real/scans/box 1", 4, 50), ("ai_generated/<b>flux", 6, 100)):
        (root / place).mkdir(parents=True)
        for number in range(count):
            (root / place / f"{number}.jpg").write_bytes(encoded(scene(start + number), quality=90))
    (root / "real/phone/copy.jpg").write_bytes((root / "real/phone/0.jpg").read_bytes())
    (root / "real/phone/broken.jpg").write_bytes(b"no picture")
    (root / "elsewhere.png").write_bytes(encoded(scene(7), "PNG"))
    (root / "notes.txt").write_text("a companion")
    return root


def test_labels_sources_and_series_come_from_the_folders_and_each_content_counts_once(folder: Path) -> None:
    found = read_pictures(folder)
    assert len(found.members) == 16
    told = {member.sample.path: (member.sample.source, member.sample.generator) for member in found.members}
    assert told["ai_generated/<b>flux/1.jpg"] == ("<b>flux", "<b>flux")
    scans = {member.group for member in found.members if member.sample.source == "scans"}
    assert scans == {"scans/box 1"}
    assert set(found.skipped) == {"real/phone/broken.jpg", "elsewhere.png"}


def test_the_table_adds_up_and_the_surest_mistakes_come_first(version: Path, folder: Path) -> None:
    found = json.loads(json.dumps(evaluate_folder(version, folder), allow_nan=False))
    assert (found["name"], found["n"], found["real"], found["ai_generated"]) == ("vit/v7", 16, 10, 6)
    assert [(row["name"], row["label"], row["n"]) for row in found["folders"]] == [
        ("phone", "real", 6),
        ("scans", "real", 4),
        ("<b>flux", "ai_generated", 6),
    ]
    for row in found["folders"]:
        shares = (row[key]["value"] for key in ("called_ai_generated", "called_real", "uncertain"))
        assert sum(shares) == pytest.approx(1)
    sure = [abs(entry["probability"] - 0.5) for entry in found["mistakes"]]
    assert sure and sure == sorted(sure, reverse=True)
    assert all((entry["probability"] >= 0.5) == (entry["label"] == "real") for entry in found["mistakes"])


def test_text_and_page_say_the_same_and_names_cannot_break_the_page(version: Path, folder: Path) -> None:
    found = evaluate_folder(version, folder)
    text, page = render_text(found), render_html(found)
    assert "vit/v7 on 16 pictures (10 real, 6 generated)" in text and "vit/v7 on 16 pictures" in page
    assert "broken.jpg: cannot be read" in text
    assert "<b>flux" not in page and "&lt;b&gt;flux" in page


@pytest.fixture
def learnt(version: Path, folder: Path, tmp_path: Path) -> Path:
    """The version, which has seen the bytes of four of the folder's pictures, and another encoding of a fifth."""
    for file in version.iterdir():
        shutil.copy(file, tmp_path)
    pictures = {member.sample.path: member.sample for member in read_pictures(folder).members}
    parts = {"real/phone/1.jpg": "train", "real/phone/2.jpg": "validation", "real/phone/3.jpg": "test"}
    parts |= {"ai_generated/<b>flux/0.jpg": "calibration"}
    samples = {path: pictures[path] for path in parts}
    data = tmp_path / "data"
    for name, picture in (("again.webp", scene(100 + 1)), ("other.webp", scene(999))):
        content = encoded(picture, "WEBP", quality=60)
        phash = perceptual_hash(picture)
        samples[name] = stored(data, name, content, "ai_generated", phash=phash)
        parts[name] = "train"
    write_snapshot(tmp_path / "snapshot.jsonl", samples.values())
    lines = [json.dumps({"sha256": samples[path].sha256, "part": part, "group": path}) for path, part in parts.items()]
    (tmp_path / "split.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_what_the_version_has_learnt_from_is_named_and_left_out_of_every_number(learnt: Path, folder: Path) -> None:
    found = json.loads(json.dumps(evaluate_folder(learnt, folder)))
    assert {entry["path"]: entry["part"] for entry in found["learnt_from"]} == {
        "real/phone/1.jpg": "train",
        "real/phone/2.jpg": "validation",
        "ai_generated/<b>flux/0.jpg": "calibration",
        "ai_generated/<b>flux/1.jpg": "train",
    }
    assert (found["n"], found["real"], found["ai_generated"]) == (12, 8, 4)
    assert [row["n"] for row in found["folders"]] == [4, 4, 4]
    text, page = render_text(found), render_html(found)
    assert "on 12 pictures (8 real, 4 generated); 4 more are left out" in text and "4 more are left out" in page
    assert "ai_generated/<b>flux/1.jpg: the version was trained on a near-duplicate of it (again.webp)" in text
    assert "real/phone/2.jpg: the version was chosen by it" in text and "real/phone/2.jpg: the version" in page


def test_a_folder_of_nothing_else_and_a_version_that_does_not_say_are_refused(learnt: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "real").mkdir(parents=True)
    (own / "real/1.jpg").write_bytes(encoded(scene(1), quality=90))
    with pytest.raises(OperatorError, match="learnt from every picture"):
        evaluate_folder(learnt, own)
    (learnt / "split.jsonl").unlink()
    with pytest.raises(StopRunError, match="does not say which pictures"):
        evaluate_folder(learnt, own)


def test_a_folder_without_labels_says_what_is_missing(version: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((70, 70, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(OperatorError, match="real or ai_generated"):
        evaluate_folder(version, tmp_path)
    with pytest.raises(OperatorError, match="no such folder"):
        evaluate_folder(version, tmp_path / "nowhere")
