"""What each endpoint answers, in the integration guide's shapes."""

from __future__ import annotations

import json

import pytest
from api_double import AUTH, SmallService
from starlette.testclient import TestClient

from exposr_api.endpoints import ENDPOINTS
from exposr_api.protocols import RUNNING, Decision, Health
from utils.errors import OperatorError, RetryLaterError
from utils.health import PartHealth


def test_status_has_the_guides_shape_and_needs_no_key(client: TestClient) -> None:
    answer = client.get("/status")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["dataset_counts"] == {"total": 51, "real": 41, "ai_generated": 10, "unlabeled": 0}


def test_metrics_is_json_for_people_and_text_for_prometheus(client: TestClient) -> None:
    assert client.get("/metrics", headers=AUTH).json()["total_images"] == 51
    for accept in ("application/openmetrics-text;version=1.0.0,*/*;q=0.1", "text/plain"):
        scraped = client.get("/metrics", headers={**AUTH, "Accept": accept})
        assert scraped.text == "exposr_images 51\n"
        assert scraped.headers["content-type"].partition(";")[0] == accept.partition(";")[0]
        assert scraped.headers["vary"] == "accept"


@pytest.mark.parametrize(("path", "what"), [("/scrape", "scrape"), ("/train", "training")])
def test_starting_work_answers_the_guides_words(
    client: TestClient, service: SmallService, path: str, what: str
) -> None:
    started = client.post(path, headers=AUTH)
    assert (started.status_code, started.json()["status"]) == (202, f"{what} started")
    service.scrape = service.training = Decision(False, RUNNING, "busy with run r1", {"run_id": "r1"})
    running = client.post(path, headers=AUTH)
    assert running.status_code == 409
    assert running.json()["status"] == f"{what} already running"
    assert running.json()["error"]["code"] == RUNNING
    service.scrape = service.training = Decision(
        False, "too_little_data", "3 of 25 real", {"dataset_counts": {"real": 3}}
    )
    refused = client.post(path, headers=AUTH)
    assert refused.status_code == 409
    assert refused.json() == {
        "status": "3 of 25 real",
        "dataset_counts": {"real": 3},
        "error": {"code": "too_little_data", "message": "3 of 25 real"},
    }


def test_a_body_that_nobody_asked_for_is_ignored(client: TestClient) -> None:
    assert client.post("/train", headers=AUTH, content=b"\xff" * 60_000).status_code == 202


@pytest.mark.parametrize("declared", [True, False])
def test_a_huge_body_is_refused(client: TestClient, declared: bool) -> None:
    pieces = (b"x" * 10_000 for _ in range(10))
    answer = client.post("/train", headers=AUTH, content=b"x" * 100_000 if declared else pieces)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"


def test_nothing_published_is_said_clearly(client: TestClient) -> None:
    for path in ("/models/latest", "/models/pointer"):
        answer = client.get(path, headers=AUTH)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "nothing_published"
    assert client.get("/models", headers=AUTH).json() == {"models": []}


def test_latest_names_a_file_that_can_be_had(client: TestClient, service: SmallService) -> None:
    service.models.publish()
    latest = client.get("/models/latest", headers=AUTH)
    assert latest.json()["model_version"] == "v1"
    weights = client.get("/" + latest.json()["download_url"], headers=AUTH)
    assert len(weights.content) == latest.json()["size_bytes"]
    assert weights.headers["etag"] == f'"{latest.json()["sha256"]}"'


