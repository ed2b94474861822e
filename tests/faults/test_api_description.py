"""Every operation of openapi.json, with requests that schemathesis makes up, on a service with pictures and models.

By default a few requests for each operation; EXPOSR_FAULTS=all makes many.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
import schemathesis
from filled_service import running
from hypothesis import HealthCheck, Phase, given, settings
from invariants import data_violations, model_violations
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from selection import ALL

from exposr_api.description.openapi import openapi_document
from service_process import KEY, ServiceProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200 if ALL else 120)]

EXAMPLES = 150 if ALL else 4
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
STREAMS = {"/events", "/console/events"}
CSRF = re.compile(r'name="csrf_token" value="(\w+)"')


@dataclass
class Visitor:
    """Signed in, with a key, too; knows names of what is there."""

    service: ServiceProcess
    headers: dict[str, str]
    known: dict[str, str]
    answers: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def visit(self, operation: schemathesis.APIOperation) -> None:
        numbers = itertools.count()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=not ALL,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            if next(numbers) % 2 == 0:  # made-up names alone would find nothing
                case.path_parameters.update({name: self.known[name] for name in case.path_parameters})
            answer = case.call(base_url=self.service.url, headers=self.headers, timeout=10, allow_redirects=False)
            self.answers[operation.label].add(answer.status_code)
            case.validate_response(answer, checks=CHECKS)

        ask()


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    with running(tmp_path_factory.mktemp("service")) as service:
        with httpx.Client(base_url=service.url, trust_env=False) as client:
            [token] = CSRF.findall(client.get("/login").text)
            signed_in = client.post("/login", data={"key": KEY, "csrf_token": token}).status_code
            page = client.get("/console/pictures").text
            [token] = set(CSRF.findall(client.get("/console/runs").text))
            cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        known = {
            **{"model": "vit", "name": "vit", "version": "v2", "file": "weights.pt", "id": "train-1", "size": "grid"},
            "sha256": re.findall(r"pictures/([0-9a-f]{64})", page)[0],
        }
        visitor = Visitor(service, {**service.headers, "Cookie": cookie, "X-CSRF-Token": token}, known)
        visitor.answers["POST /login"].add(signed_in)  # with the token of another session it is always refused
        yield visitor


@pytest.mark.parametrize("path", sorted(STREAMS))
def test_a_stream_begins_and_may_be_left(visitor: Visitor, path: str) -> None:
    with httpx.stream(
        "GET", visitor.service.url + path, headers=visitor.headers, timeout=10, trust_env=False
    ) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert next(answer.iter_raw())


def test_every_operation_answers_as_it_is_described(visitor: Visitor) -> None:
    schema = schemathesis.openapi.from_dict(openapi_document())
    operations = [found.ok() for found in schema.get_all_operations()]
    wrong = []
    for operation in sorted(operations, key=lambda operation: operation.path in ("/login", "/logout")):
        if operation.path in STREAMS:
            continue
        try:
            visitor.visit(operation)
        except (Exception, ExceptionGroup) as error:
            wrong.append(f"{operation.label}: {error!r}")
    assert wrong == []
    refused = {401, 403, 405}
    assert [label for label, codes in visitor.answers.items() if not codes - refused] == []
    service = visitor.service
    service.wait_for_counts(pending=0)
    assert data_violations(service.data, service.counts()) == []
    assert model_violations(service.models) == []
    log = service.log.read_text()
    assert "Traceback" not in log
    assert KEY not in log
