"""Licences of feeds, the rules for combining them in one database, and attribution notices.

The rules and their sources are in docs/adr/009-licences.md. They are an engineering interpretation
that prevents mistakes early, not legal advice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

ODBL = "ODbL-1.0"
BY_SA = "CC-BY-SA-4.0"
_BOTH = frozenset({ODBL, BY_SA})

Outcome = Literal["combinable", "permission_needed", "conflict", "unknown"]
"""Whether data may be combined in one database.

- `combinable`: yes, with every attribution.
- `permission_needed`: only with the publisher's written permission.
- `conflict`: two licences require different licences of the result.
- `unknown`: a licence is not in the list."""


@dataclass(frozen=True, slots=True)
class Licence:
    """A public licence, or a statement that there are no rights.

    Attributes:
        id: SPDX identifier; `LicenseRef-...` for what SPDX's list does not have.
        name: Its name in English.
        url: The URL of its text.
        attribution: Whether the source must be named.
        share_alike: Whether a database made from the data must have this licence too.
        database_right: Whether the text covers the right in a database (the European "sui generis"
            right) in addition to copyright.
        goes_into: The share-alike licences of databases that may include the data without
            permission.
    """

    id: str
    name: str
    url: str
    attribution: bool
    share_alike: bool
    database_right: bool
    goes_into: frozenset[str]


def _free(id_: str, name: str, url: str, *, database_right: bool = True) -> Licence:
    return Licence(
        id_,
        name,
        url,
        attribution=False,
        share_alike=False,
        database_right=database_right,
        goes_into=_BOTH,
    )


def _by(
    id_: str, name: str, url: str, *goes_into: str, share_alike: bool = False, covers: bool = True
) -> Licence:
    return Licence(
        id_,
        name,
        url,
        attribution=True,
        share_alike=share_alike,
        database_right=covers,
        goes_into=frozenset(goes_into),
    )


def _cc_by(
    id_: str, version: str, of: str = "", *, jurisdiction: str = "", into: tuple[str, ...] = ()
) -> Licence:
    """Return an earlier Creative Commons Attribution licence, or one of a country."""
    name = f"Creative Commons Attribution {version} {of or 'Generic'}"
    path = "/".join(filter(None, (version, jurisdiction)))
    return _by(id_, name, f"{_CC}/licenses/by/{path}/legalcode", *into, covers=False)


_CC = "https://creativecommons.org"
_ODC = "https://opendatacommons.org/licenses"

LICENCES: Mapping[str, Licence] = {
    licence.id: licence
    for licence in (
        _by(
            ODBL,
            "Open Data Commons Open Database License v1.0",
            f"{_ODC}/odbl/1-0/",
            ODBL,
            share_alike=True,
        ),
        _by(
            BY_SA,
            "Creative Commons Attribution Share Alike 4.0 International",
            f"{_CC}/licenses/by-sa/4.0/legalcode",
            BY_SA,
            share_alike=True,
        ),
        _by(
            "CC-BY-4.0",
            "Creative Commons Attribution 4.0 International",
            f"{_CC}/licenses/by/4.0/legalcode",
            BY_SA,
        ),
        _cc_by("CC-BY-3.0", "3.0", "Unported", into=(BY_SA,)),
        _cc_by("CC-BY-3.0-AT", "3.0", "Austria", jurisdiction="at"),
        _cc_by("CC-BY-3.0-AU", "3.0", "Australia", jurisdiction="au"),
        _cc_by("CC-BY-3.0-DE", "3.0", "Germany", jurisdiction="de"),
        _cc_by("CC-BY-3.0-NL", "3.0", "Netherlands", jurisdiction="nl"),
        _cc_by("CC-BY-3.0-US", "3.0", "United States", jurisdiction="us"),
        _cc_by("CC-BY-3.0-IGO", "3.0", "IGO", jurisdiction="igo"),
        _cc_by("CC-BY-2.5", "2.5"),
        _cc_by("CC-BY-2.5-AU", "2.5", "Australia", jurisdiction="au"),
        _cc_by("LicenseRef-CC-BY-2.1-JP", "2.1", "Japan", jurisdiction="jp"),
        _cc_by("CC-BY-2.0", "2.0"),
        _by("ODC-By-1.0", "Open Data Commons Attribution License v1.0", f"{_ODC}/by/1-0/", ODBL),
        _by(
            "OGL-UK-3.0",
            "Open Government Licence v3.0",
            "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/",
            ODBL,
            BY_SA,
        ),
        _by(
            "OGL-UK-2.0",
            "Open Government Licence v2.0",
            "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/2/",
            ODBL,
        ),
        _by(
            "OGL-UK-1.0",
            "Open Government Licence v1.0",
            "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/1/",
            covers=False,
        ),
        _by(
            "OGL-Canada-2.0",
            "Open Government Licence - Canada",
            "https://open.canada.ca/en/open-government-licence-canada",
            ODBL,
            covers=False,
        ),
        _by(
            "LicenseRef-OGL-Toronto-1.0",
            "Open Government Licence - Toronto",
            "https://open.toronto.ca/open-data-license/",
            ODBL,
            covers=False,
        ),
        _by(
            "LicenseRef-OGL-Vancouver",
            "Open Government Licence - Vancouver",
            "https://opendata.vancouver.ca/pages/licence/",
            ODBL,
            covers=False,
        ),
        _by(
            "LicenseRef-OGL-Ottawa-2.0",
            "Open Government Licence - City of Ottawa",
            "https://ottawa.ca/en/city-hall/get-know-your-city/open-data"
            "#open-data-licence-version-2-0",
            covers=False,
        ),
        _by(
            "LicenseRef-ODL-Hamilton",
            "City of Hamilton Open Data Licence",
            "https://www.hamilton.ca/city-initiatives/strategies-actions/open-accessible-data",
            ODBL,
            covers=False,
        ),
        _by(
            "LicenseRef-OGL-Ontario",
            "Open Government Licence - Ontario",
            "https://www.ontario.ca/page/open-government-licence-ontario",
            covers=False,
        ),
        _by(
            "LicenseRef-OGL-Alberta",
            "Open Government Licence - Alberta",
            "https://open.alberta.ca/licence",
            covers=False,
        ),
        _by(
            "LicenseRef-OGL-BC",
            "Open Government Licence - British Columbia",
            "https://www2.gov.bc.ca/gov/content/data/policy-standards/data-policies/open-data"
            "/open-government-licence-bc",
            covers=False,
        ),
        _by(
            "LicenseRef-NYC-Open-Data",
            "Terms of use of NYC Open Data",
            "https://cityofnewyork.github.io/opendatatsm/publicpolicies.html",
            covers=False,
        ),
        _by(
            "LicenseRef-PDL-Japan-1.0",
            "Public Data License (Japan) 1.0",
            "https://osmfoundation.org/wiki/PDL_Japan_and_local_variants",
            covers=False,
        ),
        _by(
            "NLOD-2.0",
            "Norwegian Licence for Open Government Data (NLOD) 2.0",
            "https://data.norge.no/nlod/en/2.0",
            ODBL,
            BY_SA,
        ),
        _by(
            "NLOD-1.0",
            "Norwegian Licence for Open Government Data (NLOD) 1.0",
            "https://data.norge.no/nlod/en/1.0",
        ),
        _by(
            "etalab-2.0",
            "Etalab Open License 2.0",
            "https://www.etalab.gouv.fr/licence-ouverte-open-licence",
            ODBL,
            BY_SA,
        ),
        _by(
            "LicenseRef-etalab-1.0",
            "Etalab Open License 1.0",
            "http://purl.org/NET/rdflicense/OL1.0",
            ODBL,
            covers=False,
        ),
        _by(
            "DL-DE-BY-2.0",
            "Data licence Germany - attribution - version 2.0",
            "https://www.govdata.de/dl-de/by-2-0",
            covers=False,
        ),
        _by(
            "LicenseRef-IODL-2.0",
            "Italian Open Data License v2.0",
            "https://www.dati.gov.it/iodl/2.0/",
        ),
        _free(
            "CC0-1.0",
            "Creative Commons Zero v1.0 Universal",
            f"{_CC}/publicdomain/zero/1.0/legalcode",
        ),
        _free(
            "PDDL-1.0",
            "Open Data Commons Public Domain Dedication & License 1.0",
            f"{_ODC}/pddl/1-0/",
        ),
        _free(
            "DL-DE-ZERO-2.0",
            "Data licence Germany - zero - version 2.0",
            "https://www.govdata.de/dl-de/zero-2-0",
            database_right=False,
        ),
        _free(
            "CC-PDM-1.0",
            "Creative Commons Public Domain Mark 1.0 Universal",
            f"{_CC}/publicdomain/mark/1.0/",
            database_right=False,
        ),
        _free(
            "LicenseRef-public-domain",
            "Public domain, as the publisher states",
            "https://wiki.openstreetmap.org/wiki/Import/ODbL_Compatibility",
            database_right=False,
        ),
    )
}
"""Every licence that a feed may have, by id."""


class Finding(NamedTuple):
    """A rule that a combination breaks.

    Attributes:
        rule: Its name; see docs/adr/009-licences.md.
        licences: The ids that break it.
        why: A sentence for a person.
    """

    rule: Literal["unknown_licence", "share_alikes_differ", "permission_needed"]
    licences: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether data under several licences may be one database.

    Attributes:
        outcome: The worst of the findings, or `combinable`.
        licence: The licence that the database must have, or None if its parts keep their own.
        findings: Every rule that is broken.
    """

    outcome: Outcome
    licence: str | None
    findings: tuple[Finding, ...]

    @property
    def may_be_combined(self) -> bool:
        """Whether one database may be produced."""
        return self.outcome == "combinable"


