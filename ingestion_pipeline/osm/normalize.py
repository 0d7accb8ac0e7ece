"""Features to POI rows: the columns that staging keeps, for one city.

Belongs here: which features are the city's, and what each column says. Does not belong here:
geometries (`assemble.py`), categories (`taxonomy.py`), and hashing what a reader sees
(`staging/slices.py`). Every column is documented in docs/data-dictionary.md.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from ingestion_pipeline.hashing import canonical_json, row_hashes
from ingestion_pipeline.hours import normalized_hours
from ingestion_pipeline.osm.assemble import areas_m2
from ingestion_pipeline.osm.features import ATTRIBUTION, LICENCE, Features, Rejection
from ingestion_pipeline.osm.taxonomy import TAXONOMY_VERSION, Taxonomy
from ingestion_pipeline.points import representative_points

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from ingestion_pipeline.osm.boundary import Boundary

RULES = 1
"""Raised with every change, here or in `assemble.py`, that changes what a reader sees."""

NAME_KEYS = ("name", "int_name", "official_name", "short_name", "brand", "operator")
"""Where the display name comes from when no name in one of the city's languages is mapped."""

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_UNDETERMINED = "und"
_WIKIDATA = re.compile(r"Q[1-9][0-9]*")
_CONTACT_KEYS = ("phone", "mobile", "fax", "email", "website", "url")


@dataclass(frozen=True)
class Pois:
    """The POI rows of one city-day.

    Attributes:
        table: One row per POI, ordered by type and id; columns of `poi_ingestion_staging` from
            `osm_type` on, and `source_ref` and `source_hash`. Geometry is WKB (EPSG:4326, lon lat).
            JSON columns are canonical text.
        rejections: What was selected, is not staged, and why.
        outside: How many selected features belong to no part of the city: their representative
            point lies outside its boundary.
        generic: How many POIs have only their key's generic category.
        unparsed_opening_hours: How many POIs have opening hours that cannot be understood.
    """

    table: pa.Table
    rejections: list[Rejection]
    outside: int
    generic: int
    unparsed_opening_hours: int


def rules_version() -> str:
    """Name what makes rows out of features; recorded with every staged day.

    Two libraries are part of the rules: one writes opening hours, the other finds points on
    surfaces.
    """
    import shapely

    geos = ".".join(map(str, shapely.geos_version))
    hours = version("opening-hours-py")
    return f"rules {RULES}; {TAXONOMY_VERSION}; opening-hours {hours}; GEOS {geos}"


def normalize(
    features: Features,
    *,
    boundary: Boundary,
    languages: Sequence[str],
    local_language: str | None,
    taxonomy: Taxonomy,
) -> Pois:
    """Make the POI rows of a city.

    Args:
        features: N features in whatever window was fetched.
        boundary: The city's boundary; a feature is the city's when its representative point is.
        languages: The fallback chain for display names, best first.
        local_language: The language of a plain `name` in the city, where that is known.
        taxonomy: The table of categories.

    Returns:
        The rows; every feature inside the boundary is either a row or a rejection.
    """
    import pyarrow as pa
    import shapely

    lon, lat, point_source = representative_points(features.geometry)
    inside = np.flatnonzero(boundary.owns(lon, lat))
    classes = [taxonomy.classify(features.tags[i]) for i in inside]
    is_poi = np.array([found is not None for found in classes], dtype=bool)
    keep = inside[is_poi]
    found = [found for found in classes if found is not None]
    tags = [features.tags[i] for i in keep]
    geometry = features.geometry[keep]
    area = areas_m2(geometry)
    refs = source_refs(features, keep)
    hours = [
        normalized_hours(tag["opening_hours"]) if "opening_hours" in tag else None for tag in tags
    ]
    wkb = shapely.to_wkb(geometry, byte_order=1)
    tags_text = [canonical_json(tag) for tag in tags]
    versions = [int(number) or None for number in features.version[keep]]
    name_keys = _name_keys(languages, local_language)
    text = pa.string()
    columns = {
        "source_ref": pa.array(refs, text),
        "source_hash": pa.array(row_hashes([versions, tags_text, list(wkb)]), text),
        "osm_type": pa.array(features.osm_type[keep], text),
        "osm_id": pa.array(features.osm_id[keep], pa.int64()),
        "osm_version": pa.array(versions, pa.int32()),
        "osm_timestamp": pa.array(features.timestamp[keep].astype("datetime64[s]")).cast(
            pa.timestamp("s", "UTC")
        ),
        "category": pa.array([each.category for each in found], text),
        "categories": pa.array([canonical_json(list(each.categories)) for each in found], text),
        "name": pa.array([_display_name(tag, name_keys) for tag in tags], text),
        "names": pa.array([canonical_json(_names(tag)) for tag in tags], text),
        "tags": pa.array(tags_text, text),
        "geometry": pa.array(wkb, pa.binary()),
        "lon": pa.array(lon[keep], pa.float64()),
        "lat": pa.array(lat[keep], pa.float64()),
        "point_source": pa.array(point_source[keep], text),
        "geom_quality": pa.array(features.geom_quality[keep], text),
        # Square decimetres are finer than any survey; more digits would only differ by machine.
        "area_m2": pa.array(np.round(area, 2), pa.float64(), from_pandas=True),
        "address": pa.array([canonical_json(_address(tag)) for tag in tags], text),
        "contact": pa.array([canonical_json(_contact(tag)) for tag in tags], text),
        "opening_hours": pa.array(hours, text),
        "wikidata": pa.array([_wikidata(tag) for tag in tags], text),
        "status": pa.array([each.status for each in found], text),
        "licence": pa.array([LICENCE] * len(keep), text),
        "attribution": pa.array([ATTRIBUTION] * len(keep), text),
    }
    return Pois(
        table=pa.table(columns),
        rejections=_without_main_tag(features, inside[~is_poi]),
        outside=len(features) - len(inside),
        generic=sum(not each.is_specific for each in found),
        unparsed_opening_hours=sum(
            parsed is None and "opening_hours" in tag
            for parsed, tag in zip(hours, tags, strict=True)
        ),
    )


