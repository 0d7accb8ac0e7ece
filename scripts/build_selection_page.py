"""Write docs/selection.md out of the tables of what is selected.

Usage: python scripts/build_selection_page.py
"""

from collections.abc import Iterable
from pathlib import Path

from ingestion_pipeline.helpers.kinds import CLOSED_TAGS as HELPER_TAGS
from ingestion_pipeline.osm.selection import (
    CLOSED_TAGS,
    DEPRECATED_TAGS,
    FALLBACK_TAGS,
    LIFECYCLE_PREFIXES,
    LIFECYCLE_WORDS,
    NOT_SELECTED,
    OPEN_KEYS,
)
from ingestion_pipeline.osm.taxonomy import TAXONOMY_VERSION

TARGET = Path(__file__).parents[1] / "docs" / "selection.md"

PAGE = """# What is selected

<!-- Written by scripts/build_selection_page.py out of ingestion_pipeline/osm/selection.py. -->

An object of OpenStreetMap is looked at where one of its tags is on this page. A selected object
inside the city is a row, or a [rejection](data-dictionary.md#reason) with a reason. The answer of
an Overpass server and an extract give the same objects: the query may ask for more, and the same
predicate decides on both (`Selection.selects`).

**The rule.** A tag is selected where it names a place: something with a position of its own that
people go to, where something is done or offered, or a landmark that they look for. Not selected are

- equipment and parts of a place: a slide, a grave, a gate, a hydrant, an entrance;
- roads, tracks and lines, and what stands beside them: a street lamp, a signal, a mast;
- what covers land or is done with it, and terrain: a forest, a farm, a cliff, a tree;
- settlements, and areas of administration or protection;
- what a building is by its form (`building=yes`, `house`, `garage`). A building's type is selected
  where one building is one place (a church, a railway station, a hotel). Where many buildings make
  one place (schools, universities, hospitals), the ground is the place.

**How a value is compared.** Each value of a list counts (`emergency=defibrillator;phone`). Letter
case and blanks around a value make no difference (`amenity= Cafe `). An empty value selects
nothing. A key is compared as it is written: `Amenity=cafe` is no café.

**Places that are not in use** are selected by the same tags

- behind a lifecycle prefix: {prefixes}. So `disused:railway=station` is a station that is disused;
- as `railway=construction` with `construction=station`, and so with {words};
- with a flag, `disused=yes`, beside the tag.

[Categories](categories.md#status) tells which status each of them means.

## POIs: keys with any value

{open_keys}

`no` selects as well, and is rejected as `no_main_tag`.

## POIs: keys with some values

| key | values | older values, which the schema replaces |
|---|---|---|
{closed_tags}

These make a POI only where no other tag does, since they may say only what something looks like, or
say again what `public_transport` says: {fallbacks}.

## POIs: what is not selected

Keys of the presets of {schema} that are not in the tables above. Of the keys that are, other values
are left out by the same rule.

| key | why |
|---|---|
{not_selected}

## Helper places

Only as they are, not behind a prefix. [Kinds of helper places](helper-kinds.md) tells what each
tag makes; some count only together with others.

| key | values |
|---|---|
{helper_tags}
"""


def page() -> str:
    """Give the whole page."""
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
