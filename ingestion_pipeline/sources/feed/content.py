"""The content of a feed's file before the feed's table is applied to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.sources.feed.errors import FeedUnreadable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from ingestion_pipeline.config.feeds import Feed


CHECK_KEYS = "Check the feed, and correct its keys in the cities file."
"""What to do about bytes that do not match the feed's table, where nothing more is known."""


@dataclass(frozen=True)
class Content:
    """N records, in the order of the file.

    Attributes:
        properties: The properties of each; empty cells of tables are omitted.
        names: The names of the fields that the file has, in order.
        geometry: (N,) geometries of the records, x then y, or None; None for a format without.
        crs: The coordinate system that the file names, as pyproj reads it; None if it names none.
        own_ids: The id of each GeoJSON feature; empty for other formats.
        document: The members of a JSON document beside its records; empty for other formats.
        malformed: By the index of a record: what is wrong with its row of a table.
    """

    properties: list[dict[str, Any]]
    names: Sequence[str]
    geometry: npt.NDArray[Any] | None = None
    crs: str | None = None
    own_ids: Sequence[object] = ()
    document: Mapping[str, Any] = field(default_factory=dict)
    malformed: Mapping[int, str] = field(default_factory=dict)


def names_in(properties: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of all properties, in the order of their first occurrence."""
    return list(dict.fromkeys(name for each in properties for name in each))


def unreadable(feed: Feed, what: str, to_do: str = "") -> FeedUnreadable:
    """Return the error of bytes that do not match the feed's table.

    Args:
        feed: The feed.
        what: What it is, such as "not CSV".
        to_do: The keys to correct, in sentences; by default those of the feed.
    """
    to_do = to_do or CHECK_KEYS
    return FeedUnreadable(f"{feed.public_location}: feed {feed.slug} is {what}. {to_do}")
