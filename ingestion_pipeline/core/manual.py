"""The manual: where its files are on this machine, the address of a page, and some of its tables.

`make site` builds the manual into `ingestion_pipeline/manual`, and a wheel contains it. The admin
API serves it under `/manual`. `poi-ingest error` reads the table of codes from `docs/errors.md` and
`docs/api.md`, and the UI the descriptions of columns from `docs/data-dictionary.md`. A wheel
contains these as well.

Belongs here: where things are, and reading the tables. Does not belong here: serving pages
(`admin_api/pages.py`).
"""

import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PATH = "/manual"
"""Where the admin API serves the manual."""

_PACKAGE = Path(__file__).parents[1]
_PAGES = ("errors", "api")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#]*?)(?:\.md)?(#[^)]*)?\)")


class CodeEntry(NamedTuple):
    """One row of the table of codes.

    Attributes:
        code: The error's code.
        what_happened: Why it is raised.
        what_to_do: What the reader can do.
    """

    code: str
    what_happened: str
    what_to_do: str


def manual_url(page: str, anchor: str = "") -> str:
    """Return the address of a page of the manual, relative to the admin API.

    Args:
        page: The document's name in `docs/`, without `.md`.
        anchor: A heading of it, as in links.
    """
    return f"{PATH}/{page}/" + (f"#{anchor}" if anchor else "")


def site_folder() -> Path:
    """Return the folder of the built manual; it is absent in a checkout before `make site`."""
    return _PACKAGE / "manual"


def codes() -> dict[str, CodeEntry]:
    """Return the documented codes in the order of the manual: of runs, then of the admin API."""
    entries: dict[str, CodeEntry] = {}
    for page in _PAGES:
        for row in _rows(_text_of(page), {"code", "what happened", "what to do"}):
            happened, to_do = (_plain(row[key], page) for key in ("what happened", "what to do"))
            entry = CodeEntry(row["code"].strip("`"), happened, to_do)
            entries.setdefault(entry.code, entry)
    return entries


def columns_of(table: str) -> dict[str, str]:
    """Return the description of each column of a table; nothing if the manual does not have it."""
    page = "data-dictionary"
    _, _, part = _text_of(page).partition(f"\n## `{table}`\n")
    part = re.split(r"^##", part, maxsplit=1, flags=re.MULTILINE)[0]
    found = {}
    for row in _rows(part, {"column", "unit / values", "null when", "source"}):
        null = "" if row["null when"] == "never" else f" Null when: {row['null when']}."
        text = f"{row['unit / values']}.{null} Source: {row['source']}."
        found[row["column"].strip("`")] = _plain(text, page)
    return found


@cache
def _text_of(page: str) -> str:
    inside = _PACKAGE / "docs"
    folder = inside if inside.exists() else _PACKAGE.parent / "docs"
    return (folder / f"{page}.md").read_text("utf-8")


def _rows(text: str, columns: Collection[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of all tables that have the given columns."""
    head: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            head = []
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not head:
            head = cells
        elif {*columns} <= {*head} and set(cells[0]) != {"-"}:
            yield dict(zip(head, cells, strict=True))


def _plain(cell: str, page: str) -> str:
    """Return a cell of a table as plain text; a link becomes its text and the page's address."""

    def address(link: re.Match[str]) -> str:
        target = link[2] or page
        if target.startswith(("http:", "https:")):
            return f"{link[1]} ({target})"
        return f"{link[1]} ({manual_url(target, (link[3] or '').lstrip('#'))})"

    return _LINK.sub(address, cell).replace("`", "").replace("\\|", "|")
