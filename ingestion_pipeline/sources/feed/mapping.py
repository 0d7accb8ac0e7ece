"""A feed's mapping, applied to its records: which are used, their kinds, values and opening hours.

What is mapped and not understood is null, and counted by column; the row's `tags` have the text.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from ingestion_pipeline.columns.hashing import canonical_json
from ingestion_pipeline.config.feed_mapping import STATES, matches
from ingestion_pipeline.helpers.rows import ATTRIBUTE_COLUMNS
from ingestion_pipeline.helpers.vocabulary import (
    RESTRICTIONS,
    gives_no_value,
    is_unparsed,
    known_value,
)
from ingestion_pipeline.text.hours_columns import joined_hours, selector_of
from ingestion_pipeline.text.hours_publishers import published_hours

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ingestion_pipeline.config.feeds import Feed

OPERATING = "operating"
"""The status of a record that says nothing of it."""

_WITHOUT_MEANING = "not in the table of values"
_LINE_BREAK = re.compile(r"\s*[\r\n\t]\s*")


class Place(NamedTuple):
    """A place that a record is.

    Attributes:
        record: The index of the record.
        kind: Its kind.
        is_further: Whether the record is a place of another kind first: what the fields say of that
            place, such as a fee, need not be true of this one.
    """

    record: int
    kind: str
    is_further: bool


class MappedRecord:
    """One record, read by the feed's tables."""

    def __init__(self, values: Mapping[str, Any], feed: Feed) -> None:
        """Take the values of the record's fields."""
        self._values = values
        self._feed = feed

    @property
    def is_used(self) -> bool:
        """Whether `where` and `where_not` let it pass."""
        return self._has_all(self._feed.where) and not any(
            matches(condition, self._text(name)) for name, condition in self._feed.where_not.items()
        )

    def kinds(self) -> tuple[str, ...]:
        """Return its kinds, the main one first; none if the table of kinds lacks its value."""
        feed = self._feed
        given: str | tuple[str, ...] = feed.kind or ()
        if feed.kind_field is not None:
            given = feed.kinds.get(self._text(feed.kind_field) or "", ())
        main = (given,) if isinstance(given, str) else given
        if not main:
            return ()
        further = (kind for kind, condition in feed.also.items() if self._has_all(condition))
        return tuple(dict.fromkeys((*main, *further)))

    def raw(self, target: str) -> str | None:
        """Return the text of a target as published."""
        return self._joined(self._feed.fields.get(target))

    def of(self, target: str) -> str | None:
        """Return the text of a target, translated by the table of values."""
        constant = self._feed.constants.get(target)
        return constant if constant is not None else self._translated(target, self.raw(target))

    def column(self, target: str) -> str | None:
        """Return the value of a column: a word of its vocabulary, or the text."""
        return known_value(target, self.of(target))

    def status(self) -> str | None:
        """Return the status; None if the text is not understood."""
        text = self.of("status")
        said = self.raw("status") if text is None else text
        if said is None or gives_no_value(said):
            return OPERATING
        return known_value("status", text)

    def names(self) -> dict[str, str]:
        """Return the names by the keys of OpenStreetMap, each on one line."""
        targets = (*self._feed.fields, *self._feed.constants)
        found = {each: self.of(each) for each in targets if each.partition(":")[0] == "name"}
        return {target: _LINE_BREAK.sub(" ", name) for target, name in found.items() if name}

    def attributes(self) -> dict[str, str]:
        """Return the further attributes."""
        found = {
            target: self._translated(target, self._joined(names))
            for target, names in self._feed.attributes.items()
        }
        return {target: value for target, value in found.items() if value is not None}

    def opening_hours(self) -> str | None:
        """Return the opening hours; None if they are not known or not understood."""
        feed = self._feed
        if feed.hours:
            parts = self._parts_of_hours()
            if all(text is None or text in STATES for _, text in parts):
                return None
            selectors = [(selector_of(days), text) for days, text in parts]
            return joined_hours(selectors, feed.language)
        text = self.of("opening_hours")
        return None if text is None else published_hours(text, feed.language)

    def unparsed(self) -> list[str]:
        """Return the columns and attributes whose texts are not understood."""
        feed = self._feed
        found = [
            target
            for target, names in (*feed.fields.items(), *feed.attributes.items())
            if target != "opening_hours" and self._is_unparsed(target, self._joined(names))
        ]
        return [*found, "opening_hours"] if self._has_unparsed_hours() else found

    def said(self, target: str) -> str:
        """Return what the publisher says of a column or an attribute."""
        if target == "opening_hours" and self._feed.hours:
            return "; ".join(f"{days}: {text or ''}" for days, text in self._parts_of_hours())
        names = self._feed.attributes.get(target)
        return (self.raw(target) if names is None else self._joined(names)) or ""

    def _is_unparsed(self, target: str, raw: str | None) -> bool:
        if raw is None or gives_no_value(raw):
            return False
        text = self._translated(target, raw)
        return text is None or (target in self._feed.fields and is_unparsed(target, text))

    def _has_unparsed_hours(self) -> bool:
        columns = [text for _, text in self._parts_of_hours() if text not in STATES]
        texts = [*columns, self.raw("opening_hours")]
        said = any(text is not None and not gives_no_value(text) for text in texts)
        return said and self.opening_hours() is None

    def _parts_of_hours(self) -> list[tuple[str, str | None]]:
        return [
            (days, names if isinstance(names, str) and names in STATES else self._cell(names))
            for days, names in self._feed.hours.items()
        ]

    def _cell(self, names: str | tuple[str, str]) -> str | None:
        """Return the opening hours of a column, or of one for the start and one for the end."""
        texts = [self._hours_in(name) for name in ((names,) if isinstance(names, str) else names)]
        given = list(dict.fromkeys(text for text in texts if text is not None))
        if len(given) == 1 and published_hours(given[0], self._feed.language) is not None:
            return given[0]  # `closed`, in one of them or in both
        return " - ".join(text for text in texts if text is not None) or None

    def _hours_in(self, name: str) -> str | None:
        text = self._text(name)
        meaning = self._translated("opening_hours", text)
        return _WITHOUT_MEANING if text is not None and meaning is None else meaning

    def _has_all(self, conditions: Mapping[str, tuple[str, ...]]) -> bool:
        return all(matches(condition, self._text(name)) for name, condition in conditions.items())

    def _joined(self, names: str | Sequence[str] | None) -> str | None:
        if names is None or isinstance(names, str):
            return None if names is None else self._text(names)
        texts = (self._text(name) for name in names)
        return self._feed.joined_by.join(text for text in texts if text is not None) or None

    def _translated(self, target: str, text: str | None) -> str | None:
        """Return a text's meaning; None if the feed's table of values lacks it.

        A table with a meaning for the empty text alone leaves other texts as they are.
        """
        meanings = self._feed.values.get(target)
        if meanings is None or (text is not None and meanings.keys() == {""}):
            return text
        return meanings.get(text or "")

    def _text(self, name: str) -> str | None:
        return as_text(self._values.get(name))


