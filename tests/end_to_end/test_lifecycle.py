from __future__ import annotations

import signal
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from drawn_pictures import write_pictures
from service_process import ServiceProcess, wait_until

STOP_SECONDS = 10.0


def serve(service: ServiceProcess, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "daemon", "serve"],
        env={**service.environ, **environ},
        cwd=service.folder,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_when_asked_and_loses_nothing(service: ServiceProcess, number: signal.Signals) -> None:
    write_pictures(service.data / "real", 5)
    service.start()
    service.wait_for_counts(real=5)
    before = time.monotonic()
    assert service.stop(number) == 0
    assert time.monotonic() - before < STOP_SECONDS
    assert "event=stopped" in service.log.read_text()
    service.start()
    assert service.counts()["real"] == 5


def test_a_second_instance_on_the_same_state_refuses_and_says_who_holds_it(running: ServiceProcess) -> None:
    assert running.process is not None
    second = serve(running)
    assert second.returncode == 1
    assert f"process {running.process.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    assert running.get("/health")["status"] in ("ok", "degraded")


def test_a_busy_port_stops_the_start_with_what_to_do(running: ServiceProcess) -> None:
    port = running.url.rpartition(":")[2]
    second = serve(running, EXPOSR_API__PORT=port, EXPOSR_STORAGE__STATE_PATH=str(running.folder / "other"))
    assert second.returncode == 1
    assert f"port {port}" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [("EXPOSR_API__PORT", "many", "api.port"), ("EXPOSR_TRIGGERS__GROWTH", "3", "triggers.growth")],
)
def test_a_wrong_setting_stops_the_start(service: ServiceProcess, variable: str, value: str, said: str) -> None:
    refused = serve(service, **{variable: value})
    assert refused.returncode == 78
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_reload_changes_what_can_change_and_says_what_cannot(service: ServiceProcess) -> None:
    file = service.folder / "config.toml"
    file.write_text("[scheduler]\nscrape_interval_hours = 12\n")
    service.start()
    assert service.process is not None
    file.write_text("[scheduler]\nscrape_interval_hours = 3\n[intake]\nworkers = 1\n")
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "event=reloaded" in service.log.read_text(), 10, service.log.read_text)
    line = next(line for line in service.log.read_text().splitlines() if "event=reloaded" in line)
    assert "changed=scheduler" in line
    assert "needs_restart=intake logger" in line
    file.write_text("[scheduler]\nscrape_interval_hours = -1\n")
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "event=reload_refused" in service.log.read_text(), 10, service.log.read_text)
    assert service.get("/health")["status"] in ("ok", "degraded")


def test_a_key_taken_out_of_the_file_is_refused_from_the_reload_on(service: ServiceProcess) -> None:
    keys = service.folder / "keys.txt"
    keys.write_text("kept-key\ntaken-out-key\n")
    service.environ["EXPOSR_API__KEYS_FILE"] = str(keys)
    service.start()
    with httpx.Client(base_url=service.url, timeout=10, trust_env=False) as client:
        taken_out = {"Authorization": "Bearer taken-out-key"}
        with client.stream("GET", "/events", headers=taken_out) as listening:
            assert listening.status_code == 200
            keys.write_text("kept-key\n")
            assert service.process is not None
            service.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "event=reloaded" in service.log.read_text(), 10, service.log.read_text)
            for _ in listening.iter_raw():  # ends: the stream is closed with its key
                pass
        assert client.get("/runs", headers=taken_out).status_code == 401
        assert client.get("/runs", headers={"Authorization": "Bearer kept-key"}).status_code == 200
        assert client.get("/runs", headers=service.headers).status_code == 200
    line = next(line for line in service.log.read_text().splitlines() if "event=reloaded" in line)
    assert "changed=keys keys_added=0 keys_removed=1" in line
    assert "-key" not in service.log.read_text()


def test_the_daemon_is_small_and_knows_no_torch(running: ServiceProcess) -> None:
    write_pictures(running.data / "real", 30)
    running.wait_for_counts(real=30)
    assert running.process is not None
    process = psutil.Process(running.process.pid)
    assert process.memory_info().rss < 150_000_000
    assert not [mapped.path for mapped in process.memory_maps() if "torch" in mapped.path]


def test_a_training_without_enough_data_is_refused_with_the_numbers(running: ServiceProcess) -> None:
    write_pictures(running.data / "real", 3)
    running.wait_for_counts(real=3)
    answer = running.post("/train")
    assert answer.status_code == 409
    assert "3 real and 0 ai_generated" in answer.text
    assert running.post("/scrape").status_code == 409


def test_no_key_shows_in_the_log(running: ServiceProcess) -> None:
    running.get("/status")
    assert running.environ["TRAINER_API_KEY"] not in running.log.read_text()
