"""How rules are named, and when those of an earlier release still count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.datasets import rules
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.datasets.rules import (
    NAMED_LIBRARIES,
    proven_rules,
    rules_of,
    rules_of_feeds,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CODE = ("ingestion_pipeline.text.dates:status_on",)

CHANGED = """

The code or data that shapes rows of `{name}` is not what was proven to make the rows of {release}.

- If no row changes, prove it, and commit the file that this writes:
      OSM_TEST_DATA=... python scripts/previous_release.py prove {release}
- If rows change on purpose, remove `{name}` from datasets/proven_rules.json (`prove` does so
  with `--but {name}`), and note in CHANGELOG.md that all its days are made again after the upgrade.
"""


def test_the_rules_that_are_proven_are_those_of_the_code() -> None:
    now = {"feed": rules_of_feeds(), **{name: each.rules for name, each in DATASETS.items()}}
    for name, known in proven_rules().items():
        current = now[name]
        explained = CHANGED.format(name=name, release=known["release"])
        assert current.digest == known["digest"], explained
        assert (current.name, [*current.identity]) == (known["name"], known["identity"])


@pytest.fixture
def proven(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, dict[str, Any]]]:
    """What is proven: nothing, until a test adds to it."""
    file: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(rules, "proven_rules", lambda: file)
    rules_of.cache_clear()
    yield file
    rules_of.cache_clear()


def test_rules_are_named_by_their_digest(proven: dict[str, dict[str, Any]]) -> None:
    assert proven == {}
    found = rules_of("toys", CODE)
    assert found.name == f"toys rules {found.digest[:12]}"
    assert found.identity == (found.digest,)


def test_proven_rules_have_the_name_and_the_identity_of_the_earlier_release(
    proven: dict[str, dict[str, Any]],
) -> None:
    digest = rules_of("toys", CODE).digest
    rules_of.cache_clear()
    proven["toys"] = {"digest": digest, "name": "rules 1", "identity": ["a", "b"]}
    assert rules_of("toys", CODE) == ("rules 1", ("a", "b"), digest)


def test_a_proof_of_other_code_does_not_count(proven: dict[str, dict[str, Any]]) -> None:
    proven["toys"] = {"digest": "another", "name": "rules 1", "identity": ["a", "b"]}
    assert rules_of("toys", CODE).name.startswith("toys rules ")


def test_data_is_part_of_the_rules(proven: dict[str, dict[str, Any]]) -> None:
    assert proven == {}
    assert rules_of("toys", CODE, "1").digest != rules_of("toys", CODE, "2").digest


@pytest.mark.parametrize("name", DATASETS)
def test_the_rules_version_names_the_libraries_that_decide_what_a_row_says(name: str) -> None:
    version = DATASETS[name].rules_version
    for library in NAMED_LIBRARIES:
        assert f"; {library} " in version


def test_the_rules_version_of_pois_names_the_table_of_categories() -> None:
    assert "id-tagging-schema" in DATASETS["poi"].rules_version
