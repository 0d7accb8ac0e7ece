"""Nested data of feeds: the paths of its members, as the keys of a feed's table name them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeGuard

from ingestion_pipeline.sources.feed.positions import is_geometry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DEEPEST = 3


def paths_of(name: str, values: Iterable[object]) -> list[str]:
    """Return the paths of the members of a field's values; the field's own name if it has none."""
    values = list(values)
    if not any(isinstance(value, dict) or is_list_of_objects(value) for value in values):
        return [name]
    quoted = name if re.fullmatch(r"\w+", name) else json.dumps(name)
    return list(dict.fromkeys(path for value in values for path in paths_in(value, quoted)))


def paths_in(value: object, path: str, depth: int = 1) -> Iterator[str]:
    """Yield the paths of the members of nested data that are not objects themselves.

    A geometry of GeoJSON is one value. Of a list of objects, the first counts; of translations,
    each language.
    """
    if is_list_of_objects(value) and depth <= _DEEPEST:
        first = f"{path}[0]"
        yield from paths_in(value[0], first, depth + 1)
        if {"text", "language"} <= value[0].keys():
            languages = [each.get("language") for each in value]
            yield from (
                f"{path}[?language=='{language}'].text | [0]"
                for language in languages
                if re.fullmatch("[a-z]{2,3}(-[A-Za-z]+)?", str(language))
            )
    elif isinstance(value, dict) and not is_geometry(value) and depth <= _DEEPEST:
        for name, member in value.items():
            inner = name if re.fullmatch(r"\w+", name) else json.dumps(name)
            yield from paths_in(member, f"{path}.{inner}", depth + 1)
    elif value is not None:
        yield path


def is_list_of_objects(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    """Return whether a value is a list of objects, with at least one."""
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)
