"""Write docs/cities.schema.json, the JSON Schema of the cities file, from its models.

An editor checks and completes a cities file with it; the first line of the shipped file names it.

Usage: python scripts/build_cities_schema.py
"""

import ast
import inspect
import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from ingestion_pipeline.config.cities import CitiesFile, City
from ingestion_pipeline.config.feed_mapping import Terms
from ingestion_pipeline.config.feeds import Feed

TARGET = Path(__file__).parents[1] / "docs" / "cities.schema.json"


class _OfToml(GenerateJsonSchema):
    """Leaves out titles of fields, and null, which TOML does not have."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return whether a field has a title."""
        del schema
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Return the schema of a value that may be left out."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema of a value with a default."""
        without = self.generate_inner(schema["schema"])
        return without if schema.get("default") is None else super().default_schema(schema)


def schema() -> dict[str, Any]:
    """Return the schema, with the docstrings of the models' fields as descriptions."""
    document = CitiesFile.model_json_schema(schema_generator=_OfToml)
    for model in (City, Feed, Terms):
        properties = document["$defs"][model.__name__]["properties"]
        for name, text in _docstrings(model).items():
            described = properties[{"feeds": "feed"}.get(name, name)]
            expected = described.get("description", "")
            described["description"] = f"{text} {expected}".strip()
    return {"$schema": GenerateJsonSchema.schema_dialect, **document}


def _docstrings(model: type) -> dict[str, str]:
    """Return the text below each field of a class."""
    (tree,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(tree, ast.ClassDef)
    return {
        field.target.id: " ".join(ast.literal_eval(text.value).split())
        for field, text in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
    }


def page() -> str:
    """Return the text of the file."""
    return json.dumps(schema(), ensure_ascii=False, indent=2) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
