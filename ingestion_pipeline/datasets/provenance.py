"""The provenance of a city-day's rows: which snapshots can be reused, and the evidence of rows.

Runs and plans use these two rules to find out that a day needs no work.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ingestion_pipeline.columns.hashing import digest
from ingestion_pipeline.config.feeds import BY_GDAL, judge_feed
from ingestion_pipeline.core.evidence import SliceEvidence
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.datasets.helper import HELPER
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.datasets.rules import (
    LIBRARIES,
    LIBRARIES_OF_FEEDS,
    LIBRARIES_OF_GEODATA,
    rules_of_feeds,
    versions_of,
)
from ingestion_pipeline.osm.selection import is_answered_wrongly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.feeds import Feed
    from ingestion_pipeline.datasets.base import Dataset
    from ingestion_pipeline.helpers.licences import Verdict
    from ingestion_pipeline.lake.snapshots import Manifest
    from ingestion_pipeline.osm.selection import Selection


def code_of(dataset: Dataset) -> tuple[str, ...]:
    """Return the identity of the code that shapes a dataset's rows, with releases of libraries."""
    return (*dataset.rules.identity, *versions_of(LIBRARIES))


def holds_what_is_asked(manifest: Manifest, city: City) -> bool:
    """Return whether a stored snapshot contains everything that would be requested now.

    An extract contains everything in the area that it covers, and that area is compared with the
    city when the extract is read. An Overpass answer contains only what its query selected. Answers
    to queries that Overpass answers incorrectly are not reused.
    """
    return manifest.obtained != "overpass" or (
        _asked_for(manifest, DATASETS[manifest.dataset].selection)
        and Bbox(*manifest.bbox).holds(city.bbox)
        and not any(is_answered_wrongly(part.query or "") for part in manifest.parts)
    )


def _asked_for(manifest: Manifest, selection: Selection) -> bool:
    """Return whether an answer was requested with this selection or a wider one."""
    if manifest.selection == selection.digest:
        return True
    with suppress(KeyError, TypeError, AttributeError):  # a damaged record proves nothing
        return manifest.selected is not None and selection.is_within(manifest.selected)
    return False


def evidence_of(city: City, manifest: Manifest) -> SliceEvidence:
    """Return the evidence of the rows that this code shapes from a snapshot.

    Equal evidence means equal rows, so a day that was staged with it is not staged again.
    """
    dataset = DATASETS[manifest.dataset]
    rules = dataset.rules_version
    return _evidence(
        city,
        manifest,
        rules=rules,
        licence=manifest.licence,
        attribution=manifest.attribution,
        inputs=[
            manifest.digest,
            rules,
            *code_of(dataset),
            # The settings of the city on which its rows and their acceptance depend.
            *(city.boundary_key, list(city.bbox), dict(city.name), list(city.languages)),
            *(city.local_language, city.country, dataset.minimum_of(city)),
            # The status of a place may depend on the day, such as its opening date.
            manifest.day.isoformat(),
        ],
    )


def evidence_of_feed(
    city: City, feed: Feed, manifest: Manifest, *, beside: SliceEvidence
) -> SliceEvidence:
    """Return the evidence of the rows that this code shapes from a feed's bytes.

    Args:
        city: The city.
        feed: The feed's current entry in the cities file.
        manifest: The manifest of its bytes.
        beside: The evidence of the OpenStreetMap rows to which the feed's rows are linked.
    """
    own = rules_of_feeds()
    rules = f"{own.name}; {HELPER.rules_version}"
    return _evidence(
        city,
        manifest,
        rules=rules,
        licence=feed.licence,
        attribution=feed.attribution,
        inputs=[
            *(manifest.digest, rules, beside.inputs_digest, feed.digest),
            *(*own.identity, *versions_of(LIBRARIES_OF_FEEDS)),
            *(versions_of(LIBRARIES_OF_GEODATA) if feed.format in BY_GDAL else ()),
        ],
    )


def _evidence(
    city: City,
    manifest: Manifest,
    *,
    rules: str,
    licence: str,
    attribution: str,
    inputs: Sequence[object],
) -> SliceEvidence:
    return SliceEvidence(
        boundary_ref=city.boundary_key,
        as_of=manifest.as_of,
        as_of_source=manifest.as_of_source,
        obtained=manifest.obtained,
        location=manifest.location,
        digest=manifest.digest,
        rules_version=rules,
        licence=licence,
        attribution=attribution,
        inputs_digest=digest(inputs),
    )


def judged_beside_osm(feed: Feed) -> Verdict:
    """Return whether a feed's licence permits combining its places with OpenStreetMap's."""
    from ingestion_pipeline.core.evidence import OSM_LICENCE

    return judge_feed(feed, beside=(OSM_LICENCE,))
