"""Small invented POIs and helper places, and the shortest way to have them staged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import shapely

from ingestion_pipeline.columns.hashing import with_content_hash
from ingestion_pipeline.staging.days import Slice
from ingestion_pipeline.staging.slices import SliceInput, SliceResult, replace_slices
from ingestion_pipeline.staging.tables import content_columns, poi_ingestion_staging
from testbed.claims import NOW, claim_key, evidence_of, replace_slice, slice_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    import sqlalchemy as sa

    from ingestion_pipeline.core.rejection import Rejection


def poi_rows(pois: Mapping[str, Any]) -> pa.Table:
    """Make rows for features `{source_ref: content}`; the content becomes the POI's name.

    Those of `places/...` are not of OSM. Columns that are not named here are null.
    """
    count = len(pois)
    kinds = [ref.split("/")[0] for ref in pois]
    ids = [int(ref.split("/")[1]) for ref in pois]
    of_osm = [kind != "places" for kind in kinds]
    lons = [identifier / 1000 for identifier in ids]
    text = pa.string()
    columns: dict[str, Any] = {
        "source_ref": pa.array(list(pois), text),
        "source_hash": pa.array([f"source of {content}" for content in pois.values()], text),
        "osm_type": pa.array(
            [kind if osm else None for kind, osm in zip(kinds, of_osm, strict=True)], text
        ),
        "osm_id": pa.array(
            [id_ if osm else None for id_, osm in zip(ids, of_osm, strict=True)], pa.int64()
        ),
        "osm_version": pa.array([None] * count, pa.int32()),
        "osm_timestamp": pa.array([NOW] * count, pa.timestamp("s", "UTC")),
        "category": pa.array(["amenity/cafe"] * count, text),
        "categories": pa.array(['["amenity/cafe"]'] * count, text),
        "name": pa.array([str(content) for content in pois.values()], text),
        "name_source": pa.array(["name"] * count, text),
        "names": pa.array(["{}"] * count, text),
        "tags": pa.array(['{"amenity":"cafe"}'] * count, text),
        "geometry": pa.array(
            [
                shapely.to_wkb(
                    shapely.Point(lon, 0.5) if kind == "node" else shapely.box(lon, 0, lon + 1, 1),
                    byte_order=1,
                )
                for kind, lon in zip(kinds, lons, strict=True)
            ],
            pa.binary(),
        ),
        "lon": pa.array(lons, pa.float64()),
        "lat": pa.array([0.5] * count, pa.float64()),
        "point_source": pa.array(["node"] * count, text),
        "geom_quality": pa.array(["exact"] * count, text),
        "area_m2": pa.array([None] * count, pa.float64()),
        "address": pa.array(["{}"] * count, text),
        "contact": pa.array(["{}"] * count, text),
        "opening_hours": pa.array([None] * count, text),
        "wikidata": pa.array([None] * count, text),
        "status": pa.array(["operating"] * count, text),
        "licence": pa.array(["ODbL-1.0"] * count, text),
        "attribution": pa.array(["© OpenStreetMap contributors"] * count, text),
    }
    others = set(content_columns(poi_ingestion_staging)) - set(columns)
    columns |= {name: pa.array([None] * count, text) for name in sorted(others)}
    return with_content_hash(pa.table(columns))


def helper_rows(places: Mapping[str, Any]) -> pa.Table:
    """Make rows for places `{source_ref: content}`; the content becomes the place's name.

    A reference is `<record>#<kind>`; those that begin with a type of OSM's are of OSM.
    """
    count = len(places)
    records, kinds = [], []
    for ref in places:
        record, _, kind = ref.partition("#")
        records.append(record.split("/"))
        kinds.append(kind)
    lons = [int(record[-1]) / 1000 for record in records]
    text = pa.string()
    nothing = pa.array([None] * count, text)
    empty = pa.array(["{}"] * count, text)
    of_osm = [len(record) > 1 for record in records]
    columns: dict[str, Any] = {
        "source_ref": pa.array(list(places), text),
        "source_hash": pa.array([f"source of {content}" for content in places.values()], text),
        "kind": pa.array(kinds, text),
        "parent_ref": nothing,
        "derived_from": nothing,
        "osm_type": pa.array([record[0] if len(record) > 1 else None for record in records], text),
        "osm_id": pa.array(
            [int(record[1]) if len(record) > 1 else None for record in records], pa.int64()
        ),
        "osm_version": pa.array([1 if osm else None for osm in of_osm], pa.int32()),
        "osm_timestamp": pa.array(
            [NOW if osm else None for osm in of_osm], pa.timestamp("s", "UTC")
        ),
        "name": pa.array([str(content) for content in places.values()], text),
        "name_source": pa.array(["name"] * count, text),
        "names": empty,
        "tags": empty,
        "geometry": pa.array(
            [shapely.to_wkb(shapely.Point(lon, 0.5), byte_order=1) for lon in lons], pa.binary()
        ),
        "lon": pa.array(lons, pa.float64()),
        "lat": pa.array([0.5] * count, pa.float64()),
        "point_source": pa.array(["node"] * count, text),
        "geom_quality": pa.array(["exact"] * count, text),
        "access": nothing,
        "fee": nothing,
        "wheelchair": nothing,
        "opening_hours": nothing,
        "level": nothing,
        "operator": nothing,
        "attributes": empty,
        "status": pa.array(["operating"] * count, text),
        "links": pa.array(["[]"] * count, text),
        "licence": pa.array(["ODbL-1.0"] * count, text),
        "attribution": pa.array(["© OpenStreetMap contributors"] * count, text),
    }
    return with_content_hash(pa.table(columns))


def stage(
    engine: sa.Engine,
    city: str,
    day: date,
    pois: Mapping[str, Any],
    rejections: Sequence[Rejection] = (),
    *,
    now: datetime = NOW,
) -> SliceResult:
    """Stage a day's POIs, from claim to commit."""
    return replace_slice(
        engine,
        slice_of(city, day),
        poi_rows(pois),
        rejections=rejections,
        evidence=evidence_of(day),
        claim=claim_key(engine, city, day, now=now),
        now=now,
    )


def helper_inputs(
    city: str, day: date, sources: Mapping[str, Mapping[str, Any]]
) -> list[SliceInput]:
    """Make what a day's helper slices become, `{source: {source_ref: content}}`."""
    return [
        SliceInput(Slice(city, "helper", source, day), helper_rows(places), [], evidence_of(day))
        for source, places in sources.items()
    ]


def stage_helpers(
    engine: sa.Engine, city: str, day: date, sources: Mapping[str, Mapping[str, Any]]
) -> dict[str, SliceResult]:
    """Stage a day's helper places of several sources together, from claim to commit."""
    results = replace_slices(
        engine,
        helper_inputs(city, day, sources),
        claim=claim_key(engine, city, day, job_type="helpers_import"),
        now=NOW,
    )
    return {target.source: result for target, result in results.items()}