def as_text(value: object) -> str | None:
    """Return a value of JSON as text: truth values are `yes` and `no`, 2.0 is `2`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, int | float):
        # A double keeps 15 decimal digits.
        return format(value, ".15g") if isinstance(value, float) else str(value)
    return None if value is None else canonical_json(value)


def places_of(records: Sequence[MappedRecord], keep: Iterable[int]) -> list[Place]:
    """Return the places of the records that are kept, in their order."""
    return [
        Place(index, kind, is_further=number > 0)
        for index in keep
        for number, kind in enumerate(records[index].kinds())
    ]


def columns_of(place: Place, record: MappedRecord) -> dict[str, str | None]:
    """Return the values of `ATTRIBUTE_COLUMNS`.

    A further place has what one of OpenStreetMap has from its parent: the level, and a restriction
    of access.
    """
    if not place.is_further:
        return {target: record.column(target) for target in ATTRIBUTE_COLUMNS}
    access = record.column("access")
    own: dict[str, str | None] = dict.fromkeys(ATTRIBUTE_COLUMNS)
    return own | {
        "level": record.column("level"),
        "access": access if access in RESTRICTIONS else None,
    }


def texts_unparsed(records: Iterable[MappedRecord]) -> dict[str, Counter[str]]:
    """Return the texts that are not understood, with the number of their records, by column."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for each in records:
        for name in each.unparsed():
            found[name][each.said(name)] += 1
    return dict(sorted(found.items()))