def judge(
    licences: Iterable[str], *, permitted: Collection[str] = (), own: Iterable[Licence] = ()
) -> Verdict:
    """Check the combination of the licences of all sources with places of one kind in one city.

    That is the unit because OSMF's guideline on collective databases considers data independent if
    all data of one type in one region is from OpenStreetMap, or none of it.

    Args:
        licences: Their ids; order and repetitions do not matter.
        permitted: The ids for which all publishers have given written permission.
        own: Licences that are not in the list.
    """
    mix = sorted(set(licences))
    listed = {**{licence.id: licence for licence in own}, **LICENCES}
    unknown = tuple(name for name in mix if name not in listed)
    if unknown:
        finding = Finding(
            "unknown_licence",
            unknown,
            f"{_listed(unknown)}: not in the list of /manual/adr/009-licences/, so it is not known "
            "what the licence allows",
        )
        return Verdict("unknown", None, (finding,))
    share_alikes = tuple(name for name in mix if listed[name].share_alike)
    if len(share_alikes) > 1:
        finding = Finding(
            "share_alikes_differ",
            share_alikes,
            f"{_listed(share_alikes)}: each requires a database made from it to have that "
            "licence and "
            "no other",
        )
        return Verdict("conflict", None, (finding,))
    if not share_alikes:
        return Verdict("combinable", mix[0] if len(mix) == 1 else None, ())
    (whole,) = share_alikes
    findings = tuple(
        Finding(
            "permission_needed",
            (name, whole),
            _why_permission(name, whole),
        )
        for name in mix
        if whole not in listed[name].goes_into and name not in permitted
    )
    return Verdict("permission_needed" if findings else "combinable", whole, findings)


