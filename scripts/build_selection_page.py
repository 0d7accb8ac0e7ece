"""Write docs/selection.md from the tables of selected tags.

Usage: python scripts/build_selection_page.py
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path

from ingestion_pipeline.helpers.kinds import CLOSED_TAGS as HELPER_TAGS
from ingestion_pipeline.osm.selection import (
    CLOSED_TAGS,
    DEPRECATED_TAGS,
    FALLBACK_TAGS,
    LIFECYCLE_PREFIXES,
    LIFECYCLE_WORDS,
    OPEN_KEYS,
)
from ingestion_pipeline.osm.taxonomy import TAXONOMY_VERSION

TARGET = Path(__file__).parents[1] / "docs" / "selection.md"

NOT_SELECTED: dict[str, str] = tomllib.loads(
    Path(__file__).with_name("not_selected.toml").read_text(encoding="utf-8")
)

PAGE = """# What is selected

<!-- Written by scripts/build_selection_page.py from ingestion_pipeline/osm/selection.py. -->

An object of OpenStreetMap is selected if one of its tags is on this page. A selected object inside
the city is a row, or a [rejection](data-dictionary.md#reason) with a reason. Overpass and extracts
give the same objects: the query may match more, and the same predicate filters both
(`Selection.selects`).

**The rule.** A tag is selected if it describes a place: something with a position of its own that
people go to, where something is done or offered, or a landmark that they look for. Not selected are

- equipment and parts of a place: a slide, a grave, a gate, a hydrant, an entrance;
- roads, tracks and lines, and roadside objects: a street lamp, a signal, a mast;
- land cover, land use and terrain: a forest, a farm, a cliff, a tree;
- settlements, administrative and protected areas;
- buildings by their form (`building=yes`, `house`, `garage`). A building's type is selected
  if one building is one place (a church, a railway station, a hotel). If several buildings are one
  place (schools, universities, hospitals), the ground is the place.

**How a value is compared.** Each value of a list counts (`emergency=defibrillator;phone`). Letter
case and blanks around a value do not matter (`amenity= Cafe `). An empty value selects nothing.
Keys match exactly: `Amenity=cafe` is not a café.

**Places that are not in use** are selected by the same tags

- with a lifecycle prefix: {prefixes}. So `disused:railway=station` is a disused station;
- as `railway=construction` with `construction=station`, and so with {words};
- with a flag, `disused=yes`, beside the tag.

See [Categories](categories.md#status) for the status of each.

## POIs: keys with any value

{open_keys}

`no` is selected as well, and rejected as `no_main_tag`.

## POIs: keys with some values

| key | values | older values, which the schema replaces |
|---|---|---|
{closed_tags}

These make a POI only if no other tag does, because they may describe only a form, or repeat
`public_transport`: {fallbacks}.

## POIs: tags that are not selected

Keys of the presets of {schema} that are not in the tables above. Of the keys that are, other values
are excluded by the same rule.

| key | why |
|---|---|
{not_selected}

## Helper places

Without prefixes. See [Kinds of helper places](helper-kinds.md) for the kind of each tag; some count
only together with others.

| key | values |
|---|---|
{helper_tags}
"""


def page() -> str:
    """Return the whole page."""
    return PAGE.format(
        prefixes=_listed(f"{prefix}:" for prefix in LIFECYCLE_PREFIXES),
        words=_listed(word for word in LIFECYCLE_WORDS if word != "construction"),
        open_keys=_listed(OPEN_KEYS),
        closed_tags=_rows(
            (key, _listed(set(values).difference(_old(key))), _listed(_old(key)))
            for key, values in CLOSED_TAGS.items()
        ),
        fallbacks=_listed(
            f"{key}={value}" for key, each in FALLBACK_TAGS.items() for value in each
        ),
        schema=TAXONOMY_VERSION,
        not_selected=_rows(NOT_SELECTED.items()),
        helper_tags=_rows((key, _listed(values)) for key, values in HELPER_TAGS.items()),
    )


def _old(key: str) -> tuple[str, ...]:
    return DEPRECATED_TAGS.get(key, ())


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in sorted(words))


def _rows(rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| `{key}` | " + " | ".join(cells) + " |" for key, *cells in rows)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
