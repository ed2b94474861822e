from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from datasets_made import draw, write_folder, write_parquet, write_table, write_tars

from scrapers.exchange.read_process import ReadProcess
from scrapers.exchange.readers.detect import open_dataset
from scrapers.exchange.readers.reader import Item, ReaderOptions
from utils.errors import OperatorError

PICTURES = draw(24)


def read(path: Path, **options: Any) -> list[Item]:
    """Everything, without a process of its own."""
    items = []
    for chunk in open_dataset(path, ReaderOptions(**options))[1].chunks(frozenset()):
        assert len(set(chunk.keys)) == len(chunk.keys)
        items += list(chunk.items(frozenset(range(len(chunk.keys)))))
    return items


def read_confined(path: Path, memory_mb: int = 4096) -> tuple[list[Item], ReadProcess]:
    items = []
    with ReadProcess(path, ReaderOptions(), memory_mb) as reading:
        for keys in reading:
            items += list(reading.items(range(len(keys))))
    return items, reading


def good(items: list[Item]) -> list[bytes]:
    return sorted(item.data for item in items if not item.problem)


def problems(items: list[Item]) -> list[str]:
    return [item.problem for item in items if item.problem]


def test_every_form_gives_back_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    forms = {
        "folder": write_folder(tmp_path / "folder", PICTURES),
        "table": write_table(tmp_path / "table", PICTURES),
        "webdataset": write_tars(tmp_path / "tars", PICTURES),
        "parquet": write_parquet(tmp_path / "one.parquet", PICTURES),
    }
    for form, path in forms.items():
        items, reading = read_confined(path)
        assert reading.form == form
        assert good(items) == sorted(PICTURES), form
        assert problems(items) == []


def test_only_what_is_wanted_is_sent(tmp_path: Path) -> None:
    with ReadProcess(write_tars(tmp_path / "tars", PICTURES, shard=100), ReaderOptions()) as reading:
        for _ in reading:
            assert [item.index for item in reading.items([3, 5])] == [3, 5]


def test_class_labels_come_by_name(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    items, reading = read_confined(write_parquet(tmp_path / "one.parquet", PICTURES))
    assert reading.total == len(PICTURES)
    assert {item.columns["label"] for item in items} == {"generated", "photo"}


def test_a_metadata_file_speaks_for_the_pictures_below_it(tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / "train" / "x").mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / "x" / f"{index}.jpg").write_bytes(PICTURES[index])
    rows = [{"file_name": f"x/{index}.jpg", "label": "real", "prompt": "ü"} for index in range(2)]
    text = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "train" / "metadata.jsonl").write_text(text, encoding="utf-8")
    items = read(tmp_path)
    assert {item.path: item.columns for item in items} == {
        "train/x/0.jpg": {"label": "real", "prompt": "ü"},
        "train/x/1.jpg": {"label": "real", "prompt": "ü"},
        "train/x/2.jpg": {},
    }


@pytest.mark.parametrize(
    "path",
    ["../secret.jpg", "/etc/passwd", "a/../../secret.jpg", "link.jpg", "linked/1.jpg", "", "https://x.org/1.jpg"],
)
def test_a_table_names_nothing_outside_its_folder(tmp_path: Path, path: str) -> None:
    home = tmp_path / "set"
    home.mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.jpg").write_bytes(b"secret")
    (home / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (home / "linked").symlink_to(tmp_path / "elsewhere")
    (home / "good.jpg").write_bytes(PICTURES[0])
    (home / "labels.csv").write_text(f"path,label\n{path},real\ngood.jpg,real\n", encoding="utf-8")
    items = read(home / "labels.csv")
    assert [item.data for item in items if not item.problem] == [PICTURES[0]]
    assert len(problems(items)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "path,label,author\n1.jpg,real,Ünal\n".encode(),
        "path,label,author\n1.jpg,real,Ünal\n".encode("utf-8-sig"),
        "path,label,author\r\n1.jpg,real,Ünal\r\n".encode("utf-16"),
        "path,label,author\n1.jpg,real,Ünal\n".encode("cp1252"),
        "path;label;author\n1.jpg;real;Ünal\n".encode(),
        "path\tlabel\tauthor\n1.jpg\treal\tÜnal\n".encode(),
        'path,label,author\n"1.jpg",real,"Ünal\nof two lines"\n'.encode(),
    ],
)
def test_tables_come_as_spreadsheets_write_them(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "1.jpg").write_bytes(PICTURES[0])
    (tmp_path / "labels.csv").write_bytes(text)
    (item,) = read(tmp_path / "labels.csv")
    assert (item.data, item.columns["label"]) == (PICTURES[0], "real")
    assert item.columns["author"].endswith(("nal", "nal\nof two lines"))


