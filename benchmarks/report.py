"""What was found: a Markdown table for people, a JSON file with every single value.

Belongs here: telling. Does not belong here: measuring (`harness.py`).
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks import peers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.harness import Comparison, Outcome, Values

TIMES = "×"
"""Marks a ratio to the first contender of the same input."""


@dataclass
class Table:
    """The comparisons of one scenario.

    Attributes:
        title: What is compared.
        rows: A comparison, and what came of it.
    """

    title: str
    rows: list[tuple[Comparison, list[Outcome]]] = field(default_factory=list)

    def markdown(self) -> str:
        """Give the table, with a row for each contender."""
        figures = list(dict.fromkeys(name for _, _, told in self._told() for name in told))
        head = ["input", "what", *figures]
        lines = [head, ["---", "---", *("---:" for _ in figures)]]
        for input_, outcome, told in self._told():
            if outcome.contender.missing is not None:
                cells = [f"absent: {outcome.contender.missing}", *("" for _ in figures[1:])]
            else:
                cells = [number(told[name]) if name in told else "" for name in figures]
            lines.append([input_, outcome.contender.name, *cells])
        rows = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return f"### {self.title}\n\n{rows}\n"

    def record(self) -> dict[str, Any]:
        """Give everything, run by run."""
        return {
            "title": self.title,
            "comparisons": [
                {
                    "input": comparison.input.described(),
                    "contenders": [
                        {
                            "name": outcome.contender.name,
                            "missing": outcome.contender.missing,
                            "runs": outcome.values,
                            "median": outcome.medians(),
                            "beside_the_first": outcome.beside(outcomes[0], comparison.ratios),
                        }
                        for outcome in outcomes
                    ],
                }
                for comparison, outcomes in self.rows
            ],
        }

    def _told(self) -> Iterator[tuple[str, Outcome, Values]]:
        """Give each contender with its input, and its figures with a ratio beside each."""
        for comparison, outcomes in self.rows:
            for outcome in outcomes:
                ratios = outcome.beside(outcomes[0], comparison.ratios)
                told: Values = {}
                for name, value in outcome.medians().items():
                    told[name] = value
                    if name in ratios:
                        told[f"{TIMES} {name}"] = ratios[name]
                yield str(comparison.input), outcome, told


def number(value: float) -> str:
    """Write a figure with three digits that count; a whole one as it is."""
    if float(value).is_integer():
        return f"{value:,.0f}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2  # noqa: PLR2004
    return f"{value:,.{digits}f}" if abs(value) >= 0.1 else f"{value:.2g}"  # noqa: PLR2004


def machine() -> dict[str, str | int]:
    """Tell what this ran on."""
    cores = Path("/proc/cpuinfo")
    models = [
        line.partition(":")[2].strip()
        for line in (cores.read_text(encoding="utf-8").splitlines() if cores.exists() else [])
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": psutil.cpu_count() or 0,
        "memory_mb": psutil.virtual_memory().total // 2**20,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def write(folder: Path, tables: Sequence[Table], *, runs: int) -> str:
    """Write `results.md` and `results.json`; give the former's text."""
    here, versions = machine(), peers.versions()
    where = ", ".join(f"{name} {value}" for name, value in {**here, **versions}.items())
    text = "\n".join(table.markdown() for table in tables)
    text += f"\nMedians of up to {runs} runs by turns; {TIMES}: beside the first of its input.\n"
    text += f"On: {where}.\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(text, encoding="utf-8")
    record = {
        "machine": here,
        "versions": versions,
        "runs": runs,
        "tables": [table.record() for table in tables],
    }
    (folder / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return text
