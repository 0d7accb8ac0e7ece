"""A feed read alone: what its file has, and what the feed's table makes of it. Stages nothing.

A run stops at the first error of a feed. A trial goes on as far as it can, and collects all
problems, as `cities check` does.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.config.feeds import Feed
from ingestion_pipeline.sources.feed.acquire import acquire
from ingestion_pipeline.sources.feed.describe import describe, fields_of
from ingestion_pipeline.sources.feed.errors import (
    FeedEncodingWrong,
    FeedError,
    FeedNotOfDay,
    FeedShrunken,
    FeedStale,
    FeedUnreadable,
    FeedWithoutTime,
)
from ingestion_pipeline.sources.feed.hints import hints
from ingestion_pipeline.sources.feed.read import read_feed
from ingestion_pipeline.sources.feed.records import read_content, read_records
from ingestion_pipeline.sources.feed.refusals import by_reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, datetime
    from pathlib import Path

    import httpx
    from pydantic import SecretStr

    from ingestion_pipeline.core.boundary import Boundary
    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.sources.feed.describe import Description
    from ingestion_pipeline.sources.feed.errors import RejectedFor
    from ingestion_pipeline.sources.feed.read import FeedPlaces
    from ingestion_pipeline.text.names import Namer

_ABOUT_COMPLETE_BYTES = (
    FeedEncodingWrong,
    FeedNotOfDay,
    FeedStale,
    FeedUnreadable,
    FeedWithoutTime,
)
"""Errors that may be raised after all bytes have arrived: the file can be looked at."""


class Town(NamedTuple):
    """What a trial needs of a city.

    Attributes:
        bbox: Its window: west, south, east, north in WGS 84 degrees.
        boundary: Its boundary.
        namer: Chooses the names for its readers.
    """

    bbox: Sequence[float]
    boundary: Boundary
    namer: Namer


@dataclass
class Trial:
    """What a feed's file has, and what the feed's table makes of it.

    Attributes:
        feed: The feed.
        bytes: The size of the file, as published; None if it could not be fetched.
        as_of: The time of the data, or None if unknown.
        description: What the file has; None if it is of no known format, or of several pages.
        places: The places in the city; None if the table does not fit the file.
        rejections: Counts and examples of rejected records, by reason.
        hint: Which keys would help, in sentences; empty if nothing is recognized.
        problems: Why a run of the day would refuse the feed.
    """

    feed: Feed
    bytes: int | None = None
    as_of: datetime | None = None
    description: Description | None = None
    places: FeedPlaces | None = None
    rejections: Sequence[RejectedFor] = ()
    hint: str = ""
    problems: list[FeedError] = field(default_factory=list)

    @property
    def used(self) -> Mapping[str, str]:
        """The keys of the table that name each field, joined."""
        return _used(self.feed)


def try_feed(
    feed: Feed,
    day: date,
    town: Town,
    *,
    http: httpx.Client,
    clock: Clock,
    workdir: Path,
    secrets: Mapping[str, SecretStr],
) -> Trial:
    """Fetch and read a feed as a run of the day does, and collect all problems.

    Args:
        feed: The feed.
        day: The UTC day.
        town: The city.
        http: Sends requests.
        clock: The current time.
        workdir: An empty folder for the bytes.
        secrets: The secrets that `headers` of the feed names.
    """
    trial = Trial(feed)
    try:
        acquired = acquire(feed, day, http=http, clock=clock, workdir=workdir, secrets=secrets)
        trial.as_of = acquired.evidence.as_of
    except FeedError as error:
        trial.problems.append(error)
        if not isinstance(error, _ABOUT_COMPLETE_BYTES):
            return trial
    path = workdir / f"{feed.slug}.{feed.format}"
    if path.exists():
        trial.bytes = path.stat().st_size
        _describe(trial, path)
        _read(trial, path, town)
    return trial


def _describe(trial: Trial, path: Path) -> None:
    if trial.feed.pages is not None:
        return  # the file is a list of pages, as no publisher has it
    with _problems(trial):
        trial.description = _description(path, trial.feed)


def _description(path: Path, feed: Feed) -> Description:
    found = describe(path, maximum_bytes=feed.maximum_bytes)
    if not feed.columns and not feed.skip_lines:
        return found
    # Its header is not the first line, so its fields have the names of the table.
    with suppress(FeedError):  # which `_read` meets again
        content = read_content(path, feed)
        named = tuple(fields_of(content))
        return replace(found, records=len(content.properties), fields=named)
    return found


def _read(trial: Trial, path: Path, town: Town) -> None:
    """Read the file by the feed's table; too few places are a problem, and shown all the same."""
    feed = trial.feed
    with _problems(trial):
        try:
            trial.places = _places(path, feed, town)
        except FeedShrunken as error:
            trial.problems.append(error)
            trial.rejections = error.rejections
            if trial.description and trial.description.records <= _count(trial.rejections):
                return  # nothing is left to show
            # Its message has the hint.
            trial.places = _places(path, _of_any_size(feed), town)
            return
        trial.rejections = by_reason(trial.places.rejections)
        if trial.rejections:
            records = read_records(path, feed)
            trial.hint = hints(
                records, records.geometry, trial.places.rejections, feed, bbox=town.bbox
            )


def _count(rejections: Sequence[RejectedFor]) -> int:
    return sum(each.count for each in rejections)


def _of_any_size(feed: Feed) -> Feed:
    """Return a feed that is read whatever its number of places is."""
    keys = {each.name: getattr(feed, each.name) for each in fields(feed)}
    return Feed(**{key: value for key, value in keys.items() if value} | {"minimum": 1})


def _places(path: Path, feed: Feed, town: Town) -> FeedPlaces:
    return read_feed(path, feed, bbox=town.bbox, boundary=town.boundary, namer=town.namer)


@contextmanager
def _problems(trial: Trial) -> Iterator[None]:
    """Record an error that is not known yet, and continue after the block."""
    try:
        yield
    except FeedError as error:
        if str(error) not in map(str, trial.problems) and not (
            isinstance(error, FeedShrunken) and trial.problems
        ):
            trial.problems.append(error)


def _used(feed: Feed) -> dict[str, str]:
    """Return the keys that name each field of a feed."""
    keys: dict[str, list[str]] = {}
    for name in feed.id_fields:
        keys.setdefault(name, []).append("record_id")
    for key in ("lon", "lat", "lat_lon", "lon_lat", "geometry"):
        if (name := getattr(feed, key)) is not None:
            keys.setdefault(name, []).append(key)
    for name, targets in feed.mapped_fields.items():
        keys.setdefault(name, []).extend(targets)
    if feed.as_of.source == "newest_record":
        keys.setdefault(feed.as_of.name, []).append("as_of")
    return {name: ", ".join(dict.fromkeys(found)) for name, found in keys.items()}
