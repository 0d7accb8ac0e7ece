"""The OpenAPI document of the admin API: corrections and additions to FastAPI's.

`scripts/build_openapi.py` generates `docs/openapi.yaml`; a test compares the two.
"""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from ingestion_pipeline.admin_api.models import CallbackRequest, EnqueueRequest
from ingestion_pipeline.admin_api.problems import MEDIA_TYPE, examples
from ingestion_pipeline.admin_api.promotion_models import DecisionRequest, PromotionRequest
from ingestion_pipeline.admin_api.reading.mount import HEADER

ABOUT: dict[str, Any] = {
    "title": "Ingestion pipeline: admin API",
    "version": version("ingestion-pipeline"),
    "description": "Enqueues city-days, and reads and cancels jobs. A request writes one row and "
    "returns; a Dagster sensor starts the run. Errors are problem details (RFC 9457). The "
    "manual is at /manual/api/.",
    "license_info": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "servers": [{"url": "http://127.0.0.1:8000", "description": "`poi-ingest serve`"}],
    "openapi_tags": [
        {"name": "jobs", "description": "Requests to stage a city-day"},
        {"name": "promotions", "description": "What of the staged days becomes public"},
        {"name": "review", "description": "What a person looks at before a decision"},
        {"name": "changes", "description": "What happened to public places, for readers"},
        {"name": "operation", "description": "Health and metrics; no token required"},
    ],
    "openapi_url": "/openapi.json",
    # FastAPI's own pages load scripts from a CDN; `pages.py` serves one that does not.
    "docs_url": None,
    "redoc_url": None,
}
"""The document's properties of the whole API."""

READERS: dict[str, dict[str, str]] = {
    "ReadToken": {
        "type": "apiKey",
        "in": "header",
        "name": HEADER,
        "description": "One of the tokens in `READ_API_TOKEN`; none if `READ_API_ACCESS` is "
        "`public`.",
    },
    "ReadBearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The same token as a bearer token.",
    },
    "ReadBasic": {
        "type": "http",
        "scheme": "basic",
        "description": "The same token as the password of any user.",
    },
}
"""The security schemes of readers, which `reading/mount.py` checks."""

_BODIES: dict[str, type[BaseModel]] = {
    "enqueue_osm_import": EnqueueRequest,
    "enqueue_helpers_import": EnqueueRequest,
    "receive_delivery": CallbackRequest,
    "enqueue_promotion": PromotionRequest,
    "approve_promotion": DecisionRequest,
    "reject_promotion": DecisionRequest,
    "revert_promotion": DecisionRequest,
}
"""The bodies of operations, which endpoints parse with `bodies.py`."""

_ERRORS_FROM = 400


def complete(app: FastAPI) -> None:
    """Make an app return the complete OpenAPI document."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(generated())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document["components"]["schemas"]
    for model in _BODIES.values():
        schemas[model.__name__] = model.model_json_schema()
    for path in document["paths"].values():
        for operation in path.values():
            _take_body(operation)
            _name_problems(operation)
            _take_null_from_parameters(operation)
            operation["responses"] = dict(sorted(operation["responses"].items()))
    document["components"]["securitySchemes"] |= READERS
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    document["components"]["examples"] = examples()
    return document


def _take_body(operation: dict[str, Any]) -> None:
    model = _BODIES.get(operation["operationId"])
    if model is not None:
        reference = {"$ref": f"#/components/schemas/{model.__name__}"}
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": reference}},
        }


def _name_problems(operation: dict[str, Any]) -> None:
    """Set the media type of problems; FastAPI assumes application/json."""
    for response in operation["responses"].values():
        content = response.get("content", {})
        if MEDIA_TYPE in content:
            content[MEDIA_TYPE]["schema"] = content.pop("application/json")["schema"]


def _take_null_from_parameters(operation: dict[str, Any]) -> None:
    """Remove null from the schemas of parameters: a query string has no null."""
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        given = [one for one in schema.pop("anyOf", []) if one != {"type": "null"}]
        for one in given:
            schema |= one
