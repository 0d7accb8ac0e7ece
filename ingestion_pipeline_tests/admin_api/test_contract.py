"""The contract as a document: what is generated, and that it says everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ingestion_pipeline.admin_api.app import create_app
from ingestion_pipeline.admin_api.problems import PROBLEM_TYPES
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline_tests.support.api_server import settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.yaml"
MANUAL = DOCUMENT.with_name("api.md")
OPEN = {"get_health", "get_metrics"}
SCHEMES = {
    "receive_delivery": ("DeliverySignature",),
    "list_changes": ("ReadToken", "ReadBearer", "ReadBasic"),
}

CONTRACT: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text("utf-8"))
OPERATIONS = {
    operation["operationId"]: operation
    for path in CONTRACT["paths"].values()
    for operation in path.values()
}


def generated() -> dict[str, Any]:
    app = create_app(settings_of(), load_cities(None))
    document: dict[str, Any] = json.loads(json.dumps(app.openapi()))
    return document


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = CONTRACT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return found


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_the_file_is_what_the_application_gives() -> None:
    assert generated() == CONTRACT, "run scripts/build_openapi.py"


def test_it_is_openapi_3_1() -> None:
    assert CONTRACT["openapi"].startswith("3.1.")


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_what_it_is_and_who_may_use_it(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"]
    schemes = () if name in OPEN else SCHEMES.get(name, ("AdminToken", "BearerToken"))
    assert operation.get("security", []) == [{scheme: []} for scheme in schemes]


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_reply_has_a_body_that_is_described(name: str) -> None:
    responses = OPERATIONS[name]["responses"]
    assert "500" in responses
    if name not in OPEN:
        assert "503" in responses
        assert responses.keys() & {"401", "403"}
    for status, response in responses.items():
        assert response["description"]
        if status == "304":
            assert "content" not in response
            continue
        (media_type,) = response["content"]
        schema = response["content"][media_type]["schema"]
        is_problem = status >= "400" and (name, status) != ("get_health", "503")
        assert (media_type == "application/problem+json") == is_problem
        assert (schema == {"$ref": "#/components/schemas/Problem"}) == is_problem
        if is_problem:
            examples = response["content"][media_type]["examples"]
            for code in examples:
                assert CONTRACT["components"]["examples"][code]["value"]["status"] == int(status)


def test_there_is_an_example_of_each_kind_of_problem() -> None:
    assert set(CONTRACT["components"]["examples"]) == {kind.code for kind in PROBLEM_TYPES}


def test_bodies_take_nothing_that_they_do_not_name_and_have_examples() -> None:
    bodies = [
        resolved(operation["requestBody"]["content"]["application/json"]["schema"])
        for operation in OPERATIONS.values()
        if "requestBody" in operation
    ]
    assert len(bodies) == 7
    for body in bodies:
        assert body["additionalProperties"] is False
        assert body["examples"]


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    used = set(references(CONTRACT))
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "examples")
        for name in CONTRACT["components"][kind]
    }
    assert used <= there
    assert {name for name in there if "/schemas/" in name} <= used


def test_the_manual_has_every_path() -> None:
    text = MANUAL.read_text("utf-8")
    for path, methods in CONTRACT["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in text
