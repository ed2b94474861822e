"""What is killed at each of its steps: an action on a folder, what it starts from, and how it is picked up again."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import cast

from crash_points import Action
from dataset_kit import Folder, Runner, draw
from invariants import data_violations, model_violations
from lifted import lifted_config

from daemon.backup.backup import back_up, restore
from daemon.backup.files import damage, read_manifest
from handlers.labels.commands import set_label
from scrapers.exchange.hub import Hub
from scrapers.exchange.mapping import Terms
from scrapers.exchange.readers.reader import ReaderOptions
from scrapers.exchange.run import Request, run_import
from scrapers.harvest import Harvest
from scrapers.sandbox.server import SandboxServer
from trainer.publishing.registry import Registry
from utils.config_loader import Config, load_config
from utils.errors import OperatorError
from utils.images.check_pool import CheckPool
from utils.images.check_worker import check
from utils.images.facts import CheckLimits, CheckResult

LONG_AFTER_SECONDS = 7200.0  # when nobody can be writing any more what was begun before the kill


class ChecksInThisProcess:
    """The same check as in a checker, without a process: a forked child has none of its parent's threads."""

    def __init__(self) -> None:
        self._limits = CheckLimits(max_file_bytes=60_000_000, min_side=64, max_side=16_384, max_pixels=50_000_000)

    def submit(self, path: str | Path) -> Future[CheckResult]:
        done: Future[CheckResult] = Future()
        done.set_result(check(str(path), self._limits))
        return done

    def prove(self, path: str | Path, _: str) -> Future[CheckResult]:
        return self.submit(path)


def checks() -> CheckPool:
    return cast(CheckPool, ChecksInThisProcess())


# the data folder


@contextlib.contextmanager
def running(base: Path) -> Iterator[Runner]:
    runner = Runner(Folder(base), checks())
    try:
        yield runner
    finally:
        runner.reconciler.close()


def reconcile(base: Path) -> None:
    with running(base) as runner:
        runner.settle()
        runner.forget()


def check_data(base: Path, **expected: int) -> None:
    """Started again, the service has nothing half-done, and counts exactly what is there."""
    with running(base) as runner:
        runner.settle()
        runner.forget()
        runner.settle()
        runner.clock.pass_time(LONG_AFTER_SECONDS)
        runner.settle()
        counts = runner.reconciler.count()
    assert not list((base / "datasets/meta").rglob(".*")), "something half-written stays"
    told = {name: getattr(counts, name) for name in ("total", "real", "ai_generated", "unlabeled")}
    assert data_violations(base / "datasets", told) == []
    assert {name: told[name] for name in expected} == expected


def drop_pictures(base: Path) -> None:
    folder = Folder(base)
    for number in range(3):
        folder.picture(f"real/phone/{number}.png", number)
    folder.picture("ai_generated/flux/a.webp", 10)
    folder.picture("elsewhere/b.jpg", 11)
    shutil.copy(folder.root / "real/phone/0.png", folder.root / "real/copy.png")
    (folder.root / "real/no picture.jpg").write_bytes(b"words")
    sound = hashlib.sha256((folder.root / "elsewhere/b.jpg").read_bytes()).hexdigest()
    folder.metadata("11111111-1111-4111-8111-111111111111", "real", sha256=sound)


def settled(base: Path) -> None:
    drop_pictures(base)
    reconcile(base)


def say_label(base: Path) -> None:
    set_label(Folder(base).config, "real/phone/1.png", "ai_generated")
    reconcile(base)


def check_label(base: Path) -> None:
    check_data(base, total=5)
    say_label(base)
    check_data(base, total=5, real=3, ai_generated=2)


def move_and_delete(base: Path) -> None:
    data = base / "datasets"
    (data / "real/phone/1.png").rename(data / "ai_generated/flux/moved.png")
    (data / "real/phone/2.png").unlink()
    reconcile(base)


def check_moved(base: Path) -> None:
    moved = (base / "datasets/ai_generated/flux/moved.png").exists()
    deleted = not (base / "datasets/real/phone/2.png").exists()
    check_data(base, total=5 - deleted, real=4 - moved - deleted, ai_generated=1 + moved)


# collecting


def stored(base: Path) -> list[str]:
    files = sorted(file for file in (base / "datasets/images").rglob("*") if file.is_file())
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def collecting(server: SandboxServer, undisturbed: Path) -> Action:
    """What one harvest stores that nothing disturbs, any other must store in the end, and nothing twice."""

    def run(base: Path, run_id: str) -> None:
        config = lifted_config(base, server.url, only=("unsplash", "pexels", "civitai"))
        harvest = Harvest(config, run_id, sleep=lambda seconds: asyncio.sleep(0), checks=checks())
        asyncio.run(harvest.run())

    def check_collected(base: Path) -> None:
        run(base, "again")
        assert sorted(stored(base)) == expected
        assert not list((base / "datasets/.tmp").iterdir())
        check_data(base, total=len(expected))

    run(undisturbed, "undisturbed")
    expected = sorted(stored(undisturbed))
    assert len(set(expected)) == len(expected) > 5

    return Action(lambda base: base.mkdir(exist_ok=True), lambda base: run(base, "first"), check_collected)


