"""The digest of the code and data that shape rows, and of nothing else.

It covers all definitions of the package that the given functions need. Datasets list these
functions (`Dataset.code`).

The source is read as text. Comments, docstrings and blank lines are dropped, and a module is split
into its top-level statements. A definition needs every definition whose name it contains. Names
that are imported from the package, at the top or in a function, are followed. Imports for the type
checker are not, so methods of arguments need their own entry. A data file beside the module counts
if a definition contains its name. Unlike a syntax tree, text is the same under every version of
Python, and takes milliseconds to read.

Wrapping a line differently changes the digest. Then rows are shaped again and compared, and none is
written.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.columns.hashing import digest_of_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

NOT_SHAPING = frozenset(
    {
        # Nothing is staged after an error, so its text does not matter.
        "ingestion_pipeline.core.errors",
        "ingestion_pipeline.osm.errors",
        "ingestion_pipeline.sources.feed.errors",
        # Results have the order of the spans on any number of cores.
        "ingestion_pipeline.core.parallel",
        # Only the default of an argument that every dataset passes.
        "ingestion_pipeline.osm.selection:POIS",
    }
)
"""Modules and definitions that have no effect on rows; the search does not enter them."""

_TRIPLE = r'\"{3}[^"\\]*(?:(?:\\.|"{1,2}(?!"))[^"\\]*)*\"{3}'
_LEXED = re.compile(
    rf"""
    (?m:^)[ \t]*(?:\#[^\n]*)?(?:\n|\Z)          # a line without code
    | (?m:^)[ \t]*[rR]?{_TRIPLE}[ \t]*(?:\n|\Z) # a docstring
    | [ \t]*\#[^\n]*                            # a comment behind code
    | ({_TRIPLE} | "[^"\\\n]*(?:\\.[^"\\\n]*)*" | '[^'\\\n]*(?:\\.[^'\\\n]*)*')  # a text: it stays
    """,
    re.VERBOSE | re.DOTALL,
)
_STATEMENT = re.compile(r"^(?=[A-Za-z_@])", re.MULTILINE)
_DEFINED = re.compile(
    r"""
    (?:@[^\n]*\n(?:[\s)\]}][^\n]*\n)*)*(?:async\ )?(?:def|class)\ (?P<name>\w+)
    | (?P<names>\w+(?:,\ \w+)*)(?::[^=\n]+)?\ =[ ]
    """,
    re.VERBOSE,
)
_IMPORTED = re.compile(
    r"^[ \t]*(?:from +([\w.]+) +import +(?:\(([^)]*)\)|([^\n]+))|import +([^\n]+))",
    re.MULTILINE,
)
_NAME = re.compile(r"[A-Za-z_]\w*")
_DATA = re.compile(r"""["']([\w-]+\.(?:json|toml))["']""")


class Module(NamedTuple):
    """A module's source, split into its top-level statements.

    Attributes:
        definitions: Statements by the name that they define.
        others: Statements that define no name; every definition of the module needs them.
        imported: The origins of each imported name: a module, and a name in it ("" for the module).
    """

    definitions: Mapping[str, Sequence[str]]
    others: Sequence[str]
    imported: Mapping[str, Sequence[tuple[str, str]]]


def text_of(path: str) -> str | None:
    """Return the text of an installed file such as `ingestion_pipeline/osm/locate.py`, or None."""
    package, _, below = path.partition("/")
    file = files(package).joinpath(below)
    return file.read_text(encoding="utf-8") if file.is_file() else None


def without_comments(source: str) -> str:
    """Return the lines of code of a module: no comments, no docstrings, no blank lines."""
    return _LEXED.sub(r"\1", source.replace("\r\n", "\n"))


class Code:
    """The source code of packages, to look up definitions."""

    def __init__(
        self,
        packages: Collection[str] = ("ingestion_pipeline",),
        read: Callable[[str], str | None] = text_of,
    ) -> None:
        """Set the packages; nothing is read yet.

        Args:
            packages: The packages whose modules are followed.
            read: Returns the text of a file by its path below the folder of packages, or None.
        """
        self._packages = packages
        self._read = cache(read)
        self._module = cache(self._split)
        self._mentioned = cache(self._find_mentioned)
        self._data_in = cache(self._find_data)

    def digest(self, entries: Iterable[str]) -> str:
        """Return the digest of everything that the given definitions need; see `needed`."""
        texts = ("\0".join(each) for each in sorted(self.needed(entries)))
        return digest_of_bytes("\0\0".join(texts).encode())

    def needed(self, entries: Iterable[str]) -> set[tuple[str, str]]:
        """Return the modules and texts of everything that the given definitions need.

        Args:
            entries: The definitions, as `package.module:name`.

        Raises:
            LookupError: A definition, or one that it needs, is not in the source.
        """
        places = [(module, name) for module, _, name in (each.partition(":") for each in entries)]
        seen: set[tuple[str, str]] = set()
        needed: set[tuple[str, str]] = set()
        while places:
            home, name = place = places.pop()
            if place in seen or not NOT_SHAPING.isdisjoint((home, f"{home}:{name}")):
                continue
            seen.add(place)
            module = self._module(home)
            if module is None or not (name in module.definitions or name in module.imported):
                raise LookupError(f"there is no definition of {name} in {home}")
            for of, what in module.imported.get(name, ()):
                if not self._follows(of):
                    needed.add((home, f"{name} is {of}.{what}"))
                elif not self._whole(of, what):
                    places.append((of, what))
            for text in (*module.definitions.get(name, ()), *module.others):
                if (home, text) not in needed:
                    needed.add((home, text))
                    places += self._mentioned(home, text)
                    needed.update((home, data) for data in self._data_in(home, text))
        return needed

    def _find_mentioned(self, home: str, text: str) -> Collection[tuple[str, str]]:
        """Return the definitions and imports of a module whose names a text contains."""
        module = self._module(home)
        assert module is not None  # the text comes from this module
        found = set()
        for name in {*_NAME.findall(text)}:
            if name in module.definitions or name in module.imported:
                found.add((home, name))
            for each in module.imported.get(name, ()):
                if whole := self._whole(*each):
                    found.update((whole, used) for used in re.findall(rf"\b{name}\.(\w+)", text))
        return found

    def _whole(self, module: str, name: str) -> str:
        """Return the module that is imported as a whole; "" if a name in a module is imported."""
        if not self._follows(module):
            return ""
        imported = self._module(module)
        if name and imported and (name in imported.definitions or name in imported.imported):
            return ""
        whole = f"{module}.{name}".rstrip(".")
        return whole if self._module(whole) else ""

    def _find_data(self, home: str, text: str) -> Collection[str]:
        """Return the data files beside a module that a text names."""
        folder = home.rpartition(".")[0].replace(".", "/")
        found = (self._read(f"{folder}/{name}") for name in _DATA.findall(text))
        return {data for data in found if data is not None}

    def _follows(self, module: str) -> bool:
        return module.partition(".")[0] in self._packages

    def _split(self, name: str) -> Module | None:
        """Return a module, split into statements; None if the packages have no such module."""
        if not self._follows(name):
            return None
        path = name.replace(".", "/")
        source = self._read(f"{path}.py")
        if source is None:
            source = self._read(f"{path}/__init__.py")
        if source is None:
            return None
        definitions: defaultdict[str, list[str]] = defaultdict(list)
        imported: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        others = []
        for text in _statements(source):
            for local, what in _imports(text):
                imported[local].append(what)
            if found := _DEFINED.match(text):
                for each in _NAME.findall(found["name"] or found["names"]):
                    definitions[each].append(text)
            elif not text.startswith(("import ", "from ")):
                others.append(text)
        return Module(definitions, others, imported)


def _statements(source: str) -> Iterator[str]:
    """Yield a module's top-level statements, except those for the type checker only."""
    decorators = ""
    for text in _STATEMENT.split(without_comments(source)):
        if text.startswith("@"):
            decorators += text
        elif text and not text.startswith("if TYPE_CHECKING:"):
            yield decorators + text
            decorators = ""


def _imports(text: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the imports of a text: the local name, and the module and name of its origin."""
    for module, in_brackets, on_line, modules in _IMPORTED.findall(text):
        for each in (in_brackets or on_line or modules).split(","):
            what, _, local = each.strip().partition(" as ")
            if module and what:
                yield local or what, (module, what)
            elif what:
                yield local or what.partition(".")[0], (what, "")
