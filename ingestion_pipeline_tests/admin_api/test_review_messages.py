"""The words of the review page: the same in each language, and one for each name that it shows."""

from __future__ import annotations

import json
import re
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import pytest

from ingestion_pipeline.core.legend import CHANGES
from ingestion_pipeline.promotion.difference import Difference
from ingestion_pipeline.promotion.events import KINDS
from ingestion_pipeline.promotion.gates import Past, StagedDay, Verdict, judged
from ingestion_pipeline.promotion.ledger import Status
from ingestion_pipeline.promotion.rows import COLUMNS
from ingestion_pipeline.quality.catalogue import CHECKS
from ingestion_pipeline.staging.tables import content_columns, poi_ingestion_staging

PAGE = Path(str(files("ingestion_pipeline").joinpath("admin_api/review/page")))
LANGUAGES = {"en": {"one", "other"}, "ru": {"one", "few", "many", "other"}}
"""The plural forms of each language (CLDR)."""


def messages(language: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAGE / f"messages.{language}.json").read_text("utf-8"))
    return found


def values_in(message: str | dict[str, str]) -> set[str]:
    texts = [message] if isinstance(message, str) else message.values()
    return {name for text in texts for name in re.findall(r"\{(\w+)\}", text)}


def test_both_languages_have_the_same_messages_with_the_same_values() -> None:
    english, russian = messages("en"), messages("ru")
    assert list(english) == list(russian)
    for key, message in english.items():
        assert isinstance(message, dict) == isinstance(russian[key], dict), key
        assert values_in(message) == values_in(russian[key]), key


@pytest.mark.parametrize(("language", "forms"), LANGUAGES.items(), ids=LANGUAGES)
def test_a_message_with_a_number_has_every_plural_form(language: str, forms: set[str]) -> None:
    for key, message in messages(language).items():
        if isinstance(message, dict):
            assert set(message) == forms, key
            assert all("{n}" in text for text in message.values()), key


def test_russian_is_written_in_cyrillic() -> None:
    allowed = r"API|ADMIN_API_TOKEN|OpenStreetMap|WebGL|\{\w+\}"
    for key, message in messages("ru").items():
        texts = [message] if isinstance(message, str) else message.values()
        for text in texts:
            assert not re.search("[A-Za-z]", re.sub(allowed, "", text)), key


def test_every_message_that_a_module_names_exists_and_every_message_is_used() -> None:
    words = "\n".join(path.read_text("utf-8") for path in PAGE.glob("*.*s"))
    words += (PAGE / "index.html").read_text("utf-8")
    static = set(re.findall(r'"([a-z_.]+)"', words)) | set(re.findall(r"`([a-z_]+)\.\$\{", words))
    static |= {f"{key}_none" for key in static}
    for key in messages("en"):
        assert key in static or key.partition(".")[0] in static, key
    named = set(re.findall(r'\bt\("(\w+)"', words)) | set(
        re.findall(r'\btext\("\w+", "(\w+)"', words)
    )
    named |= set(re.findall(r'\bbutton\("(\w+)"', words))
    named |= set(re.findall(r'data-t(?:-label)?="(\w+)"', words))
    assert named <= set(messages("en"))


def test_every_kind_gate_verdict_status_check_and_column_has_words() -> None:
    kinds = {*KINDS, *(group.key for group in CHANGES.groups)}
    names = {f"kind.{kind}" for kind in kinds}
    names |= {f"verdict.{verdict}" for verdict in get_args(Verdict)}
    names |= {f"status.{status}" for status in get_args(Status)}
    names |= {f"check_name.{check.name}" for check in CHECKS}
    columns = {*COLUMNS, *content_columns(poi_ingestion_staging)}
    names |= {f"column.{column}" for column in columns}
    names |= {f"gate{about}.{name}" for name in gates() for about in ("", "_about")}
    assert names - set(messages("en")) == set()


def gates() -> list[str]:
    """Return the names of all gates."""
    nothing = Difference(changes=[], ambiguous=[], retired=[])
    staged = StagedDay(
        day=date(2024, 6, 1),
        accepted_reason=None,
        stale_reason=None,
        warnings={},
        licences=[],
        unlicensed=[],
    )
    past = Past(day=None, totals=[], shares=[])
    return [gate.name for gate in judged(nothing, staged, past)]
