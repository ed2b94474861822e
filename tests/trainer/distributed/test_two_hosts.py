"""Two machines (network namespaces) train together by a rendezvous endpoint; needs root and `ip`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pictures import make_job, small_set

ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
ENDPOINT = "10.231.77.1:29431"
TRAINING = {"mode": "full", "epochs": 2, "batch_size": 4, "workers": 0, "threads": 1, "devices": 0}


def ip(*words: str) -> int:
    return subprocess.run(["ip", *words], capture_output=True, check=False).returncode


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two namespaces with an address each, joined by a virtual cable."""
    names = (f"exposr-a-{os.getpid()}", f"exposr-b-{os.getpid()}")
    if os.geteuid() != 0 or shutil.which("ip") is None or ip("netns", "add", names[0]) != 0:
        pytest.skip("needs root and network namespaces")
    try:
        ip("netns", "add", names[1])
        made = ip("link", "add", "cable", "netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1])
        if made != 0:
            pytest.skip("the kernel has no veth")
        for number, name in enumerate(names, 1):
            ip("-n", name, "addr", "add", f"10.231.77.{number}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            ip("netns", "del", name)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_second_machine_joins_by_the_endpoint_and_reads_shards(tmp_path: Path, hosts: tuple[str, str]) -> None:
    samples = small_set(tmp_path / "data")
    shards = tmp_path / "shards"
    training = {**TRAINING, "nodes": 2, "rendezvous_endpoint": ENDPOINT, "shards": str(shards)}
    job = make_job(tmp_path / "job", tmp_path, samples, training=training, gate={"enabled": False})
    inside = ["ip", "netns", "exec"]
    module = [sys.executable, "-P", "-m", "trainer"]
    join = [*inside, hosts[1], *module, "--join", ENDPOINT, "--devices", "0", "--cache", str(tmp_path / "cache")]
    with subprocess.Popen(join, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as helper:
        main = [*inside, hosts[0], *module, "--job", str(job)]
        done = subprocess.run(main, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=250)
        said, log = helper.communicate(timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]
    assert '"result": "succeeded"' in done.stdout.splitlines()[-1], done.stdout[-2000:]
    assert helper.returncode == 0, log[-3000:]
    assert "outcome" not in said
    fetched = {file.name: file.read_bytes() for file in (tmp_path / "cache").iterdir()}
    assert fetched == {file.name: file.read_bytes() for file in shards.glob("*.tar")}
    state = torch.load(tmp_path / "models" / "vit" / "v1" / "weights.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