def test_a_poll_that_finds_nothing_new_gets_a_304(client: TestClient, service: SmallService) -> None:
    service.models.publish()
    for path in ("/models/latest", "/models", "/models/pointer", "/models/key", "/openapi.json"):
        etag = client.get(path, headers=AUTH).headers["etag"]
        again = client.get(path, headers={**AUTH, "If-None-Match": etag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    etag = client.get("/models/latest", headers=AUTH).headers["etag"]
    service.models.publish()
    assert client.get("/models/latest", headers={**AUTH, "If-None-Match": etag}).json()["model_version"] == "v2"


def test_the_public_key_is_pem_and_the_pointer_is_passed_on_to_the_byte(
    client: TestClient, service: SmallService
) -> None:
    service.models.publish()
    assert client.get("/models/key", headers=AUTH).text.startswith("-----BEGIN PUBLIC KEY-----")
    assert client.get("/models/pointer", headers=AUTH).content == service.models.pointer()


def test_promote_and_rollback_change_what_is_in_service(client: TestClient, service: SmallService) -> None:
    service.models.publish()
    service.models.publish(b"second")
    assert client.post("/models/vit/v1/promote", headers=AUTH).json()["serial"] == 3
    assert client.get("/models/latest", headers=AUTH).json()["model_version"] == "v1"
    assert client.post("/models/vit/rollback", headers=AUTH).status_code == 200
    assert client.get("/models/latest", headers=AUTH).json()["model_version"] == "v2"
    unknown = client.post("/models/vit/v9/promote", headers=AUTH)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
    assert client.post("/models/..%2f/v1/promote", headers=AUTH).status_code == 404


def test_rollback_without_a_previous_version_is_refused(client: TestClient, service: SmallService) -> None:
    service.models.publish()
    answer = client.post("/models/vit/rollback", headers=AUTH)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_previous")


def test_an_open_run_is_stopped_once(client: TestClient, service: SmallService) -> None:
    service.known_runs = [{"id": "r1", "kind": "train", "ended": None}]
    assert client.post("/runs/r1/stop").status_code == 401
    assert service.known_runs[0]["ended"] is None
    stopped = client.post("/runs/r1/stop", headers=AUTH)
    assert (stopped.status_code, stopped.json()) == (202, {"status": "the run is being stopped", "run_id": "r1"})
    again = client.post("/runs/r1/stop", headers=AUTH)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "not_running")
    for unknown in ("r2", "..%2fr1", "r1%0a"):
        assert client.post(f"/runs/{unknown}/stop", headers=AUTH).json()["error"]["code"] == "not_found"


def test_runs_can_be_listed_filtered_and_read(client: TestClient, service: SmallService) -> None:
    service.known_runs = [{"id": "r2", "kind": "train"}, {"id": "r1", "kind": "scrape"}]
    assert [run["id"] for run in client.get("/runs", headers=AUTH).json()["runs"]] == ["r2", "r1"]
    assert [run["id"] for run in client.get("/runs?kind=scrape", headers=AUTH).json()["runs"]] == ["r1"]
    assert [run["id"] for run in client.get("/runs?limit=1", headers=AUTH).json()["runs"]] == ["r2"]
    assert client.get("/runs/r1", headers=AUTH).json()["kind"] == "scrape"
    assert client.get("/runs/r3", headers=AUTH).json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("query", ["kind=all", "limit=0", "limit=-1", "limit=1e3", "limit=99999999999999", "limit=٣"])
def test_a_query_that_means_nothing_is_refused_with_what_is_allowed(client: TestClient, query: str) -> None:
    answer = client.get(f"/runs?{query}", headers=AUTH)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_request"


@pytest.mark.parametrize(
    ("status", "code", "ready"),
    [("ok", 200, True), ("degraded", 200, True), ("starting", 503, False), ("failing", 503, False)],
)
def test_health_says_live_and_ready(
    client: TestClient, service: SmallService, status: str, code: int, ready: bool
) -> None:
    service.health_now = Health(status, [PartHealth("dataset", False, "polling")])  # type: ignore[arg-type]
    answer = client.get("/health")
    assert answer.status_code == code
    assert answer.json() == {
        "status": status,
        "live": True,
        "ready": ready,
        "parts": [{"name": "dataset", "ok": False, "reason": "polling"}],
    }


def test_every_get_answers_head_with_the_same_headers_and_no_body(client: TestClient, service: SmallService) -> None:
    service.models.publish()
    service.known_runs = [{"id": "r1", "kind": "train"}]
    for endpoint in ENDPOINTS:
        if endpoint.method != "GET" or endpoint.path == "/events" or endpoint.access == "session":
            continue
        path = endpoint.path.format(id="r1", name="vit", version="v1", file="weights.pt")
        client.get(path)  # a page brings its cookie once
        full, head = client.get(path, headers=AUTH), client.head(path, headers=AUTH)
        assert (full.status_code, head.status_code, head.content) == (200, 200, b""), path
        assert full.headers == head.headers
    assert client.head("/events", headers=AUTH).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_405_with_what_is_allowed(client: TestClient, method: str) -> None:
    for path, allowed in (("/status", "GET, HEAD"), ("/train", "POST"), ("/models/vit/v1/weights.pt", "GET, HEAD")):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.json()["error"]["code"] == "method_not_allowed"


def test_unknown_paths_are_404_in_the_error_form(client: TestClient) -> None:
    for path in ("/nothing", "/status/", "/STATUS", "/status%0a", "/models/", "/%ff"):
        answer = client.get(path, headers=AUTH, follow_redirects=False)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), path


def test_a_fault_inside_never_shows_itself(client: TestClient, service: SmallService) -> None:
    service.fault = ValueError("secret detail")
    answer = client.get("/status")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_errors_made_on_purpose_carry_their_message(client: TestClient, service: SmallService) -> None:
    service.fault = RetryLaterError("the registry is locked")
    answer = client.get("/status")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["error"] == {"code": "busy", "message": "the registry is locked"}
    service.fault = OperatorError("registry.json cannot be read; restore it from a backup")
    assert client.get("/status").json()["error"]["message"] == "registry.json cannot be read; restore it from a backup"


def test_every_answer_is_guarded_against_sniffing_and_caches(client: TestClient, service: SmallService) -> None:
    service.models.publish()
    for path in ("/status", "/nothing", "/models", "/models/vit/v1/weights.pt", "/metrics"):
        for headers in ({}, AUTH):
            answer = client.get(path, headers=headers)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.get("/metrics", headers=AUTH).headers["cache-control"] == "no-store"


def test_odd_text_from_outside_cannot_break_an_answer(client: TestClient, service: SmallService) -> None:
    service.known_runs = [{"id": "r1", "kind": "scrape", "message": "lone \ud800 surrogate \x00 \u2028 </script>"}]
    answer = client.get("/runs/r1", headers=AUTH)
    assert json.loads(answer.content)["message"] == "lone ? surrogate \x00 \u2028 </script>"
