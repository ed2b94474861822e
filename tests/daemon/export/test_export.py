"""The round trip of a dataset, and what others make of an export."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from daemon.cli.main import app
from encoded_pictures import noise_picture
from handlers.labels.commands import set_label
from utils.config_loader import Config, load_config
from utils.metadata import read_metadata

PHOTOS, MADE = 24, 16
SETTINGS = """
[storage]
local_path = "{0}/datasets"
state_path = "{0}/state"
models_path = "{0}/models"
min_free_gb = 0
[harvest]
check_workers = 1
"""


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def fingerprint(said: str) -> str:
    return said.strip().rpartition("data fingerprint ")[2]


def place(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.toml"
    file.write_text(SETTINGS.format(folder))
    return file


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder as people have it: sources, generators, series, a person's word, an unlabelled picture."""
    folder = tmp_path_factory.mktemp("export")
    config = place(folder)
    names = [f"real/{('phone', 'camera')[n % 2]}/{('a', 'b', '')[n % 3]}/{n}.jpg" for n in range(PHOTOS)]
    names += [f"ai_generated/{('flux', 'sdxl')[n % 2]}/{n}.{('png', 'webp')[n % 2]}" for n in range(MADE)]
    for index, name in enumerate([*names, "loose.jpg"]):
        file = folder / "datasets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        noise_picture(index, (96, 72)).save(file)
    run("reindex", "--config", str(config))
    first = folder / "datasets" / names[0]
    set_label(load_config(config), str(first), "real")
    return config


@pytest.fixture(scope="module")
def exports(here: Path) -> dict[str, tuple[Path, str]]:
    """form -> folder and data fingerprint."""
    pytest.importorskip("pyarrow")
    made = {}
    for form in ("folder", "webdataset", "parquet"):
        folder = here.parent / f"out-{form}"
        made[form] = folder, fingerprint(run("export", str(folder), "--form", form, "--config", str(here)))
    return made


FORMS = pytest.mark.parametrize("form", ["folder", "webdataset", "parquet"])


@FORMS
def test_export_and_import_again_has_the_same_fingerprint(
    form: str, exports: dict[str, tuple[Path, str]], tmp_path: Path
) -> None:
    folder, before = exports[form]
    assert len(before) == 64
    config = place(tmp_path)
    said = run("import", str(folder), "--config", str(config))
    assert f"stored {PHOTOS + MADE}, 0 known, 0 duplicates" in said
    again = run("export", str(tmp_path / "again"), "--config", str(config))
    assert fingerprint(again) == before


