"""Which code counts as shaping rows, and which changes of it are seen."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

import ingestion_pipeline
from ingestion_pipeline.datasets.code_digest import Code, text_of, without_comments
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.datasets.rules import FEED_CODE

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = Path(ingestion_pipeline.__file__).parent
CODE = {**{name: each.code for name, each in DATASETS.items()}, "feed": FEED_CODE}

TOY = {
    "toy/__init__.py": '"""A package."""\n',
    "toy/rows.py": '''\
"""Rows of toys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toy import colours as paint
from toy.sizes import size_of as measured

if TYPE_CHECKING:
    from toy.boxes import Box

LIMIT = 3  # of a row
"""How many."""


@decorated(
    with_="brackets",
)
def rows(box: Box) -> list[str]:
    """Return rows."""
    from toy.late import later

    # a comment
    text = """
    # no comment

    """
    return [measured(box), paint.mixed(box), later(text), other(LIMIT)]


def other(number: int) -> str:
    return f"{number}"


def unused() -> None:
    pass
''',
    "toy/colours.py": "def mixed(box):\n    return TABLE\n\n\nTABLE: str = read('colours.json')\n",
    "toy/colours.json": '{"red": 1}',
    "toy/sizes.py": "from json import dumps as size_of\n",
    "toy/late.py": "REGISTERED = {}\nREGISTERED['a'] = 1\n\n\ndef later(text):\n    return text\n",
    "toy/boxes.py": "class Box:\n    pass\n",
}


def digest_of(sources: Mapping[str, str], entry: str = "toy.rows:rows") -> str:
    return Code({"toy"}, sources.get).digest([entry])


def changed(path: str, old: str, new: str) -> dict[str, str]:
    assert old in TOY[path]
    return {**TOY, path: TOY[path].replace(old, new)}


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("toy/rows.py", '"""Rows of toys."""', '"""Rows of all toys.\n\n    Many.\n"""'),
        ("toy/rows.py", '"""Return rows."""', '"""Return all rows."""'),
        ("toy/rows.py", '    """Return rows."""\n', ""),
        ("toy/rows.py", '"""How many."""', ""),
        ("toy/rows.py", "  # of a row", ""),
        ("toy/rows.py", "    # a comment\n", "    # another\n\n    # and one more\n"),
        ("toy/rows.py", "\n\n\ndef other", "\ndef other"),
        ("toy/rows.py", "\n", "\r\n"),
        ("toy/rows.py", "def unused() -> None:\n    pass", "def unused() -> int:\n    return 1"),
        ("toy/rows.py", "from __future__", "import os\nfrom __future__"),
        ("toy/boxes.py", "pass", "size = 1"),
        ("toy/__init__.py", "A package", "The package"),
    ],
)
def test_what_shapes_no_row_leaves_the_digest(path: str, old: str, new: str) -> None:
    assert digest_of(changed(path, old, new)) == digest_of(TOY)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("toy/rows.py", "LIMIT = 3", "LIMIT = 4"),
        ("toy/rows.py", 'with_="brackets"', 'with_="none"'),
        ("toy/rows.py", "# no comment", "# no comments"),
        ("toy/rows.py", "    # no comment\n\n", "    # no comment\n"),
        ("toy/rows.py", 'f"{number}"', 'f"{number:03}"'),
        ("toy/colours.py", "read(", "read_all("),
        ("toy/colours.json", "1", "2"),
        ("toy/sizes.py", "from json import dumps", "from json import loads"),
        ("toy/late.py", "return text", "return text.strip()"),
        ("toy/late.py", "REGISTERED['a'] = 1", "REGISTERED['a'] = 2"),
    ],
)
def test_what_shapes_rows_changes_the_digest(path: str, old: str, new: str) -> None:
    assert digest_of(changed(path, old, new)) != digest_of(TOY)


@pytest.mark.parametrize("entry", ["toy.rows:missing", "toy.missing:rows"])
def test_an_entry_that_is_not_there_is_refused(entry: str) -> None:
    with pytest.raises(LookupError, match="missing"):
        digest_of(TOY, entry)


def test_an_import_that_is_not_there_is_refused() -> None:
    with pytest.raises(LookupError, match=r"size_of in toy\.sizes"):
        digest_of({**TOY, "toy/sizes.py": ""})


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_nothing_but_comments_docstrings_and_blank_lines_is_dropped(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
        if isinstance(node.value.value, str)
    }
    lines = source.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            number, column = token.start
            lines[number - 1] = lines[number - 1][:column].rstrip()
    code = [line for number, line in enumerate(lines, 1) if number not in docstrings]
    inside = without_comments(source)
    assert [line for line in inside.split("\n") if line] == [line for line in code if line]


EDITS = {
    "a comment": ("osm/normalize.py", "def normalize(", "# why\ndef normalize(", ""),
    "a docstring": (
        "osm/normalize.py",
        '"""\n\nfrom __future__',
        'More.\n"""\nfrom __future__',
        "",
    ),
    "the command line": ("cli/main.py", "def ", "def x", ""),
    "a message of an error": ("osm/errors.py", "class ", "class X", ""),
    "the client": ("sources/overpass/client.py", "class OverpassClient", "class Client", ""),
    "a kind of helpers": ("helpers/kinds.py", '"toilets"', '"toilet"', "helper"),
    "a category": ("osm/taxonomy.json", "amenity/cafe", "amenity/coffee", "poi"),
    "a selected tag": ("osm/selection.py", '"railway": ("halt",', '"railway": (', "poi"),
    "a rule of POIs": ("osm/normalize.py", "np.round(area, 2)", "np.round(area, 1)", "poi"),
    "a rule of phones": ("text/phones.py", "def phones(", "def phones(*,", "poi"),
    "opening hours": ("text/hours.py", "def normalized_hours(", "def normalized_hours(*,", "all"),
    "a name": ("text/names.py", "class Namer", "class Namer(object)", "all"),
    "a geometry": ("osm/assemble.py", "def areas_m2(", "def areas_m2(*,", "poi"),
    "a feed": ("sources/feed/read.py", "def _table(", "def _table(*,", "feed"),
    "a link": ("helpers/link.py", "def _near(", "def _near(*,", "feed"),
}


@pytest.mark.parametrize(("path", "old", "new", "which"), EDITS.values(), ids=EDITS)
def test_a_change_reaches_the_datasets_whose_rows_it_shapes(
    path: str, old: str, new: str, which: str
) -> None:
    path = f"ingestion_pipeline/{path}"
    before = text_of(path)
    assert before is not None
    assert old in before

    def read(asked: str) -> str | None:
        text = text_of(asked)
        return text.replace(old, new) if asked == path and text else text

    now, edited = Code(), Code(read=read)
    differing = {name for name, code in CODE.items() if now.digest(code) != edited.digest(code)}
    assert differing == ({*CODE} if which == "all" else {*which.split()})


@pytest.mark.process
def test_code_is_found_in_a_zip_file(tmp_path: Path) -> None:
    archive = tmp_path / "packages.zip"
    with ZipFile(archive, "w") as packed:
        for path in (path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".json"}):
            packed.write(path, path.relative_to(PACKAGE.parent))
    program = (
        "from ingestion_pipeline.datasets import code_digest as it\n"
        f"print(it.__file__, it.Code().digest({CODE['poi']!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(archive)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    place, digest = done.stdout.split()
    assert place.startswith(str(archive))
    assert digest == Code().digest(CODE["poi"])
