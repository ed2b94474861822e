"""Download rate beside img2dataset's, from the same local server, and memory against the number of candidates.

    python bench/harvest.py rate    --images 3000        # img2dataset is installed into a throwaway environment
    python bench/harvest.py memory  --candidates 50000

The server answers like Pexels' API and its image host, from memory, in a process of its own. img2dataset runs with its
defaults (one process, resize to 256 px, its default checks); the harvester with its limits lifted and all its checks.
Start-up counts for neither: img2dataset's rate is the one that its own statistics give for its work on the list, the
harvester's is from the first image request to the end of its process. Processor time, which does not depend on what
else the machine does, is told for each whole process tree, start-up included.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image

from utils.config_loader import Config
from utils.job_protocol import write_job

BASE_PICTURES = 24
HOST = "127.0.0.1"


def draw_pictures(width: int, height: int) -> list[bytes]:
    """JPEGs with the entropy of photographs: coarse structure and some noise."""
    pictures = []
    for index in range(BASE_PICTURES):
        coarse = Image.effect_noise((width // 16, height // 16), 90 + index).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        mixed = Image.blend(coarse, Image.effect_noise((width, height), 60), 0.25).convert("RGB")
        stream = io.BytesIO()
        mixed.save(stream, "jpeg", quality=88)
        pictures.append(stream.getvalue())
    return pictures


class Server:
    """`images` distinct files: one of the pictures with a number after its end mark, which decoders ignore."""

    def __init__(self, images: int, pictures: list[bytes]) -> None:
        self._images = images
        self._pictures = pictures
        self._first: float | None = None
        self._served = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                target = head.split(b" ", 2)[1].decode()
                kind, body = self._answer(target)
                length = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                writer.write(b"HTTP/1.1 200 OK\r\n" + length + body)
                await writer.drain()
        writer.close()

    def _answer(self, target: str) -> tuple[str, bytes]:
        parts = urlsplit(target)
        if parts.path.startswith("/images/"):
            self._first = self._first or time.monotonic()
            self._served += 1
            number = int(parts.path.rsplit("/", 1)[1].partition(".")[0])
            return "image/jpeg", self._pictures[number % BASE_PICTURES] + number.to_bytes(8)
        if parts.path == "/stats":
            seconds = time.monotonic() - (self._first or time.monotonic())
            served, self._first, self._served = self._served, None, 0
            return "application/json", json.dumps({"served": served, "seconds": seconds}).encode()
        return "application/json", self._page(parse_qs(parts.query))

    def _page(self, query: dict[str, list[str]]) -> bytes:
        page, size = int(query["page"][0]), int(query["per_page"][0])
        numbers = range((page - 1) * size, min(page * size, self._images))
        photos = [
            {
                "id": number,
                "width": 1,
                "height": 1,
                "url": f"https://www.pexels.com/photo/{number}/",
                "photographer": "Bench",
                "photographer_id": number,
                "photographer_url": "https://www.pexels.com/@bench",
                "src": {"original": f"http://{HOST}:{self.port}/images/{number}.jpg"},
                "alt": "A picture of the benchmark",
            }
            for number in numbers
        ]
        more = {"next_page": "yes"} if page * size < self._images else {}
        return json.dumps({"photos": photos, **more}).encode()

    async def serve(self, port_pipe: Any) -> None:
        server = await asyncio.start_server(self.handle, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        port_pipe.send(self.port)
        await server.serve_forever()


def _serve(images: int, width: int, height: int, port_pipe: Any) -> None:
    asyncio.run(Server(images, draw_pictures(width, height)).serve(port_pipe))


@contextlib.contextmanager
def running_server(images: int, width: int, height: int) -> Iterator[int]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(images, width, height, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def take_stats(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{HOST}:{port}/stats") as answer:
        found: dict[str, float] = json.load(answer)
    return found


def harvest(folder: Path, port: int, images: int, connections: int, workers: int) -> dict[str, Any]:
    """Run the collecting job; its outcome, and its peak memory in MB."""
    pexels = {
        "enabled": True,
        "queries": (),
        "base_url": f"http://{HOST}:{port}",
        "image_hosts": (f"{HOST}:{port}",),
        "limit_per_query": images,
        "min_interval_seconds": 0,
        "requests_per_hour": 0,
        "image_interval_seconds": 0,
        "image_connections": connections,
        "max_per_creator": 0,
    }
    config = Config(
        storage={"local_path": folder / "datasets", "state_path": folder / "state", "min_free_gb": 0},
        sources={"pexels": pexels},
        harvest={"check_workers": workers, "max_label_ratio": 0},
    )
    job = folder / "job"
    write_job(job, {"run_id": "bench", "config": config.model_dump(mode="json"), "sources": ["pexels"]})
    environment = {**os.environ, "PEXELS_API_KEY": "bench"}
    with (job / "out.txt").open("w+") as out, (job / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scrapers", "--job", str(job)], stdout=out, stderr=log, env=environment
        )
        peak_mb = 0.0
        while process.poll() is None:
            peak_mb = max(peak_mb, _peak_mb(process.pid))
            time.sleep(0.1)
        out.seek(0)
        outcome = json.loads(out.read().splitlines()[-1])
    stored = outcome["details"]["sources"]["pexels"]["stored"]
    if stored != images:
        raise SystemExit(f"stored {stored} of {images}: {outcome['summary']}")
    return {"stored": stored, "peak_mb": peak_mb}


def _peak_mb(pid: int) -> float:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024
    return 0.0


def img2dataset(folder: Path, port: int, images: int, python: Path) -> float:
    """Run it with its defaults; the seconds that its own statistics name for the list."""
    urls = folder / "urls.txt"
    urls.write_text("\n".join(f"http://{HOST}:{port}/images/{number}.jpg" for number in range(images)))
    with (folder / "img2dataset.log").open("w") as log:
        subprocess.run(
            [str(python.parent / "img2dataset"), "--url_list", str(urls), "--output_folder", str(folder / "out")],
            check=True,
            stdout=log,
            stderr=log,
        )
    shards = [json.loads(file.read_text()) for file in (folder / "out").glob("*_stats.json")]
    if (done := sum(shard["successes"] for shard in shards)) != images:
        raise SystemExit(f"img2dataset fetched {done} of {images}")
    return float(max(shard["end_time"] for shard in shards) - min(shard["start_time"] for shard in shards))


def install_img2dataset(folder: Path) -> Path:
    python = folder / "bin" / "python"
    if not (folder / "bin" / "img2dataset").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "img2dataset"], check=True)
    return python


def compare_rates(
    images: int, width: int, height: int, connections: int, workers: int, environment: Path | None
) -> None:
    with tempfile.TemporaryDirectory() as temporary, running_server(images, width, height) as port:
        folder = Path(temporary)
        python = install_img2dataset(environment or folder / "venv")
        rates: dict[str, list[float]] = {"img2dataset": [], "harvester": []}
        for turn in range(2):  # side by side, each once first and once second
            for name in sorted(rates, reverse=bool(turn)):
                place = folder / f"{name}-{turn}"
                place.mkdir()
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                if name == "harvester":
                    harvest(place, port, images, connections, workers)
                    seconds = take_stats(port)["seconds"]
                else:
                    seconds = img2dataset(place, port, images, python)
                    take_stats(port)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                rates[name].append(images / seconds)
                print(f"{name:12} {images / seconds:.0f} images/s, {1000 * used / images:.1f} ms CPU each", flush=True)
        ours, theirs = max(rates["harvester"]), max(rates["img2dataset"])
        print(
            f"harvester reaches {100 * ours / theirs:.0f} % of img2dataset's rate ({ours:.0f} to {theirs:.0f} images/s)"
        )


def compare_memory(few: int, many: int) -> None:
    peaks = {}
    for images in (few, many):
        with tempfile.TemporaryDirectory() as temporary, running_server(images, 96, 96) as port:
            peaks[images] = harvest(Path(temporary), port, images, 16, 2)["peak_mb"]
            print(f"{images} candidates: peak {peaks[images]:.0f} MB", flush=True)
    print(f"difference {peaks[many] - peaks[few]:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rate", "memory"])
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--candidates", type=int, default=50_000)
    parser.add_argument("--size", default="960x640", help="of the pictures, in pixels")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--environment", type=Path, help="keep img2dataset's environment here")
    given = parser.parse_args()
    width, height = (int(number) for number in given.size.split("x"))
    if given.what == "rate":
        compare_rates(given.images, width, height, given.connections, given.workers, given.environment)
    else:
        compare_memory(1000, given.candidates)


if __name__ == "__main__":
    main()
