"""Concurrent /detect requests on the reference Core while it changes models: none may fail.

    .venv/bin/python -P bench/core_reload.py [--requests 2000] [--reloads 10]

All requests are open at once. Exits 1 when one failed. Prints the versions that answered and the waiting times.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "client"))

import httpx
from PIL import Image
from reference_core import ReferenceCore
from small_trainer import SmallTrainer
from versions import make_files

Answer = tuple[int, str, float]  # status, version, seconds


def picture() -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((320, 240), 60).convert("RGB").save(stream, "JPEG")
    return stream.getvalue()


@dataclass
class Answered:
    """How many answers have come, for the thread that publishes."""

    count: int = 0


async def ask_all(core: ReferenceCore, requests: int, answered: Answered) -> list[Answer]:
    limits = httpx.Limits(max_connections=requests)
    data = picture()
    async with httpx.AsyncClient(base_url=core.url, timeout=600, limits=limits) as client:

        async def ask() -> Answer:
            started = time.monotonic()
            response = await client.post("/detect", files={"file": ("picture.jpg", data)})
            version = response.json().get("model_version", response.text)
            answered.count += 1
            return response.status_code, version, time.monotonic() - started

        return list(await asyncio.gather(*(ask() for _ in range(requests))))


async def run(core: ReferenceCore, trainer: SmallTrainer, requests: int, reloads: int) -> tuple[list[Answer], float]:
    versions = [f"v{number}" for number in range(2, reloads + 2)]
    files = [make_files(version) for version in versions]

    def publish_all() -> None:
        """One version after each equal share of the answers, so that the reloads lie among the requests."""
        for number, (version, content) in enumerate(zip(versions, files, strict=True)):
            while answered.count < (number + 0.5) * requests / (reloads + 1):
                time.sleep(0.01)
            trainer.publish(version, content)
            core.wait_for(version)

    answered = Answered()
    started = time.monotonic()
    asking = asyncio.create_task(ask_all(core, requests, answered))
    await asyncio.to_thread(publish_all)
    last_reload = time.monotonic() - started
    return await asking, last_reload


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--reloads", type=int, default=10)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="exposr-reload-") as folder,
        SmallTrainer(Path(folder) / "models") as trainer,
    ):
        trainer.publish("v1", make_files("v1"))
        with ReferenceCore(trainer.url, Path(folder) / "cache") as core:
            core.wait_for("v1")
            answers, last_reload = asyncio.run(run(core, trainer, given.requests, given.reloads))
    seconds = sorted(answer[2] for answer in answers)
    failed = [answer for answer in answers if answer[0] != 200]
    print(
        f"{len(answers)} requests at once in {seconds[-1]:.1f} s;"
        f" the last of {given.reloads} reloads after {last_reload:.1f} s"
    )
    print(f"answered by {dict(sorted(Counter(answer[1] for answer in answers).items()))}")
    print(f"seconds: median {statistics.median(seconds):.2f}, 99th percentile {seconds[int(len(seconds) * 0.99)]:.2f}")
    print(f"failed: {len(failed)} {failed[:3]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
