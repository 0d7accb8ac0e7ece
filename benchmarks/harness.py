"""Measuring by turns: contenders, what a process costs, and what a comparison found.

Belongs here: how anything is measured. Does not belong here: what (`scenarios/`), with which data
(`inputs.py`), and how it is told (`report.py`).

All contenders of a comparison run once in each round, one after the other, so that a noisy machine
troubles all alike. A figure is the median of the rounds; a ratio is the median of the rounds' own
ratios to the first contender.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Values = dict[str, float]
"""What one run of a contender gave: figures by their names, which have the unit in them."""

ROOT = Path(__file__).parents[1]
STOPWATCH = Path(__file__).with_name("stopwatch.py")
UNWANTED = {"PYTHONDONTWRITEBYTECODE", "CITIES_FILE", "DATA_DIR", "DATABASE_URL", "OSM_EXTRACT"}
"""Environment variables that would measure something else than what a user has."""


@dataclass(frozen=True)
class Contender:
    """Something that is run and measured.

    Attributes:
        name: What it is.
        run: Runs it once; gives its figures.
        missing: What to install, where it cannot run on this machine.
    """

    name: str
    run: Callable[[], Values]
    missing: str | None = None


class Given(Protocol):
    """What contenders work on; its text names it."""

    def described(self) -> dict[str, str | int]:
        """Tell what it is, for the record."""


@dataclass(frozen=True)
class Words:
    """What needs no more than words to be known again."""

    name: str

    def __str__(self) -> str:
        """Give the words."""
        return self.name

    def described(self) -> dict[str, str | int]:
        """Tell what it is, for the record."""
        return {"name": self.name}


@dataclass(frozen=True)
class Comparison:
    """Contenders that do the same with the same input.

    Attributes:
        input: What they work on.
        contenders: The first one is what the others are told beside.
        ratios: The figures that are told as ratios to the first contender's.
        runs: How many rounds, at most.
    """

    input: Given
    contenders: Sequence[Contender]
    ratios: tuple[str, ...] = ("wall s",)
    runs: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What a contender gave, run by run; nothing where it is absent."""

    contender: Contender
    values: list[Values] = field(default_factory=list)

    def medians(self) -> Values:
        """Give the median of each figure."""
        names = self.values[0] if self.values else {}
        return {name: statistics.median(each[name] for each in self.values) for name in names}

    def beside(self, first: Outcome, names: Sequence[str]) -> Values:
        """Give the ratio to another outcome, pair by pair, for the figures that both have."""
        pairs = list(zip(self.values, first.values, strict=False))
        return {
            name: statistics.median(mine[name] / other[name] for mine, other in pairs)
            for name in names
            if pairs and all(name in mine and other.get(name) for mine, other in pairs)
        }


def compare(comparison: Comparison, *, runs: int) -> list[Outcome]:
    """Run all contenders that are present by turns."""
    outcomes = [Outcome(contender) for contender in comparison.contenders]
    for _ in range(min(runs, comparison.runs or runs)):
        for outcome in outcomes:
            if outcome.contender.missing is None:
                outcome.values.append(outcome.contender.run())
    return outcomes


def measure(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Values:
    """Run a process and take its costs from the operating system's accounting.

    Args:
        command: The program and its arguments.
        environment: Variables beside those of this process.

    Returns:
        `wall s`; `CPU s` of the process and of its children; `peak MB`, the most memory that it or
        the largest of its children ever had; and what it wrote on its last line, if that is a JSON
        object of numbers.

    Raises:
        RuntimeError: It failed; the message has what it said.
    """
    cost, told = _run(command, environment or {})
    return cost | dict(told or {})


def tell(command: Sequence[str | Path]) -> Any:
    """Run a process; give only what it wrote on its last line, a JSON value, or None.

    Raises:
        RuntimeError: It failed; the message has what it said.
    """
    return _run(command, {})[1]


def _run(command: Sequence[str | Path], environment: Mapping[str, str]) -> tuple[Values, Any]:
    inherited = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    with tempfile.TemporaryDirectory() as folder:
        cost = Path(folder, "cost.json")
        done = subprocess.run(
            [sys.executable, "-I", "-S", STOPWATCH, cost, *command],
            env=inherited | {"PYTHONPATH": str(ROOT)} | dict(environment),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command} failed:\n{done.stdout}\n{done.stderr}")
        values: Values = json.loads(cost.read_text(encoding="utf-8"))
    last = (done.stdout.strip().splitlines() or [""])[-1]
    return values, json.loads(last) if last.startswith(("{", "[")) else None


def program(name: str, *arguments: str | Path) -> list[str | Path]:
    """Give the command that runs one of `benchmarks/programs/`."""
    return [sys.executable, "-m", f"benchmarks.programs.{name}", *arguments]


def process(
    name: str,
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    missing: str | None = None,
) -> Contender:
    """Make a contender of a command."""
    return Contender(name, lambda: measure(command, environment), missing)


def each_once(names: Sequence[str], among: Mapping[str, object]) -> Iterator[str]:
    """Give the names that are asked for, in their own order.

    Raises:
        ValueError: There is no such name.
    """
    unknown = sorted(set(names) - set(among))
    if unknown:
        raise ValueError(f"there is no {', '.join(unknown)}; there are {', '.join(among)}")
    yield from (name for name in among if not names or name in names)
