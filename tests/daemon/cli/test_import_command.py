"""`exposr-trainer import` as people type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daemon.cli.inspection import read_status
from daemon.cli.main import app
from encoded_pictures import noise_picture
from scrapers.status import collected_mix
from utils.config_loader import load_config
from utils.errors import OperatorError
from utils.metadata import read_metadata


@pytest.fixture
def config(tmp_path: Path) -> Path:
    here = tmp_path / "here"
    here.mkdir()
    file = here / "config.toml"
    places = [f'{key} = "{here / name}"' for key, name in (("local_path", "datasets"), ("state_path", "state"))]
    file.write_text("\n".join(["[storage]", *places, f'models_path = "{here}/models"', "min_free_gb = 0", ""]))
    return file


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two photographs and two generated pictures, as folders."""
    for index, folder in enumerate(("real/phone", "real/phone", "sd-xl", "sd-xl")):
        file = tmp_path / "set" / folder / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise_picture(index, (96, 72)).save(file)
    return tmp_path / "set"


def run(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def test_labels_that_nobody_explained_are_named_with_what_to_type(config: Path, dataset: Path) -> None:
    (dataset / "real").rename(dataset / "a")
    for index, file in enumerate(sorted(dataset.rglob("*.png"))):
        line = {"file_name": file.relative_to(dataset).as_posix(), "label": index // 2}
        with (dataset / "metadata.jsonl").open("a") as rows:
            rows.write(json.dumps(line) + "\n")
    said = run("import", dataset, "--config", config, "--dry-run", code=1)
    assert "labels that are not known: '0' (2), '1' (2)" in said
    assert "--map '0=ai_generated/NAME'" in said
    said = run("import", dataset, "--config", config, "--map", "0=real", "--map", "1=ai_generated/sdxl")
    assert "set: stored 4, 0 known, 0 duplicates" in said
    assert "ai_generated / sdxl: 2" in said


def test_folders_without_a_label_are_left_out_and_said(config: Path, dataset: Path) -> None:
    said = run("import", dataset, "--config", config, code=1)
    assert "no labels were found: say --label" in said
    assert "set: stored 2, 0 known, 0 duplicates, 2 filtered (label)" in said
    said = run("import", dataset, "--config", config, "--map", "sd-xl=ai_generated/sdxl")
    assert "set: stored 2, 2 known, 0 duplicates" in said


def test_what_a_person_has_dropped_is_a_duplicate_and_keeps_its_place(config: Path, dataset: Path) -> None:
    dropped = config.parent / "datasets" / "real" / "camera" / "mine.png"
    dropped.parent.mkdir(parents=True)
    dropped.write_bytes((dataset / "real" / "phone" / "0.png").read_bytes())
    said = run("import", dataset, "--config", config, "--only", "real/*")
    assert "set: stored 1, 0 known, 1 duplicates" in said
    assert dropped.is_file()


def test_the_counts_and_the_mix_know_what_came_in(config: Path, dataset: Path) -> None:
    run("import", dataset, "--config", config, "--map", "sd-xl=ai_generated/sdxl", "--name", "mine", "--license", "CC0")
    run("reindex", "--config", config)
    settings = load_config(config)
    counts = read_status(settings)["dataset_counts"]
    assert (counts["real"], counts["ai_generated"]) == (2, 2)
    assert collected_mix(settings)["ai_generated"] == {"sdxl": 2}
    page = config.parent / "credits.md"
    run("attributions", "--output", page, "--config", config)
    assert page.read_text().count("on mine, CC0") == 4
    sources = {read_metadata(file).source for file in (settings.storage.local_path / "meta").rglob("*.json")}
    assert sources == {"phone", "mine"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nowhere"], "there is nothing"),
        (["hf:name"], "the form is hf:OWNER/NAME"),
        ([".", "--label", "cat"], "'cat' is no label"),
        ([".", "--map", "cat"], "VALUE=LABEL"),
        ([".", "--form", "zip"], "no such form"),
        ([".", "--labelled-by", "me"], "allowed are person and source"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(config: Path, words: list[str], reason: str) -> None:
    with pytest.raises(OperatorError, match=reason):
        run("import", *words, "--config", config)
