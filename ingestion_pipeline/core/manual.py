"""The manual: where its files are on this machine, the address of a page, and the table of codes.

`make site` builds the manual into `ingestion_pipeline/manual`, and a wheel contains it. The admin
API serves it under `/manual`. `poi-ingest error` reads the table of codes from `docs/errors.md` and
`docs/api.md`, which a wheel contains as well.

Belongs here: where things are, and reading the table. Does not belong here: serving pages
(`admin_api/pages.py`).
"""

import re
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
    inside = _PACKAGE / "docs"
    folder = inside if inside.exists() else _PACKAGE.parent / "docs"
    entries: dict[str, CodeEntry] = {}
    for page in _PAGES:
        for entry in _entries((folder / f"{page}.md").read_text("utf-8"), page):
            entries.setdefault(entry.code, entry)
    return entries


def _entries(text: str, page: str) -> list[CodeEntry]:
    """Return the rows of all tables that have the columns of an entry."""
    entries, head = [], list[str]()
    for line in text.splitlines():
        if not line.startswith("|"):
            head = []
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not head:
            head = cells
        elif {"code", "what happened", "what to do"} <= set(head) and set(cells[0]) != {"-"}:
            row = dict(zip(head, cells, strict=True))
            happened, to_do = (_plain(row[key], page) for key in ("what happened", "what to do"))
            entries.append(CodeEntry(row["code"].strip("`"), happened, to_do))
    return entries


def _plain(cell: str, page: str) -> str:
    """Return a cell of a table as plain text; a link becomes its text and the page's address."""

    def address(link: re.Match[str]) -> str:
        target = link[2] or page
        if target.startswith(("http:", "https:")):
            return f"{link[1]} ({target})"
        return f"{link[1]} ({manual_url(target, (link[3] or '').lstrip('#'))})"

    return _LINK.sub(address, cell).replace("`", "").replace("\\|", "|")
