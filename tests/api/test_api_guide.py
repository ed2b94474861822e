"""The integration guide's own snippets, unchanged, in a process of their own against a real server."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest
from api_double import KEY, SmallService

from exposr_api.transport.server import ApiServer
from guide_snippets import EXAMPLE, USAGE

CURLS = """
curl http://localhost:8001/status
curl http://localhost:8001/metrics -H "Authorization: Bearer test_api_key"
curl -X POST http://localhost:8001/scrape -H "Authorization: Bearer test_api_key"
curl -X POST http://localhost:8001/train -H "Authorization: Bearer test_api_key"
"""


def run_python(server: ApiServer, code: str) -> str:
    environment = {**os.environ, "EXPOSR_TRAINER_URL": server.address, "EXPOSR_TRAINER_API_KEY": KEY}
    finished = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_usage_snippet_gets_the_metrics(server: ApiServer) -> None:
    metrics = json.loads(run_python(server, USAGE + "\nimport json; print(json.dumps(metrics))"))
    assert set(metrics) >= {"total_images", "models_trained", "last_training", "validation_accuracy"}


def test_the_example_code_runs_before_and_after_the_first_version(server: ApiServer, service: SmallService) -> None:
    calls = "\ncheck_for_new_model()\ndownload_latest_model()\n"
    run_python(server, EXAMPLE + calls)
    service.models.publish()
    run_python(server, EXAMPLE + calls)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_lines_get_the_guides_answers(server: ApiServer) -> None:
    answers = []
    for line in CURLS.strip().splitlines():
        command = shlex.split(line.replace("http://localhost:8001", server.address))
        finished = subprocess.run([*command, "-sS"], capture_output=True, timeout=60, check=True)
        answers.append(json.loads(finished.stdout))
    assert set(answers[0]["dataset_counts"]) >= {"total", "real", "ai_generated", "unlabeled"}
    assert answers[1]["total_images"] == 51
    assert [answer["status"] for answer in answers[2:]] == ["scrape started", "training started"]
