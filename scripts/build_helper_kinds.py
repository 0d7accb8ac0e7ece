"""Write docs/helper-kinds.md out of the table of kinds.

Usage: python scripts/build_helper_kinds.py
"""

from pathlib import Path

from ingestion_pipeline.helpers.kinds import KINDS, PRESENT, Kind

TARGET = Path(__file__).parents[1] / "docs" / "helper-kinds.md"

HEAD = """# Kinds of helper places

<!-- Written by scripts/build_helper_kinds.py out of ingestion_pipeline/helpers/kinds.py. -->

A helper place is what a traveller needs on the way. Each row of `helper_place` has one of these
kinds. An object of OpenStreetMap *is* a helper by its main tags, or *has* one by a secondary tag:
then the row is derived, `parent_ref` names the object and `derived_from` the tag. One object may
give several rows, of one kind each.

- A `no` of the key that denies a kind wins: `amenity=toilets` with `toilets=no` gives none. The
  `no` of another key is silence: `toilets:wheelchair=no` gives no toilet, and takes none away.
- Values of several count one by one: `amenity=atm;bank` gives both.
- What stands behind a lifecycle prefix (`disused:amenity=toilets`) is no helper. `disused=yes` and
  the like make a helper whose `status` says so, and so does a place that has gone around what it
  had: `disused:amenity=cafe` with `toilets=yes`.
- A derived helper has the attributes that are said of it (`toilets:fee`, `toilets:wheelchair`), and
  of its parent only the level, the opening hours, and that not everybody may go in, where nothing
  else is said of itself. Attributes that are said of the parent as a whole are not the helper's:
  the toilet of a hairdresser with `unisex=yes` may be any.
- Entrances of buildings are no helpers. `station_entrance` is not a stop either, so that stops can
  be counted.
- A stop may be mapped more than once, as its pole and its platform, and a car park as its area and
  its entrances: each is a row.

"present" stands for the values {present}.

| kind | what it is | main tags | secondary tags | denied by | further attributes |
|---|---|---|---|---|---|
"""


def page() -> str:
    """Give the whole page."""
    present = ", ".join(f"`{value}`" for value in PRESENT)
    return HEAD.format(present=present) + "".join(map(_row, KINDS.values()))


def _row(kind: Kind) -> str:
    main = ["+".join(f"`{key}={value}`" for key, value in rule.items()) for rule in kind.main]
    secondary = [
        f"`{key}` " + ("present" if values == PRESENT else "/".join(f"`{v}`" for v in values))
        for key, values in kind.secondary.items()
    ]
    details = [f"`{key}*`" if key.endswith(":") else f"`{key}`" for key in kind.details]
    denied_by = [f"`{kind.denied_by}=no`"] if kind.denied_by else []
    cells = (f"`{kind.name}`", kind.meaning, *map(", ".join, (main, secondary, denied_by, details)))
    return "| " + " | ".join(cells) + " |\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