def test_a_folder_is_read_without_links_hidden_files_and_companions(tmp_path: Path) -> None:
    home = tmp_path / "set"
    write_folder(home, PICTURES[:2])
    (home / ".hidden.jpg").write_bytes(b"x")
    (home / ".cache").mkdir()
    (home / ".cache" / "1.jpg").write_bytes(b"x")
    (home / "README.md").write_text("x")
    (home / "loop").symlink_to(home)
    (home / "link.jpg").symlink_to("/etc/passwd")
    items = read(home)
    assert good(items) == sorted(PICTURES[:2])
    assert problems(items) == []


def test_members_of_a_tar_are_names_and_never_paths_or_links(tmp_path: Path) -> None:
    file = tmp_path / "one.tar"
    with tarfile.open(file, "w") as tar:
        for name, kind in (("link.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE), ("dev.jpg", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        for name in ("../../up.jpg", "/etc/absolute.jpg"):
            member = tarfile.TarInfo(name)
            member.size = len(PICTURES[0])
            tar.addfile(member, io.BytesIO(PICTURES[0]))
    items = read(file)
    assert [item.data for item in items] == [PICTURES[0]] * 2
    assert list(tmp_path.iterdir()) == [file]


def test_a_tar_that_is_cut_gives_what_is_whole_and_a_reason(tmp_path: Path) -> None:
    folder = write_tars(tmp_path / "tars", PICTURES, shard=12)
    first = folder / "000000.tar"
    first.write_bytes(first.read_bytes()[: first.stat().st_size // 2])
    items = read(folder)
    assert set(PICTURES[12:]) < set(good(items)) < set(PICTURES)
    assert problems(items)


def test_a_damaged_parquet_file_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    write_parquet(tmp_path / "a.parquet", PICTURES[:8])
    write_parquet(tmp_path / "b.parquet", PICTURES[8:16])
    write_parquet(tmp_path / "c.parquet", PICTURES[16:])
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:200])
    middle = bytearray((tmp_path / "b.parquet").read_bytes())
    middle[40:4000] = bytes(3960)
    (tmp_path / "b.parquet").write_bytes(bytes(middle))
    items = read(tmp_path)
    assert set(PICTURES[16:]) <= set(good(items)) <= set(PICTURES)
    assert any("damaged parquet" in problem for problem in problems(items))


def test_a_picture_beyond_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    large = b"\xff\xd8\xff" + bytes(100_000)
    for path in (
        write_folder(tmp_path / "folder", [large, PICTURES[0]]),
        write_tars(tmp_path / "tars", [large, PICTURES[0]]),
        write_parquet(tmp_path / "one.parquet", [large, PICTURES[0]]),
    ):
        items = read(path, max_file_bytes=50_000)
        assert good(items) == [PICTURES[0]]
        assert "at most 50000 are allowed" in problems(items)[0]


def test_a_parquet_bomb_costs_its_own_rows_and_no_more(tmp_path: Path) -> None:
    """A few kilobytes that unpack to 150 MB in each of four rows: the reader has 512 MB."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    zeros = pa.array([bytes(150_000_000)], pa.binary())
    bomb = pa.DictionaryArray.from_arrays(pa.array([0] * 4, pa.int32()), zeros)
    pq.write_table(pa.table({"image": bomb}), tmp_path / "a.parquet", compression="zstd", store_schema=False)
    del bomb, zeros
    assert (tmp_path / "a.parquet").stat().st_size < 1_000_000
    write_parquet(tmp_path / "b.parquet", PICTURES)
    items, reading = read_confined(tmp_path, memory_mb=512)
    assert good(items) == sorted(PICTURES)
    assert problems(items) or reading.broken


def test_columns_are_bounded(tmp_path: Path) -> None:
    row = {"file_name": "1.jpg", "label": "real", "huge": "x" * 100_000, "nan": float("nan")}
    (tmp_path / "1.jpg").write_bytes(PICTURES[0])
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row | {f"c{index}": 1 for index in range(500)}))
    items, _ = read_confined(tmp_path)
    (item,) = items
    assert item.columns["label"] == "real"
    assert "huge" not in item.columns
    assert "nan" not in item.columns
    assert len(item.columns) <= 64


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("set.zip", b"PK", "unpack it first"),
        ("set.tar.gz", b"\x1f\x8b", "unpack it first"),
        ("set.txt", b"x", "can be a folder"),
        ("a.csv", b"colour,label\nred,real\n", "which column holds the path"),
        ("a.csv", b"path,label\n" + b"x" * 200_000 + b",real\n", "is no table"),
        ("a.jsonl", b'{"path": 1\n', "line 1"),
        ("a.jsonl", b"[1]\n", "not a JSON object"),
        ("a.jsonl", b"[" * 100_000, "line 1"),
    ],
)
def test_what_cannot_be_read_at_all_says_what_to_do(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OperatorError, match=reason):
        read(tmp_path / name)


def test_parquet_without_a_clear_picture_column_lists_its_columns(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"a": [b"x"], "b": [b"y"], "c": [1]}), tmp_path / "one.parquet")
    with pytest.raises(OperatorError, match="--image-column; columns are a "):
        read(tmp_path / "one.parquet")
    items = read(tmp_path / "one.parquet", image_column="b")
    assert [item.data for item in items] == [b"y"]
