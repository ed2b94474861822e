"""The registry: what is published, under which name, and what survives a kill at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.publishing.registry import Registry
from utils.errors import OperatorError, StopRunError

CHANGING_EVENTS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def publish_next(registry: Registry, model: str = "vit", weights: bytes = b"weights") -> dict[str, Any]:
    version = registry.reserve_version(model)
    staged = registry.stage(model, version)
    (staged / "weights.pt").write_bytes(weights)
    (staged / "model.json").write_text("{}")
    return registry.publish(staged, {"model": model, "version": version, "timestamp": "2026-01-01T00:00:00Z"})


def names(registry: Registry) -> list[str]:
    return [f"{entry['model']}/{entry['version']}" for entry in registry.entries()]


def run_killed_at(step: int, action: Callable[[], object]) -> bool:
    """Run `action` in a child that kills itself just before its `step`-th change of the disk; True when it lived."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, args: tuple[object, ...]) -> None:
            nonlocal seen
            writing = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_CREAT)
            if event in CHANGING_EVENTS or writing:
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the action itself failed"
    return not os.WIFSIGNALED(status)


def check_consistent(registry: Registry) -> None:
    """What any reader may rely on at any moment, before and after a sweep."""
    for entry in registry.entries():
        published = registry.published_file(entry["model"], entry["version"], "weights.pt")
        assert published is not None
        assert published.path.read_bytes()
    if registry.entries():
        assert registry.champion() is not None


def test_nothing_published(registry: Registry) -> None:
    assert registry.entries() == []
    assert registry.champion() is None
    assert registry.previous() is None
    assert registry.serial() == 0
    assert registry.sweep() == []


def test_entries_are_oldest_first_and_the_newest_is_champion(registry: Registry) -> None:
    for _ in range(3):
        publish_next(registry)
    assert names(registry) == ["vit/v1", "vit/v2", "vit/v3"]
    assert registry.champion()["version"] == "v3"
    assert registry.previous()["version"] == "v2"
    assert json.loads((registry.models_path / "registry.json").read_text()) == registry.entries()


