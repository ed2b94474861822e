"""Downloads over a faulty line while the trainer is killed and publishes: what test and benchmark share."""

from __future__ import annotations

import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fault_proxy import FaultProxy
from small_trainer import API_KEY, SmallTrainer

from exposr_client import ExposrClientError, ModelFollower


@dataclass
class Outcome:
    """What came of the downloads; `wrong` must stay empty."""

    good: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    published: int = 0


def weights_of(version: int, size: int) -> bytes:
    return random.Random(version).randbytes(size)


class Publisher:
    """A trainer that publishes, and is now and then killed and started again on another port."""

    def __init__(self, folder: Path, size: int, outcome: Outcome) -> None:
        self._folder, self._size, self._outcome = folder, size, outcome
        self.known: dict[str, bytes] = {}
        self.trainer = SmallTrainer(folder)
        self.trainer.__enter__()
        self.publish()

    def publish(self) -> None:
        self._outcome.published += 1
        version = f"v{self._outcome.published}"
        self.known[version] = weights_of(self._outcome.published, self._size)
        self.trainer.publish(
            version, {"weights.pt": self.known[version], "model.json": b'{"of": "%s"}' % version.encode()}
        )

    def restart(self) -> None:
        old = self.trainer
        old.__exit__()
        self.trainer = SmallTrainer(self._folder)
        self.trainer.key, self.trainer.serial, self.trainer.pointer = old.key, old.serial, old.pointer
        self.trainer.__enter__()
        self._outcome.restarts += 1

    def port(self) -> int:
        return int(self.trainer.url.rpartition(":")[2])


@contextmanager
def troubling(publisher: Publisher, proxy: FaultProxy, seed: int, pause_seconds: float) -> Iterator[None]:
    stop = threading.Event()

    def trouble() -> None:
        chance = random.Random(seed)
        while not stop.wait(chance.random() * pause_seconds):
            if chance.random() < 0.5:
                publisher.publish()
            else:
                publisher.restart()
                proxy.target_port = publisher.port()

    thread = threading.Thread(target=trouble, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def run(folder: Path, downloads: int, size: int, seed: int = 0, pause_seconds: float = 0.5) -> Outcome:
    """`downloads` downloads, each from an empty or a used cache; the bytes of each result are compared."""
    outcome = Outcome()
    publisher = Publisher(folder / "published", size, outcome)
    chance = random.Random(seed)
    pem = publisher.trainer.public_pem()
    with FaultProxy(publisher.port(), seed=seed, span_bytes=2 * size) as proxy:
        with troubling(publisher, proxy, seed, pause_seconds):
            for _ in range(downloads):
                cache = folder / f"cache{chance.randrange(3)}"
                if chance.random() < 0.5:
                    for notes in cache.glob("*/installed"):
                        shutil.rmtree(notes)
                    shutil.rmtree(cache / "versions", ignore_errors=True)
                download(proxy.url, cache, pem, publisher, outcome)
        outcome.faults = proxy.faults
    publisher.trainer.__exit__()
    return outcome


def download(url: str, cache: Path, pem: bytes, publisher: Publisher, outcome: Outcome) -> None:
    with ModelFollower(url, API_KEY, cache, public_key=pem, events=False) as follower:
        before = follower.current()
        try:
            follower.download()
            outcome.good += 1
        except ExposrClientError as error:
            outcome.errors[type(error).__name__] += 1
            if before and follower.current() is None:
                outcome.wrong.append(f"{before} was lost after {error}")
        weights = follower.current()
    # every file that has its final name must be right, whichever download brought it
    for path in (cache / "versions").glob("*/weights.pt"):
        version = path.parent.name.split("-")[1]
        if path.read_bytes() != publisher.known[version]:
            outcome.wrong.append(f"{path} has wrong bytes")
    if (
        weights
        and (weights.parent / "model.json").read_bytes() != b'{"of": "%s"}' % weights.parent.name.split("-")[1].encode()
    ):
        outcome.wrong.append(f"{weights.parent} has a wrong card")
