"""openapi.json and docs/api.md describe exactly what the route table and the error codes are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_double import AUTH, SmallService
from starlette.testclient import TestClient

from exposr_api.answers.errors import ERROR_CODES
from exposr_api.console.routes import CONSOLE
from exposr_api.description.openapi import openapi_document
from exposr_api.description.schemas import SCHEMAS
from exposr_api.endpoints import ENDPOINTS

DOCS = Path(__file__).parents[2] / "docs" / "api.md"
JSON_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}


def everything(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict):
        for inner in value.values():
            yield from everything(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from everything(inner)


def resolve(reference: str) -> Any:
    value: Any = openapi_document()
    for part in reference.removeprefix("#/").split("/"):
        value = value[part]
    return value


def assert_fits(value: Any, schema: dict[str, Any], where: str) -> None:
    """The little of JSON Schema that our schemas use."""
    if "$ref" in schema:
        schema = resolve(schema["$ref"])
    if "enum" in schema:
        assert value in schema["enum"], where
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        assert (value is None and "null" in kinds) or isinstance(
            value,
            tuple(t for kind in kinds if kind != "null" for t in [JSON_TYPES[kind]]),  # type: ignore[arg-type]
        ), f"{where}: {value!r} is no {schema['type']}"
    if "pattern" in schema:
        assert re.search(schema["pattern"], value), where
    if isinstance(value, dict):
        for name in schema.get("required", []):
            assert name in value, f"{where}.{name} is missing"
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                assert_fits(value[name], inner, f"{where}.{name}")
    if isinstance(value, list):
        for inner in value:
            assert_fits(inner, schema.get("items", {}), f"{where}[]")


def test_the_description_has_exactly_the_routes_and_their_protection() -> None:
    means = {"open": [], "key": None, "session": [{"session": []}]}
    described = {
        (method.upper(), path): operation.get("security")
        for path, operations in openapi_document()["paths"].items()
        for method, operation in operations.items()
    }
    served = (*CONSOLE, *ENDPOINTS)
    assert described == {(endpoint.method, endpoint.path): means[endpoint.access] for endpoint in served}


def test_every_part_of_a_path_is_described() -> None:
    for path, operations in openapi_document()["paths"].items():
        for operation in operations.values():
            named = {item["name"] for item in operation.get("parameters", []) if item["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path)), path


def test_every_reference_leads_somewhere() -> None:
    references = [
        value["$ref"] for value in everything(openapi_document()) if isinstance(value, dict) and "$ref" in value
    ]
    assert len(references) > 20
    for reference in references:
        assert resolve(reference)


def test_every_schema_is_used() -> None:
    text = str(openapi_document()["paths"]) + str(openapi_document()["components"]["responses"])
    for name in SCHEMAS:
        assert f"#/components/schemas/{name}'" in text, name


def test_answers_fit_their_description(client: TestClient, service: SmallService) -> None:
    service.models.publish()
    service.models.publish()
    service.known_runs = [{"id": "r1", "kind": "train"}]
    for path, operations in openapi_document()["paths"].items():
        for method, operation in operations.items():
            if path in ("/events", "/models/{name}/{version}/{file}"):
                continue
            url = path.format(id="r1", name="vit", version="v1", file="weights.pt", sha256="0" * 64, size="small")
            answer = client.request(method, url, headers=AUTH, follow_redirects=False)
            described = operation["responses"][str(answer.status_code)]
            if answer.status_code == 303:
                continue
            expected = (resolve(described["$ref"]) if "$ref" in described else described)["content"]
            media_type = answer.headers["content-type"].split(";")[0]
            assert media_type in expected, path
            if media_type == "application/json":
                assert_fits(answer.json(), expected[media_type]["schema"], path)
    assert_fits(client.get("/runs").json(), SCHEMAS["Error"], "401")


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_endpoint_is_documented(endpoint: Any) -> None:
    assert f"`{endpoint.method} {endpoint.path}`" in DOCS.read_text(encoding="utf-8")


@pytest.mark.parametrize("endpoint", CONSOLE, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_page_is_documented(endpoint: Any) -> None:
    assert f"`{endpoint.method} {endpoint.path}`" in DOCS.with_name("console.md").read_text(encoding="utf-8")


def test_every_error_code_is_documented_with_its_status() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for code, (status, _) in ERROR_CODES.items():
        assert f"| `{code}` | {status} |" in text, code
