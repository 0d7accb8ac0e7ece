"""The list of licences, what may be combined, and the text that names everybody."""

from __future__ import annotations

from itertools import permutations

import pytest
from packaging.licenses import canonicalize_license_expression

from ingestion_pipeline.helpers.licences import LICENCES, Credit, Licence, Verdict, judge, notice

OSM = Credit("poi", "osm", "ODbL-1.0", "© OpenStreetMap contributors")


def rules(verdict: Verdict) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.rule, finding.licences) for finding in verdict.findings]


@pytest.mark.parametrize("name", LICENCES)
def test_every_id_is_written_as_spdx_wants_it(name: str) -> None:
    assert canonicalize_license_expression(name) == name


@pytest.mark.parametrize("licence", LICENCES.values(), ids=lambda licence: licence.id)
def test_a_licence_goes_with_itself(licence: Licence) -> None:
    assert judge([licence.id, licence.id]) == Verdict("combinable", licence.id, ())


@pytest.mark.parametrize("licence", LICENCES.values(), ids=lambda licence: licence.id)
def test_what_asks_for_nothing_goes_everywhere(licence: Licence) -> None:
    if not licence.attribution:
        for whole in ("ODbL-1.0", "CC-BY-SA-4.0"):
            assert judge([licence.id, whole]) == Verdict("combinable", whole, ())


def test_two_share_alikes_conflict() -> None:
    verdict = judge(["CC-BY-SA-4.0", "ODbL-1.0", "CC0-1.0"])
    assert verdict.outcome == "conflict"
    assert not verdict.may_be_combined
    assert verdict.licence is None
    assert rules(verdict) == [("share_alikes_differ", ("CC-BY-SA-4.0", "ODbL-1.0"))]


@pytest.mark.parametrize("name", ["CC-BY-4.0", "CC-BY-3.0"])
def test_attribution_of_creative_commons_wants_a_waiver_beside_openstreetmap(name: str) -> None:
    verdict = judge(["ODbL-1.0", name])
    assert verdict.outcome == "permission_needed"
    assert rules(verdict) == [("permission_needed", (name, "ODbL-1.0"))]
    assert "OpenStreetMap Foundation asks publishers for a waiver" in verdict.findings[0].why


def test_a_permission_lets_it_be_combined() -> None:
    assert judge(["ODbL-1.0", "CC-BY-4.0"], permitted=["CC-BY-4.0"]) == Verdict(
        "combinable", "ODbL-1.0", ()
    )


def test_a_permission_does_not_help_against_two_share_alikes() -> None:
    verdict = judge(["ODbL-1.0", "CC-BY-SA-4.0"], permitted=["CC-BY-SA-4.0"])
    assert verdict.outcome == "conflict"


def test_a_licence_that_nobody_has_looked_at_is_refused() -> None:
    verdict = judge(["ODbL-1.0", "CC-BY-NC-4.0", ""])
    assert verdict.outcome == "unknown"
    assert rules(verdict) == [("unknown_licence", ("", "CC-BY-NC-4.0"))]


def test_everything_that_needs_permission_is_named() -> None:
    verdict = judge(["DL-DE-BY-2.0", "CC-BY-3.0", "ODbL-1.0", "OGL-UK-3.0"])
    assert [licences[0] for _, licences in rules(verdict)] == ["CC-BY-3.0", "DL-DE-BY-2.0"]


def test_without_a_share_alike_every_part_keeps_its_own_licence() -> None:
    assert judge(["CC-BY-4.0", "OGL-UK-3.0", "CC0-1.0"]) == Verdict("combinable", None, ())


def test_the_order_makes_no_difference() -> None:
    mix = ["ODbL-1.0", "CC-BY-4.0", "DL-DE-BY-2.0", "CC0-1.0"]
    assert len({judge(order) for order in permutations(mix)}) == 1


def test_a_notice_names_everybody_once() -> None:
    toilets = Credit("helper", "feed:toilets", "CC-BY-4.0", "© Town of Exempel")
    in_helpers = OSM._replace(dataset="helper")
    text = notice("Exempel", [OSM, toilets, in_helpers, OSM])
    assert text == (
        "Data of Exempel\n"
        "\n"
        "© Town of Exempel\n"
        "  For: helper from feed:toilets\n"
        "  Licence: Creative Commons Attribution 4.0 International (CC-BY-4.0), "
        "https://creativecommons.org/licenses/by/4.0/legalcode\n"
        "\n"
        "© OpenStreetMap contributors\n"
        "  For: helper from osm, poi from osm\n"
        "  Licence: Open Data Commons Open Database License v1.0 (ODbL-1.0), "
        "https://opendatacommons.org/licenses/odbl/1-0/\n"
        "  A database that is made from it and published has the same licence."
    )
    assert notice("Exempel", [in_helpers, toilets, OSM]) == text


def test_a_notice_does_not_keep_a_licence_back_that_it_does_not_know() -> None:
    text = notice("Exempel", [OSM._replace(licence="OLD-1.0")])
    assert "OLD-1.0, which this version does not know; ask the publisher" in text


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("OGL-Canada-2.0", "combinable"),
        ("LicenseRef-OGL-Toronto-1.0", "combinable"),
        ("LicenseRef-OGL-Vancouver", "combinable"),
        ("LicenseRef-etalab-1.0", "combinable"),
        ("OGL-UK-2.0", "combinable"),
        ("OGL-UK-1.0", "permission_needed"),
        ("LicenseRef-OGL-BC", "permission_needed"),
        ("LicenseRef-NYC-Open-Data", "permission_needed"),
        ("CC-BY-3.0-AT", "permission_needed"),
        ("CC-BY-3.0-AU", "permission_needed"),
        ("LicenseRef-CC-BY-2.1-JP", "permission_needed"),
    ],
)
def test_open_licences_of_cities_and_countries_have_an_answer(name: str, outcome: str) -> None:
    verdict = judge([name, "ODbL-1.0"])
    assert verdict.outcome == outcome
    assert ("waiver" in "".join(each.why for each in verdict.findings)) == ("CC-BY" in name)


@pytest.mark.parametrize("licence", LICENCES.values(), ids=lambda licence: licence.id)
def test_a_licence_has_a_name_and_an_address(licence: Licence) -> None:
    assert licence.name
    assert licence.url.startswith(("https://", "http://"))


def test_a_licence_that_is_not_in_the_list_can_be_given() -> None:
    own = Licence(
        "LicenseRef-Exempel",
        "Terms of Exempel",
        "https://example.org/terms",
        attribution=True,
        share_alike=False,
        database_right=False,
        goes_into=frozenset({"ODbL-1.0"}),
    )
    assert judge(["LicenseRef-Exempel", "ODbL-1.0"]).outcome == "unknown"
    assert judge(["LicenseRef-Exempel", "ODbL-1.0"], own=[own]).may_be_combined
    credit = Credit("helper", "feed:toilets", own.id, "© Town of Exempel")
    text = notice("Exempel", [credit], own=[own])
    assert "Licence: Terms of Exempel (LicenseRef-Exempel), https://example.org/terms" in text


def test_a_licence_of_the_list_cannot_be_given_other_answers() -> None:
    free = Licence(
        "CC-BY-4.0",
        "Free",
        "https://example.org",
        attribution=False,
        share_alike=False,
        database_right=True,
        goes_into=frozenset({"ODbL-1.0"}),
    )
    assert judge(["CC-BY-4.0", "ODbL-1.0"], own=[free]).outcome == "permission_needed"