def source_refs(features: Features, positions: npt.NDArray[np.intp]) -> list[str]:
    """Name features as `node/1`, `way/1`, `relation/1`."""
    return [
        f"{kind}/{identifier}"
        for kind, identifier in zip(
            features.osm_type[positions], features.osm_id[positions].tolist(), strict=True
        )
    ]


def count_by(table: pa.Table, column: str) -> dict[str, int]:
    """Count POIs by the values of a text column, the most frequent first."""
    return dict(Counter(map(str, table.column(column).to_pylist())).most_common())


def _without_main_tag(features: Features, positions: npt.NDArray[np.intp]) -> list[Rejection]:
    return [
        Rejection(
            source_ref=ref,
            reason="no_main_tag",
            detail="every tag that would make it a POI says 'no'",
            raw={"tags": features.tags[position]},
        )
        for ref, position in zip(source_refs(features, positions), positions, strict=True)
    ]


def _name_keys(languages: Iterable[str], local_language: str | None) -> tuple[str, ...]:
    """Order the keys of names: in the city's languages, then as mapped, then who runs the place.

    A plain `name` is in the local language, in which `name:<language>` is seldom mapped.
    """
    chain: list[str] = []
    for language in languages:
        chain.append(f"name:{language}")
        if language == local_language:
            chain.append("name")
    return (*chain, *NAME_KEYS)


def _display_name(tags: Mapping[str, str], keys: Iterable[str]) -> str | None:
    for key in keys:
        if name := tags.get(key, "").strip():
            return name
    return None


def _names(tags: Mapping[str, str]) -> dict[str, str]:
    """Collect names by language; the plain `name` has an undetermined one (`und`, BCP 47)."""
    names = {
        language: value
        for key, value in tags.items()
        if key.startswith("name:") and _LANGUAGE.fullmatch(language := key[len("name:") :])
    }
    if "name" in tags:
        names[_UNDETERMINED] = tags["name"]
    return names


def _address(tags: Mapping[str, str]) -> dict[str, str]:
    """Collect the address: `addr:street` becomes `street`."""
    return {key[len("addr:") :]: value for key, value in tags.items() if key.startswith("addr:")}


def _contact(tags: Mapping[str, str]) -> dict[str, str]:
    """Collect contacts: `contact:phone` and `phone` both become `phone`, the latter first."""
    contact = {
        key[len("contact:") :]: value for key, value in tags.items() if key.startswith("contact:")
    }
    return contact | {key: tags[key] for key in _CONTACT_KEYS if key in tags}


def _wikidata(tags: Mapping[str, str]) -> str | None:
    first = tags.get("wikidata", "").split(";")[0].strip()
    return first if _WIKIDATA.fullmatch(first) else None