def _why_permission(name: str, whole: str) -> str:
    if whole == ODBL and "CC-BY-" in name:
        return (
            f"{name} in a database under {ODBL}: the OpenStreetMap Foundation asks publishers for "
            "a waiver, on how they are named and on technical protection; get one from the "
            "publisher, or keep the data of this kind apart"
        )
    return (
        f"{name} in a database under {whole}: neither text allows it by itself; get the "
        "publisher's written permission, or keep the data of this kind apart"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


class Credit(NamedTuple):
    """The source of data in a dataset.

    Attributes:
        dataset: `poi`, `helper`.
        source: `osm`, or `feed:<slug>`.
        licence: Its id.
        attribution: The text that a product must show.
    """

    dataset: str
    source: str
    licence: str
    attribution: str


def notice(city: str, credits_: Iterable[Credit], *, own: Iterable[Licence] = ()) -> str:
    """Return the attribution notice of a city's data.

    Args:
        city: The city's name.
        credits_: The sources of the data; order and repetitions do not matter.
        own: Licences of the city's feeds that are not in the list.

    Returns:
        Plain text of several lines: for each licence and attribution the datasets, the licence's
        name and URL, and its requirements for a database made from the data.
    """
    listed = {**{licence.id: licence for licence in own}, **LICENCES}
    grouped: dict[tuple[str, str], set[str]] = {}
    for credit in credits_:
        grouped.setdefault((credit.licence, credit.attribution), set()).add(
            f"{credit.dataset} from {credit.source}"
        )
    paragraphs = [f"Data of {city}"]
    for (licence, attribution), uses in sorted(grouped.items()):
        lines = [attribution, f"  For: {', '.join(sorted(uses))}", f"  {_named(licence, listed)}"]
        if licence in listed and listed[licence].share_alike:
            lines.append("  A database that is made from it and published has the same licence.")
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def _named(licence: str, listed: Mapping[str, Licence]) -> str:
    known = listed.get(licence)
    if known is None:
        return f"Licence: {licence}, which this version does not know; ask the publisher"
    return f"Licence: {known.name} ({known.id}), {known.url}"
