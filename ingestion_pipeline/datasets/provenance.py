"""What a city-day's rows are made of: which stored snapshot will do, and the evidence of its rows.

Belongs here: the two rules by which a run, and whoever plans one, tell that nothing is left to do.
Does not belong here: storing snapshots (`lake/`), and making rows out of them (`osm/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestion_pipeline.columns.hashing import digest
from ingestion_pipeline.config.feeds import judge_feed
from ingestion_pipeline.core.evidence import SliceEvidence
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.datasets.helper import HELPER
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.datasets.rules import (
    LIBRARIES,
    LIBRARIES_OF_FEEDS,
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
    """Identify the code that makes a dataset's rows, and the releases of libraries."""
    return (*dataset.rules.identity, *versions_of(LIBRARIES))


def holds_what_is_asked(manifest: Manifest, city: City) -> bool:
    """Tell whether a stored snapshot holds all that would be asked for now.

    An extract holds everything that it covers, which is compared with the city when it is read; an
    answer of Overpass holds only what its query named. An answer to a query that Overpass does not
    answer correctly holds something else.
    """
    return manifest.obtained != "overpass" or (
        _asked_for(manifest, DATASETS[manifest.dataset].selection)
        and Bbox(*manifest.bbox).holds(city.bbox)
        and not any(is_answered_wrongly(part.query or "") for part in manifest.parts)
    )


def _asked_for(manifest: Manifest, selection: Selection) -> bool:
    """Return whether an answer was asked for with a selection, or with a wider one."""
    return manifest.selection == selection.digest or (
        manifest.selected is not None and selection.is_within(manifest.selected)
    )


def evidence_of(city: City, manifest: Manifest) -> SliceEvidence:
    """Give the evidence of the rows that this code makes of a snapshot.

    Two that are equal have equal rows, so a day that is staged from it need not be staged again.
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
            # Of the city, what its rows and the acceptance of its day depend on.
            *(city.boundary_key, list(city.bbox), dict(city.name), list(city.languages)),
            *(city.local_language, city.country, dataset.minimum_of(city)),
            # A place that opens tomorrow has another status then.
            manifest.day.isoformat(),
        ],
    )


def evidence_of_feed(
    city: City, feed: Feed, manifest: Manifest, *, beside: SliceEvidence
) -> SliceEvidence:
    """Give the evidence of the rows that this code makes of a feed's bytes.

    Args:
        city: The city.
        feed: The feed, as it stands in the cities file now.
        manifest: Of its bytes.
        beside: The evidence of the rows of OpenStreetMap, to which the feed's are linked.
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
    """Judge whether a feed's places may stand in one database with those of OpenStreetMap."""
    from ingestion_pipeline.core.evidence import OSM_LICENCE

    return judge_feed(feed, beside=(OSM_LICENCE,))
