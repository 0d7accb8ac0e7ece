"""Mistakes in a TOML file: where they are, and what is accepted instead.

Belongs here: annotations that models of tables share, line numbers, and the text of a mistake. Does
not belong here: which keys a table has (`config/cities.py`, `config/feeds.py`).
"""

import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, NamedTuple, get_args

from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic.annotated_handlers import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ingestion_pipeline.core.identity import SLUG

Location = tuple[str | int, ...]
"""The place of a value in a document: `("city", 2, "bbox")`."""

TABLE = ConfigDict(
    extra="forbid",
    # The schema of a model is built when the first file is read, not when the module is imported.
    defer_build=True,
    validate_by_name=True,
    # A validation error must not show the secrets of a URL.
    hide_input_in_errors=True,
)
"""The configuration of a model of a table."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a key accepts, for messages and the JSON Schema; annotates a type."""

    text: str

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Add the text to the JSON Schema."""
        return handler(schema) | {"description": f"Expected: {self.text}."}


@dataclass(frozen=True, slots=True)
class OneOf:
    """A validator that accepts the words of a list, which it adds to the JSON Schema.

    Attributes:
        words: Returns the list; called when it is needed.
    """

    words: Callable[[], Collection[str]]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check the word after its type."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Add the list to the JSON Schema."""
        return handler(schema) | {"enum": sorted(self.words())}

    def _check(self, word: str) -> str:
        if word not in self.words():
            raise ValueError(did_you_mean(word, self.words()))
        return word


@cache
def _is_language(code: str) -> bool:
    from langcodes import tag_is_valid

    return tag_is_valid(code)


def _language(code: str) -> str:
    if not _is_language(code):
        raise ValueError(f"{code!r} is not the code of a language")
    return code


Slug = Annotated[
    str,
    Field(pattern=f"^({SLUG.pattern})$"),
    Expected("lower-case letters, digits and hyphens, beginning with a letter or digit"),
]
Text = Annotated[str, Field(pattern=r"\S"), Expected("a text that is not empty")]
PositiveInt = Annotated[int, Field(strict=True, ge=1), Expected("a whole number, at least 1")]
Language = Annotated[
    str,
    Field(pattern="^[a-z]{2,3}$"),
    AfterValidator(_language),
    Expected('a language code of two or three letters, such as "ru"'),
]


class Mistake(NamedTuple):
    """A mistake in a document.

    Attributes:
        location: Where it is.
        text: What is wrong, and what is accepted.
    """

    location: Location
    text: str