def test_an_export_says_what_it_holds(exports: dict[str, tuple[Path, str]]) -> None:
    folder, before = exports["folder"]
    lines = [line for file in folder.glob("*/metadata.jsonl") for line in file.read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    assert Counter(row["label"] for row in rows) == {"real": PHOTOS, "ai_generated": MADE}
    assert {row["source"] for row in rows if row["label"] == "real"} == {"phone", "camera"}
    assert {row["generator"] for row in rows if row["label"] == "ai_generated"} == {"flux", "sdxl"}
    assert {row["series"] for row in rows} == {"", *(f"real/{s}/{x}" for s in ("phone", "camera") for x in "ab")}
    assert {row["split"] for row in rows} <= {"train", "validation", "calibration", "test"}
    assert before in (folder / "README.md").read_text()


def test_one_export_is_the_other(exports: dict[str, tuple[Path, str]]) -> None:
    assert len({before for _, before in exports.values()}) == 1
    shards = sorted(exports["webdataset"][0].glob("*.tar"))
    names: Counter[str] = Counter()
    for shard in shards:
        with tarfile.open(shard) as tar:
            names.update(name.rpartition(".")[0] for name in tar.getnames())
    assert set(names.values()) == {3}
    assert len(names) == PHOTOS + MADE


def test_a_folder_that_is_taken_is_left_alone(here: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(Exception, match="already exists"):
        run("export", str(tmp_path), "--config", str(here))
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_a_picture_that_changed_meanwhile_is_named_and_left_out(here: Path, tmp_path: Path) -> None:
    config = place(tmp_path / "there")
    for index in range(3):
        file = tmp_path / "there" / "datasets" / "real" / "phone" / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise_picture(index, (96, 72)).save(file)
    run("reindex", "--config", str(config))
    settings = load_config(config)
    file.write_bytes(file.read_bytes() + b"more")
    from daemon.export import Export

    report = Export(settings, tmp_path / "out", "folder", "set", 10).run()
    assert report.pictures == 2
    assert report.missing == [("real/phone/2.png", "has changed since it was indexed")]


def test_a_persons_word_goes_out_and_comes_back(exports: dict[str, tuple[Path, str]], tmp_path: Path) -> None:
    config = place(tmp_path)
    run("import", str(exports["webdataset"][0]), "--config", str(config))
    said = [read_metadata(file).label_source for file in (tmp_path / "datasets" / "meta").rglob("*.json")]
    assert set(said) == {"person"}  # whoever put a picture into a folder has said what it is


# What others read, each in a process that knows nothing of ours.

HF = "import datasets; load = lambda *w, **k: datasets.load_dataset(*w, cache_dir=sys.argv[2], **k); "


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Any]:
    """What a few lines of Python print as JSON; `sys.argv[1]` is the export, `sys.argv[2]` an empty folder."""

    def run(peer: str, code: str, folder: Path) -> Any:
        if find_spec(peer) is None or getattr(find_spec(peer), "origin", None) is None:
            pytest.skip(f"the extra test is not installed: {peer}")
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
        command = [sys.executable, "-P", "-c", f"import json, sys; {code}", str(folder), str(tmp_path / "cache")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


ALL = {"real": PHOTOS, "ai_generated": MADE}


def test_datasets_reads_the_image_folder(ask: Callable[..., Any], exports: dict[str, tuple[Path, str]]) -> None:
    code = HF + (
        "rows = [row for part in load('imagefolder', data_dir=sys.argv[1]).values() for row in part];"
        "print(json.dumps([(row['label'], row['image'].size == (row['width'], row['height'])) for row in rows]))"
    )
    rows = ask("datasets", code, exports["folder"][0])
    assert Counter(label for label, _ in rows) == ALL
    assert all(is_whole for _, is_whole in rows)


def test_datasets_reads_the_parquet(ask: Callable[..., Any], exports: dict[str, tuple[Path, str]]) -> None:
    code = HF + (
        "rows = [row for part in load(sys.argv[1]).values() for row in part];"
        "print(json.dumps([(row['label'], row['image'].size) for row in rows]))"
    )
    rows = ask("datasets", code, exports["parquet"][0])
    assert Counter(label for label, _ in rows) == ALL
    assert all(size == [96, 72] for _, size in rows)


def test_timm_reads_the_image_folder(ask: Callable[..., Any], exports: dict[str, tuple[Path, str]]) -> None:
    code = (
        "import timm.data; found = timm.data.create_dataset('folder', root=sys.argv[1] + '/train');"
        "print(json.dumps([found.reader.class_to_idx, len(found)]))"
    )
    classes, count = ask("timm", code, exports["folder"][0])
    assert classes == {"ai_generated": 0, "real": 1}
    assert count > 0


def test_webdataset_reads_the_shards(ask: Callable[..., Any], exports: dict[str, tuple[Path, str]]) -> None:
    code = (
        "import glob, webdataset; shards = sorted(glob.glob(sys.argv[1] + '/*.tar'));"
        "found = list(webdataset.WebDataset(shards, shardshuffle=False).decode('pil'));"
        "picture = lambda sample: next(sample[kind] for kind in ('jpg', 'png', 'webp') if kind in sample);"
        "print(json.dumps([(sample['json']['label'], sample['cls'], picture(sample).size) for sample in found]))"
    )
    found = ask("webdataset", code, exports["webdataset"][0])
    assert Counter(label for label, _, _ in found) == ALL
    assert all(number == int(label == "ai_generated") for label, number, _ in found)
    assert all(size == [96, 72] for _, _, size in found)


@FORMS
def test_mlcroissant_reads_each_form(form: str, ask: Callable[..., Any], exports: dict[str, tuple[Path, str]]) -> None:
    code = (
        "import mlcroissant; described = mlcroissant.Dataset(sys.argv[1] + '/croissant.json');"
        "records = list(described.records('picture'));"
        "rows = [(record['picture/label'].decode(), record['picture/image'].size) for record in records];"
        "print(json.dumps([rows, list(described.metadata.issues.errors), described.metadata.description]))"
    )
    rows, errors, text = ask("mlcroissant", code, exports[form][0])
    assert errors == []
    assert Counter(label for label, _ in rows) == ALL
    assert all(size == [96, 72] for _, size in rows)
    assert exports[form][1] in text


def test_export_needs_something_to_export(tmp_path: Path) -> None:
    config: Config = load_config(place(tmp_path))
    (config.storage.local_path).mkdir(parents=True)
    with pytest.raises(Exception, match="nothing to export"):
        run("export", str(tmp_path / "out"), "--config", str(tmp_path / "config.toml"))
