"""Write docs/helper-kinds.md from the table of kinds.

Usage: python scripts/build_helper_kinds.py
"""

from pathlib import Path

from ingestion_pipeline.helpers.kinds import KINDS, PRESENT, Kind

TARGET = Path(__file__).parents[1] / "docs" / "helper-kinds.md"

HEAD = """# Kinds of helper places

<!-- Written by scripts/build_helper_kinds.py from ingestion_pipeline/helpers/kinds.py. -->

A helper place is what a traveller needs on the way. Each row of `helper_place` has one of these
kinds. An object of OpenStreetMap *is* a helper by its main tags, or *has* one by a secondary tag:
the row is then derived, `parent_ref` is the object and `derived_from` the tag. One object can have
several rows, of one kind each.

- A `no` of the key that denies a kind overrides other tags: `amenity=toilets` with `toilets=no` is
  no helper. The `no` of another key has no effect: see `toilets:wheelchair=no`.
- Values of a list count one by one: `amenity=atm;bank` gives both.
- A tag with a lifecycle prefix (`disused:amenity=toilets`) is no helper. `disused=yes` and similar
  flags set the `status` of a helper, and so does the lifecycle prefix of its parent:
  `disused:amenity=cafe` with `toilets=yes`.
- A derived helper has the attributes of its own tags (`toilets:fee`, `toilets:wheelchair`). Without
  these it has the level, the opening hours and a restriction of access of its parent. Attributes of
  the parent as a whole do not apply: a hairdresser with `unisex=yes` can have any toilet.
- A record of a feed is of
  [the kinds that its table names](adding-a-city.md#several-kinds-of-one-record): one row for each.
- Entrances of buildings are not helpers. `station_entrance` is not a stop either, so that stops can
  be counted.
- A stop may be mapped more than once, as its pole and its platform, and a car park as its area and
  its entrances: each is a row.

"present" means the values {present}.

| kind | what it is | main tags | secondary tags | denied by | further attributes |
|---|---|---|---|---|---|
"""


def page() -> str:
    """Return the whole page."""
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