def test_an_entry_says_what_its_files_are(registry: Registry) -> None:
    entry = publish_next(registry, weights=b"abc")
    assert entry["size_bytes"] == 3
    assert entry["sha256"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert set(entry["files"]) == {"weights.pt", "model.json"}
    assert registry.entries() == [entry]


def test_version_numbers_are_never_reused(registry: Registry) -> None:
    assert [registry.reserve_version("vit") for _ in range(2)] == ["v1", "v2"]
    publish_next(registry)
    publish_next(registry)
    registry.prune(keep=1)
    assert registry.reserve_version("vit") == "v5"
    assert registry.reserve_version("mobilenetv2") == "v1"


@pytest.mark.parametrize("damage", ["", "x", "0"])
def test_a_lost_counter_does_not_bring_numbers_back(registry: Registry, damage: str) -> None:
    for _ in range(3):
        publish_next(registry)
    (registry.models_path / "vit" / ".last_version").write_text(damage)
    assert registry.reserve_version("vit") == "v4"


def test_two_processes_never_get_the_same_number(registry: Registry) -> None:
    program = (
        "import sys; from pathlib import Path; from trainer.publishing.registry import Registry\n"
        "for _ in range(20): print(Registry(Path(sys.argv[1])).reserve_version('vit'))"
    )
    command = [sys.executable, "-c", program, str(registry.models_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    given = [line for process in processes for line in process.communicate()[0].split()]
    assert sorted(given) == sorted(f"v{number}" for number in range(1, 41))


def test_published_versions_never_change(registry: Registry) -> None:
    publish_next(registry)
    staged = registry.stage("vit", "v1")
    (staged / "weights.pt").write_bytes(b"other")
    with pytest.raises(StopRunError, match="there already"):
        registry.publish(staged, {"model": "vit", "version": "v1"})
    assert (registry.version_folder("vit", "v1") / "weights.pt").read_bytes() == b"weights"


def test_links_and_folders_are_not_published(registry: Registry, tmp_path: Path) -> None:
    for make in (lambda path: path.symlink_to(tmp_path), lambda path: path.mkdir()):
        staged = registry.stage("vit", registry.reserve_version("vit"))
        (staged / "weights.pt").write_bytes(b"w")
        make(staged / "extra")
        with pytest.raises(StopRunError, match="plain files"):
            registry.publish(staged, {"model": "vit", "version": "v1"})


def test_a_killed_publish_is_completed_or_removed(tmp_path: Path) -> None:
    step, lived = 0, False
    outcomes = set()
    while not lived:
        step += 1
        registry = Registry(tmp_path / f"models{step}")
        publish_next(registry)
        lived = run_killed_at(step, lambda registry=registry: publish_next(registry))
        check_consistent(registry)
        registry.sweep()
        check_consistent(registry)
        assert registry.sweep() == []
        assert names(registry) in (["vit/v1"], ["vit/v1", "vit/v2"])
        assert registry.serial() == len(names(registry))
        assert registry.champion() == registry.entries()[-1]
        outcomes.add(len(names(registry)))
        left = {path.name for path in (tmp_path / f"models{step}").rglob("*") if path.name.startswith(".")}
        assert left <= {".lock", ".last_version", ".aliases.json"}
        published = publish_next(registry)
        assert published["version"] in ("v2", "v3")
        assert len(set(names(registry))) == len(names(registry))
        check_consistent(registry)
    assert outcomes == {1, 2}
    assert step > 10


def test_a_killed_prune_is_completed_or_never_happened(tmp_path: Path) -> None:
    step, lived = 0, False
    while not lived:
        step += 1
        registry = Registry(tmp_path / f"models{step}")
        for _ in range(4):
            publish_next(registry)
        lived = run_killed_at(step, lambda registry=registry: registry.prune(keep=1))
        check_consistent(registry)
        registry.sweep()
        check_consistent(registry)
        assert names(registry) in (["vit/v3", "vit/v4"], ["vit/v1", "vit/v2", "vit/v3", "vit/v4"])
        folders = {f"vit/{path.name}" for path in (registry.models_path / "vit").glob("v*")}
        assert folders == set(names(registry))
        assert registry.reserve_version("vit") == "v5"
    assert step > 3


@pytest.mark.parametrize("move", ["rollback", "promote"])
def test_a_killed_move_of_the_alias_names_the_old_or_the_new_champion(tmp_path: Path, move: str) -> None:
    step, lived = 0, False
    while not lived:
        step += 1
        registry = Registry(tmp_path / f"models{step}")
        publish_next(registry)
        publish_next(registry)
        action = registry.rollback if move == "rollback" else lambda registry=registry: registry.promote("vit", "v1")
        lived = run_killed_at(step, action)
        registry.sweep()
        assert (registry.champion()["version"], registry.serial()) in (("v2", 2), ("v1", 3))
        check_consistent(registry)


def test_sweep_leaves_a_living_process_its_staging_folder(registry: Registry) -> None:
    staged = registry.stage("vit", "v1")
    assert Registry(registry.models_path).sweep() == []
    assert staged.is_dir()


def test_sweep_leaves_what_it_does_not_know(registry: Registry) -> None:
    publish_next(registry)
    stranger = registry.models_path / "vit" / "v9"
    stranger.mkdir()
    (stranger / "weights.pt").write_bytes(b"by hand")
    assert registry.sweep() == []
    assert names(registry) == ["vit/v1"]
    assert registry.published_file("vit", "v9", "weights.pt") is None
    assert registry.reserve_version("vit") == "v10"


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"model": "vit"}]', "[" * 100_000, '[{"model": "vit", "versio'])
def test_a_corrupt_registry_stops_every_change_and_loses_nothing(registry: Registry, text: str) -> None:
    publish_next(registry)
    staged = registry.stage("vit", "v2")
    (staged / "weights.pt").write_bytes(b"new")
    (registry.models_path / "registry.json").write_text(text)
    changes = (
        registry.entries,
        registry.sweep,
        lambda: registry.prune(1),
        lambda: registry.reserve_version("vit"),
        lambda: registry.publish(staged, {"model": "vit", "version": "v2"}),
    )
    for change in changes:
        with pytest.raises(OperatorError, match=r"registry\.json"):
            change()
    assert (registry.models_path / "registry.json").read_text() == text
    assert (registry.version_folder("vit", "v1") / "weights.pt").is_file()
    assert (staged / "weights.pt").is_file()


def test_rollback_moves_the_alias_and_the_serial_grows(registry: Registry) -> None:
    for _ in range(3):
        publish_next(registry)
    assert registry.rollback()["version"] == "v2"
    assert registry.champion()["version"] == "v2"
    assert registry.previous()["version"] == "v3"
    assert registry.serial() == 4
    registry.rollback()
    assert registry.champion()["version"] == "v3"
    assert publish_next(registry)["serial"] == 6
    assert names(registry) == ["vit/v1", "vit/v2", "vit/v3", "vit/v4"]


def test_rollback_without_a_previous_version_says_so(registry: Registry) -> None:
    publish_next(registry)
    with pytest.raises(OperatorError, match="no previous version"):
        registry.rollback()


def test_promoting_what_is_not_published_names_what_is(registry: Registry) -> None:
    publish_next(registry)
    with pytest.raises(OperatorError, match="known: vit/v1"):
        registry.promote("vit", "v2")


def test_prune_keeps_what_an_alias_names(registry: Registry) -> None:
    for _ in range(5):
        publish_next(registry)
    registry.promote("vit", "v1")
    registry.promote("vit", "v2")
    assert registry.prune(keep=1) == ["vit/v3", "vit/v4"]
    assert names(registry) == ["vit/v1", "vit/v2", "vit/v5"]
    assert registry.champion()["version"] == "v2"
    with pytest.raises(OperatorError, match="at least 1"):
        registry.prune(keep=0)


def test_without_aliases_the_newest_is_champion(registry: Registry) -> None:
    for _ in range(2):
        publish_next(registry)
    (registry.models_path / "aliases.json").unlink()
    assert registry.champion()["version"] == "v2"
    assert registry.serial() > 2  # followers refuse a lower one


def test_corrupt_aliases_say_what_to_do(registry: Registry) -> None:
    publish_next(registry)
    (registry.models_path / "aliases.json").write_text("{")
    with pytest.raises(OperatorError, match="remove it"):
        registry.champion()


@pytest.mark.parametrize(
    "name",
    ["..", ".", "", "../v1/weights.pt", "/etc/passwd", "weights.pt\0", "weights.pt\n", "secret.txt", "%2e%2e", "a/b"],
)
def test_only_named_files_are_published(registry: Registry, name: str) -> None:
    publish_next(registry)
    (registry.version_folder("vit", "v1") / "secret.txt").write_text("not named by the entry")
    assert registry.published_file("vit", "v1", name) is None
    assert registry.published_file("vit", name, "weights.pt") is None
    assert registry.published_file(name, "v1", "weights.pt") is None


def test_links_and_changed_files_are_not_served(registry: Registry, tmp_path: Path) -> None:
    publish_next(registry)
    publish_next(registry)
    publish_next(registry)
    folder = registry.version_folder("vit", "v1")
    (folder / "weights.pt").unlink()
    (folder / "weights.pt").symlink_to(registry.version_folder("vit", "v2") / "weights.pt")
    assert registry.published_file("vit", "v1", "weights.pt") is None
    registry.version_folder("vit", "v2").rename(tmp_path / "elsewhere")
    registry.version_folder("vit", "v2").symlink_to(tmp_path / "elsewhere")
    assert registry.published_file("vit", "v2", "weights.pt") is None
    (registry.version_folder("vit", "v3") / "weights.pt").write_bytes(b"of another size")
    assert registry.published_file("vit", "v3", "weights.pt") is None


def test_an_entry_in_the_bare_form_of_the_guide_is_served(registry: Registry) -> None:
    folder = registry.models_path / "vit" / "v2"
    folder.mkdir(parents=True)
    (folder / "weights.pt").write_bytes(b"abc")
    (registry.models_path / "registry.json").write_text(
        json.dumps([{"model": "vit", "version": "v2", "val_acc": 0.89}])
    )
    published = registry.published_file("vit", "v2", "weights.pt")
    assert published is not None
    assert (published.size_bytes, published.sha256[:8]) == (3, "ba7816bf")
    assert registry.reserve_version("vit") == "v3"


def test_the_registry_needs_neither_torch_nor_numpy() -> None:
    imports = "import sys, trainer.publishing.registry, trainer.model_sync"
    program = f"{imports}; print({{'torch', 'numpy', 'PIL'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