def mistakes_in(
    document: Mapping[str, Any], error: ValidationError, models: Mapping[tuple[str, ...], Any]
) -> list[Mistake]:
    """Return what pydantic found wrong with a document, one mistake for each key.

    Args:
        document: The document.
        error: What was found.
        models: The models of its tables, by their names: `()` is that of the document itself, and
            `("city", "feed")` that of each `[[city.feed]]`.
    """
    reasons: dict[Location, list[str]] = {}
    for found in error.errors(include_url=False):
        # A default that depends on a key with a mistake.
        if found["type"] == "default_factory_not_called":
            continue
        table, names = _table_of(found["loc"], models)
        key, *inside = found["loc"][len(table) :] or (None,)
        keys = _keys(models[names])
        location = table if key is None else (*table, key)
        if key is None:
            text = f"expected a table; begin each with [[{'.'.join(names)}]], in two brackets"
        elif key not in keys:
            text = f"unknown key{did_you_mean(str(key), keys)}"
        elif found["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
            text = f"is missing; expected {keys[str(key)]}"
            if inside:
                text, inside = f"{inside[0]!r} {text}", []
        else:
            text = f"expected {keys[str(key)]}; found {shown(value_at(document, location))}"
        what = "" if inside[-1:] == ["[key]"] else "the value of "
        nested = [f"{what}{part!r} is not accepted" for part in inside[:1] if isinstance(part, str)]
        reason = str(found["ctx"]["error"]) if found["type"] == "value_error" else ""
        texts = reasons.setdefault(location, [text])
        texts += [each for each in (*nested, reason.removeprefix("; ")) if each not in ("", *texts)]
    return [Mistake(location, "; ".join(texts)) for location, texts in reasons.items()]


def _table_of(
    location: Location, models: Mapping[tuple[str, ...], Any]
) -> tuple[Location, tuple[str, ...]]:
    """Return the part of a location that is a table's, and the names in it."""
    names: tuple[str, ...] = ()
    at = 0
    while at + 1 < len(location) and (longer := (*names, str(location[at]))) in models:
        names, at = longer, at + 2
    return location[:at], names


@cache
def _keys(model: Any) -> dict[str, str]:
    """Return the keys of a table, as they are written in the file, and what they accept."""
    return {
        info.validation_alias or name: _expected(info.annotation, info.metadata)
        for name, info in model.__pydantic_fields__.items()
    }


def _expected(annotation: Any, metadata: Iterable[Any]) -> str:
    texts = [each.text for each in metadata if isinstance(each, Expected)]
    if texts:
        return texts[-1]
    # `Annotated[...] | None`
    inner = get_args(annotation)[0]
    return _expected(inner, getattr(inner, "__metadata__", ()))


def tables_in(
    parent: Mapping[str, Any], at: Location, name: str
) -> Iterator[tuple[Location, dict[str, Any]]]:
    """Return the tables of an array, with their locations; what is not a table is left out."""
    tables = parent.get(name)
    for number, table in enumerate(tables if isinstance(tables, list) else []):
        if isinstance(table, dict):
            yield (*at, name, number), table


def value_at(document: Any, location: Location) -> Any:
    """Return the value at a location."""
    for part in location:
        document = document[part]
    return document


def written(mistakes: Iterable[Mistake], text: str, document: Mapping[str, Any]) -> list[str]:
    """Write mistakes for a reader: with line, table and key, in the order of the file.

    Args:
        mistakes: The mistakes.
        text: The TOML file.
        document: What it holds.
    """
    lines = _lines(text)
    found = sorted((_line_of(each.location, lines), each) for each in mistakes)
    return [
        f"line {line}: {': '.join((*place_of(document, each.location), each.text))}"
        for line, each in found
    ]


def place_of(document: Any, location: Location) -> Iterator[str]:
    """Return the parts of a location, tables with number and slug: `city[3] "tver"`, `bbox`."""
    for at, part in enumerate(location):
        document = document[part] if at < len(location) - 1 or isinstance(part, int) else None
        if isinstance(part, int):
            slug = document.get("slug") if isinstance(document, dict) else None
            number = f"{location[at - 1]}[{part + 1}]"
            yield f'{number} "{slug}"' if isinstance(slug, str) else number
        elif at + 1 == len(location) or isinstance(location[at + 1], str):
            yield part


def _line_of(location: Location, lines: Mapping[Location, int]) -> int:
    """Return the line of a location, or of the innermost table around it."""
    while location not in lines:
        location = location[:-1]
    return lines[location]


def _lines(text: str) -> dict[Location, int]:
    """Return the line of each table and key of a TOML file that is valid.

    A statement of TOML ends with its line, unless a string or an array in it is still open; and it
    can be parsed without those before it. So the lines up to the first that can be parsed are one
    statement.
    """
    lines: dict[Location, int] = {(): 1}
    count: dict[Location, int] = {}
    table: Location = ()
    statement, first = "", 1
    for number, line in enumerate(text.split("\n"), start=1):
        statement += line + "\n"
        if number > first and line.endswith(",") and "#" not in line:
            continue  # a long array is not parsed again for each of its lines
        try:
            parsed = tomllib.loads(statement)
        except ValueError:
            continue
        if statement.lstrip().startswith("["):
            table = _header(parsed, count)
            lines.setdefault(table, first)
        else:
            for location in _locations(table, parsed):
                lines.setdefault(location, first)
        statement, first = "", number + 1
    return lines


def _header(parsed: Any, count: dict[Location, int]) -> Location:
    """Return the location of the table that a header begins, and count the tables of arrays."""
    table: Location = ()
    while parsed:
        ((name, parsed),) = parsed.items()
        table += (name,)
        if isinstance(parsed, list):
            count[table] = count.get(table, -1) + 1
            parsed = None
        if table in count:
            table += (count[table],)
    return table


def _locations(table: Location, parsed: Mapping[str, Any]) -> Iterator[Location]:
    for key, value in parsed.items():
        yield (*table, key)
        if isinstance(value, dict):
            yield from _locations((*table, key), value)


def shown(value: object) -> str:
    """Show a value of the file, without what may be a secret in a URL."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return re.sub(r"(?<=://)[^/@'\"\s]*@|\?[^'\"\s]*", "...", text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Ask for the known word that is close to this one; return nothing where none is."""
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
