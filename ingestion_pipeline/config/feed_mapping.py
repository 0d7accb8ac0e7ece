"""How a feed's records become places: the types and the rules of the keys of the mapping.

Belongs here: which records are used, their further kinds, values and opening hours, and licences of
a publisher's own. Does not belong here: the other keys (`feeds.py`), and applying the mapping
(`sources/feed/mapping.py`).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool
from pydantic.annotated_handlers import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema, core_schema

from ingestion_pipeline.config.toml_tables import TABLE, Expected, Text, did_you_mean
from ingestion_pipeline.core.locations import Endpoint
from ingestion_pipeline.helpers.licences import BY_SA, LICENCES, ODBL, Licence

OWN_LICENCE = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")
"""The id of a licence that is not in the list (SPDX)."""


STATES = ("closed", "unknown")
"""What days can have in `hours` instead of a field."""


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Condition = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
]
"""Values, one of which a field must have; `*` stands for any text."""


def matches(condition: tuple[str, ...], text: str | None) -> bool:
    """Return whether a field has one of the values of a condition.

    Args:
        condition: The values; the empty text is that of an empty field.
        text: The field's text; None if it is empty.
    """
    return any(_pattern(value).fullmatch(text or "") for value in condition)


def _pattern(value: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, value.split("*"))), re.DOTALL)


def _selector(value: str) -> str:
    from ingestion_pipeline.text.hours_columns import selector_of

    return selector_of(value).text


Selector = Annotated[str, AfterValidator(_selector)]
"""The days or months of a column with opening hours."""


def _language(value: str) -> str:
    from ingestion_pipeline.text.hours_languages import LANGUAGES

    if value not in LANGUAGES:
        raise ValueError(did_you_mean(value, LANGUAGES))
    return value


HoursLanguage = Annotated[
    str,
    Field(pattern="^[a-z]{2}$"),
    AfterValidator(_language),
    Expected("one of en, de, fr, es, it, pt, nl, sv, da, fi, pl, cs, ru"),
]
"""A language whose opening hours can be read."""


def _url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError
    Endpoint.parse(value)
    return value


def _reference(value: str) -> str:
    if value.startswith(("http://", "https://")):
        return _url(value)
    if re.search(r"\d", value) is None:
        raise ValueError("it cannot be checked; give a URL, or the id of a document")
    return value


Reference = Annotated[
    Text,
    AfterValidator(_reference),
    Expected('the URL of a document, or its id, such as "reference 2026-114"'),
]
"""A document that can be checked."""


class LicenceId:
    """A validator of the id of a licence: one of the list, or one of the publisher's own."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check the id after its type."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Offer the list, and accept ids of licences that are not in it."""
        own = {"pattern": f"^{OWN_LICENCE.pattern}$"}
        return handler(schema) | {"anyOf": [{"enum": sorted(LICENCES)}, own]}

    def _check(self, id_: str) -> str:
        if id_ not in LICENCES and not OWN_LICENCE.fullmatch(id_):
            raise ValueError(did_you_mean(id_, LICENCES))
        return id_


@dataclass(frozen=True, slots=True, kw_only=True, config=TABLE)
class Terms:
    """A licence that is not in the list, with the answers that the list has for others."""

    name: Text
    """Its name."""
    url: Annotated[Text, AfterValidator(_url), Expected("the http(s) URL of its text")]
    """The URL of its text."""
    attribution: StrictBool
    """Whether the source must be named."""
    share_alike: StrictBool
    """Whether a database made from the data must have this licence too."""
    database_right: StrictBool
    """Whether the text covers the right in a database in addition to copyright."""
    goes_into: tuple[Literal["ODbL-1.0", "CC-BY-SA-4.0"], ...]
    """The share-alike licences of databases that may include the data without permission."""
    source: Reference
    """Where the answers can be checked."""

    def licence(self, id_: str) -> Licence:
        """Return the licence with an id."""
        return Licence(
            id_,
            self.name,
            self.url,
            attribution=self.attribution,
            share_alike=self.share_alike,
            database_right=self.database_right,
            goes_into=frozenset(self.goes_into),
        )


assert {ODBL, BY_SA} == {"ODbL-1.0", "CC-BY-SA-4.0"}


def mapping_conflicts(
    table: Mapping[str, Any], valid: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Find the keys of a feed's mapping that do not go together.

    Args:
        table: The feed's table of the file.
        valid: Those of its keys that are valid by themselves.

    Yields:
        A key, and what is wrong with it.
    """
    yield from _conflicts_of_licence(table, valid)
    yield from _conflicts_of_targets(table, valid)
    yield from _conflicts_of_meanings(valid)
    if valid.get("kind") in valid.get("also", {}):
        yield "also", f"{valid['kind']!r} is the kind of every record already"
    if "hours" in valid:
        from ingestion_pipeline.text.hours_columns import conflict_of, selector_of

        conflict = conflict_of(map(selector_of, valid["hours"]))
        if conflict is not None:
            yield "hours", conflict


def _conflicts_of_licence(
    table: Mapping[str, Any], valid: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    licence = valid.get("licence")
    if licence is None:
        return
    if licence in LICENCES and "terms" in table:
        yield "terms", f"is only for a licence that is not in the list; {licence} is"
    elif licence not in LICENCES and "terms" not in table:
        close = did_you_mean(licence, LICENCES)
        yield "licence", f"{licence!r} is not in the list{close}; otherwise give its terms"


def _conflicts_of_targets(
    table: Mapping[str, Any], valid: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    named = valid.get("fields", {})
    for target in valid.get("constants", {}).keys() & named.keys():
        yield "constants", f"{target!r} is in fields too; remove one"
    read = "opening_hours" in named
    if "hours" in table and (read or "opening_hours" in valid.get("constants", {})):
        yield "hours", "cannot be combined with opening_hours; remove one"
    if "language" in table and not (read or "hours" in table):
        yield "language", "is only for hours, or for opening_hours in fields"
    texts = [*named.values(), *valid.get("attributes", {}).values()]
    if "joined_by" in table and not any(isinstance(each, list | tuple) for each in texts):
        yield "joined_by", "is only for a target with a list of fields"


def _conflicts_of_meanings(valid: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Find values that a column does not have."""
    meanings = [("constants", target, text) for target, text in valid.get("constants", {}).items()]
    for target, table in valid.get("values", {}).items():
        if target in valid.get("attributes", {}):
            continue
        meanings += [("values", target, text) for text in table.values()]
    for key, target, text in meanings:
        what = _not_understood(target, text)
        if what is not None:
            yield key, f"{target} has {what}"


def _not_understood(target: str, text: str) -> str | None:
    from ingestion_pipeline.helpers.vocabulary import VOCABULARIES, known_value, words_of
    from ingestion_pipeline.text.hours_publishers import published_hours

    if target in VOCABULARIES and known_value(target, text) is None:
        words = ", ".join(words_of(target))
        return f"no value {text!r}; use one of {words}{did_you_mean(text, words_of(target))}"
    if target == "opening_hours" and published_hours(text) is None:
        return f"the value {text!r}, which cannot be read; use the form Mo-Fr 09:00-17:00"
    return None