# importing


def offer_dataset(base: Path) -> None:
    (base / "datasets").mkdir(parents=True)
    for number in range(8):
        file = base / "set" / ("real/phone", "ai_generated/flux")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        draw(number).save(file)


def import_dataset(base: Path) -> None:
    request = Request(str(base / "set"), Terms(name="set"), ReaderOptions())
    asyncio.run(run_import(Folder(base).config, request, "run", Hub(None), checks=checks()))


def check_imported(base: Path) -> None:
    import_dataset(base)
    offered = [file for file in (base / "set").rglob("*") if file.is_file()]
    assert sorted(stored(base)) == sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in offered)
    check_data(base, total=8, real=4, ai_generated=4)


# the registry


def publish_next(registry: Registry) -> None:
    version = registry.reserve_version("vit")
    staged = registry.stage("vit", version)
    (staged / "weights.pt").write_bytes(version.encode() * 100)
    (staged / "model.json").write_text("{}")
    registry.publish(staged, {"model": "vit", "version": version, "timestamp": "2026-01-01T00:00:00Z"})


def publish_three(base: Path) -> None:
    for _ in range(3):
        publish_next(Registry(base / "models"))


def change_versions(base: Path) -> None:
    """Publish, promote, roll back, prune: each change of what is in service."""
    registry = Registry(base / "models")
    publish_next(registry)
    registry.promote("vit", "v2")
    registry.rollback()
    registry.prune(keep=1)


def check_versions(base: Path) -> None:
    assert model_violations(base / "models") == []
    registry = Registry(base / "models")
    registry.sweep()
    assert registry.sweep() == []
    assert model_violations(base / "models") == []
    champion = registry.champion()
    assert champion is not None
    assert registry.published_file(champion["model"], champion["version"], "weights.pt") is not None
    serial = registry.serial()
    publish_next(registry)
    assert registry.serial() == serial + 1
    assert model_violations(base / "models") == []


# backup and restore


def service_at(base: Path) -> Config:
    environ = {f"EXPOSR_STORAGE__{name.upper()}_PATH": str(base / name) for name in ("local", "models", "state")}
    return load_config(environ=environ)


def fill_service(base: Path) -> None:
    config = service_at(base / "service")
    publish_three(base / "service")
    drop_pictures(base / "folder")
    reconcile(base / "folder")
    (base / "folder/datasets").rename(config.storage.local_path)
    (base / "folder/state").rename(config.storage.state_path)


def tree(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def without_databases(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if ".sqlite" not in name and not name.endswith("lock")}


def check_backup(base: Path) -> None:
    config = service_at(base / "service")
    assert model_violations(config.storage.models_path) == []
    with contextlib.suppress(OperatorError):  # not finished: then it is none
        assert damage(base / "backup", read_manifest(base / "backup")) == []
    back_up(config, base / "another")
    restored = service_at(base / "restored")
    restore(restored, base / "another")
    for name in ("local", "models"):
        assert without_databases(tree(base / "restored" / name)) == without_databases(tree(base / "service" / name))


def fill_backup(base: Path) -> None:
    fill_service(base)
    back_up(service_at(base / "service"), base / "backup")


def check_restore(base: Path) -> None:
    saved = tree(base / "backup")
    for name, content in tree(base / "restored").items():
        path = Path(name)
        if path.name != "lock" and not path.name.startswith("."):
            kept = "datasets" if path.parts[0] == "local" else path.parts[0]
            assert saved[str(Path(kept, *path.parts[1:]))] == content, name
    shutil.rmtree(base / "restored", ignore_errors=True)
    restore(service_at(base / "restored"), base / "backup")
    assert model_violations(base / "restored/models") == []


ACTIONS: dict[str, Action] = {
    "intake": Action(drop_pictures, reconcile, lambda base: check_data(base, total=5, real=4, ai_generated=1)),
    "import": Action(offer_dataset, import_dataset, check_imported),
    "label": Action(settled, say_label, check_label),
    "move_and_delete": Action(settled, move_and_delete, check_moved),
    "versions": Action(publish_three, change_versions, check_versions),
    "backup": Action(fill_service, lambda base: back_up(service_at(base / "service"), base / "backup"), check_backup),
    "restore": Action(fill_backup, lambda base: restore(service_at(base / "restored"), base / "backup"), check_restore),
}
