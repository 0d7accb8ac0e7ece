"""The cities that the pipeline knows, read from a data file and checked as a whole.

Belongs here: `City`, the registry `Cities`, the rules of the file (`cities.toml`; the keys are
explained in docs/adding-a-city.md), and the comparison of a city's names with those of a boundary.
Does not belong here: geometry of boundaries (`osm/assemble.py`) and Dagster's partitions
(`defs/partitions.py`).
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast
from zoneinfo import ZoneInfo, available_timezones

from ingestion_pipeline.config.feeds import Feed, read_feeds
from ingestion_pipeline.config.toml_tables import (
    Key,
    did_you_mean,
    is_language,
    place_of,
    read_table,
    shown,
    whole_number,
)
from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.core.identity import SLUG
from ingestion_pipeline.core.locations import require_template
from ingestion_pipeline.helpers.kinds import KINDS
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.boundary_file import boundary_file_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ingestion_pipeline.osm.boundary_file import BoundaryFile

SHIPPED_FILE = Path(__file__).parent.parent / "cities.toml"
"""The file that is used where the setting CITIES_FILE is not set."""

OsmSource = Literal["overpass", "extract"]

MAXIMUM_BBOX_DEGREES = 3.0
"""The longest side of a city's bbox; the widest real city here (Moscow) has 1.2 degrees."""

TEMPLATE_FIELDS = ("region", "day")
"""What a template of an extract's location may hold in braces."""

MISTAKES_SHOWN = 20
"""How many mistakes of a file a message lists: two large files that overlap have thousands."""

MAXIMUM_AGE_HOURS = 48
"""The oldest data that may stand for the current day, whatever a city says."""

DEFAULT_MAXIMUM_AGE_HOURS = 36
"""A day of upstream's rhythm and half a day for its delays."""

_DIGITS_IN_KEY = 32
"""How much of a boundary file's digest stands in a key: 128 bits."""

_WORLD = Bbox(-180.0, -90.0, 180.0, 90.0)

TYPE_WORDS = (
    "городской округ ",
    "муниципальный округ ",
    "муниципальное образование ",
    "город ",
    "urban okrug of ",
    "city of ",
)
"""Words before the name proper in the names of boundaries, as OpenStreetMap has them."""

COUNTRIES = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS
    BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE
    EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM
    HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC
    LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA
    NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW
    SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO
    TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
    """.split()  # noqa: SIM905  # as a list they would fill 249 lines
)
"""The officially assigned codes of ISO 3166-1 alpha-2."""


class CitiesFileError(IngestionError):
    """The file of cities has mistakes.

    Attributes:
        path: The file.
        mistakes: Every mistake in it, each with its place, what stands there, and what may.
    """

    code: ClassVar[str] = "cities_file"

    def __init__(self, path: Path, mistakes: Iterable[str]) -> None:
        """Say every mistake, one a line."""
        self.path = path
        self.mistakes = tuple(mistakes)
        lines = "".join(f"\n- {mistake}" for mistake in self.mistakes[:MISTAKES_SHOWN])
        if len(self.mistakes) > MISTAKES_SHOWN:
            lines += f"\n- ... and {len(self.mistakes) - MISTAKES_SHOWN:,} more"
        super().__init__(f"{path} cannot be used; correct this in it:{lines}")


class UnknownCity(IngestionError):
    """A city was asked for that the file does not have."""

    code: ClassVar[str] = "unknown_city"


@dataclass(frozen=True, slots=True)
class City:
    """One city: the tenant of everything that is staged.

    Attributes:
        slug: The tenant key; never reused for another city.
        name: The city's name by language; at least one.
        country: ISO 3166-1 alpha-2 code.
        timezone: IANA time zone; what is due in the early morning follows it.
        bbox: The fetch window in WGS84 degrees; it encloses the boundary.
        boundary_ref: `bbox`, `file`, or `relation/<id>` of the OSM relation that bounds the city.
        osm_source: Where its data comes from, or None for the setting OSM_SOURCE.
        osm_extract: Path or URL template of its extract, `sample:<name>`, or None for the setting
            OSM_EXTRACT.
        osm_region: What `{region}` stands for in a template.
        languages: The fallback chain for display names, best first.
        local_language: The language that a plain `name` is in, or None.
        minimum_pois: A day with fewer POIs is refused.
        minimum_helpers: A day with fewer helper places in OpenStreetMap is refused.
        maximum_age_hours: How old the data of the current day may be.
        enabled: Whether it is to be staged every day; any city can be run by hand.
        feeds: Where its helper places come from, beside OpenStreetMap.
        boundary_file: The file that bounds the city, where `boundary_ref` is `file`.
    """

    slug: str
    name: Mapping[str, str] = field(hash=False)
    country: str
    timezone: str
    bbox: Bbox
    boundary_ref: str
    osm_source: OsmSource | None
    osm_extract: str | None
    osm_region: str
    languages: tuple[str, ...]
    local_language: str | None
    minimum_pois: int
    minimum_helpers: int
    maximum_age_hours: int
    enabled: bool
    feeds: tuple[Feed, ...] = ()
    boundary_file: BoundaryFile | None = None

    @property
    def boundary_relation(self) -> int | None:
        """The id of the boundary relation, or None where there is none."""
        kind, _, number = self.boundary_ref.partition("/")
        return int(number) if kind == "relation" else None

    @property
    def boundary_key(self) -> str:
        """The boundary as it stands in idempotency keys.

        `relation/34914`, `bbox:w,s,e,n`, or `file:` and the beginning of the file's digest. Each
        number is the shortest decimal text that reads back as the same float, so that `24.9` and
        `24.90` in the file are the same boundary.
        """
        if self.boundary_relation is not None:
            return self.boundary_ref
        if self.boundary_file is not None:
            return f"file:{self.boundary_file.sha256[:_DIGITS_IN_KEY]}"
        return "bbox:" + ",".join(map(_shortest_decimal, self.bbox))

    @property
    def area(self) -> Area:
        """What to fetch."""
        return Area(self.bbox, self.boundary_relation, self.boundary_file)

    @property
    def maximum_age(self) -> timedelta:
        """How old the data of the current day may be."""
        return timedelta(hours=self.maximum_age_hours)


@dataclass(frozen=True, slots=True)
class Cities:
    """The cities of one file, in its order.

    Attributes:
        path: The file that they come from.
        cities: All of them, enabled or not; slugs are unique.
    """

    path: Path
    cities: tuple[City, ...]

    def __iter__(self) -> Iterator[City]:
        """Iterate over all cities."""
        return iter(self.cities)

    def __len__(self) -> int:
        """Count all cities."""
        return len(self.cities)

    def enabled(self) -> tuple[City, ...]:
        """Give the cities that are to be staged every day."""
        return tuple(city for city in self.cities if city.enabled)

    def get(self, slug: str) -> City:
        """Give the city with this slug.

        Raises:
            UnknownCity: There is none; the message lists those that there are.
        """
        by_slug = {city.slug: city for city in self.cities}
        if slug in by_slug:
            return by_slug[slug]
        raise UnknownCity(
            f"{self.path} has no city {slug!r}{did_you_mean(slug, by_slug)}; "
            f"it has {', '.join(sorted(by_slug))}"
        )


def load_cities(path: Path | None) -> Cities:
    """Read and check a file of cities.

    Args:
        path: The file, or None for the one that is shipped with the package.

    Raises:
        CitiesFileError: The file cannot be read or has mistakes; it names all of them at once.
    """
    path = path or SHIPPED_FILE
    mistakes: list[str] = []
    readings = [
        _read_city(number, table, mistakes, folder=path.parent)
        for number, table in enumerate(_read_tables(path), start=1)
    ]
    mistakes += _mistakes_between(readings)
    if mistakes:
        raise CitiesFileError(path, mistakes)
    return Cities(path, tuple(City(**(_defaults(reading) | reading)) for reading in readings))


def boundary_names_match(city: City, names: Iterable[str]) -> bool:
    """Tell whether a boundary with these names can be the city's.

    One of the names must equal one of the city's, as a whole: without regard to case, to the form
    of Unicode, to ё and е, and to words such as "городской округ" before the name. This catches
    a wrong relation id; it cannot tell two places of the same name apart.

    Args:
        city: The city.
        names: The values of the boundary relation's name tags.
    """
    expected = {_comparable(name) for name in city.name.values()}
    return any(not expected.isdisjoint(_readings(name)) for name in names)


def _readings(name: str) -> Iterator[str]:
    """Give a boundary's name as it is, and again after each type word taken off its front."""
    reading = _comparable(name)
    yield reading
    while word := next(filter(reading.startswith, TYPE_WORDS), None):
        reading = reading.removeprefix(word)
        yield reading


def _comparable(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold().replace("ё", "е")
    return " ".join(folded.split())


def _shortest_decimal(number: float) -> str:
    return format(Decimal(repr(number)).normalize(), "f")


# Reading the file: a function for each key takes what TOML gave and returns what City holds, or
# raises ValueError with what is allowed.


def _slug(value: object) -> str:
    if isinstance(value, str) and SLUG.fullmatch(value):
        return value
    raise ValueError("small letters, digits and hyphens, beginning with a letter or digit")


def _name(value: object) -> dict[str, str]:
    if (
        isinstance(value, dict)
        and value
        and all(map(is_language, value))
        and all(isinstance(text, str) and text.strip() for text in value.values())
    ):
        return value
    raise ValueError('at least one name by language, such as { en = "Kazan", ru = "Казань" }')


def _country(value: object) -> str:
    if isinstance(value, str) and value in COUNTRIES:
        return value
    raise ValueError('a code of ISO 3166-1 alpha-2 in capitals, such as "RU"')


def _timezone(value: object) -> str:
    allowed = 'an IANA time zone, such as "Europe/Moscow"'
    if not isinstance(value, str):
        raise ValueError(allowed)  # noqa: TRY004  # ValueError is how every rule here speaks
    try:
        ZoneInfo(value)
    # An unknown zone is a KeyError, a bad name a ValueError, and "Europe" a folder: an OSError.
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(allowed + did_you_mean(value, available_timezones())) from error
    return value


def _bbox(value: object) -> Bbox:
    if (
        not isinstance(value, list)
        or len(value) != len(Bbox._fields)
        or not all(map(_is_number, value))
    ):
        raise ValueError("[west, south, east, north], four numbers in degrees")
    west, south, east, north = value
    if not (
        all(_WORLD.west <= longitude <= _WORLD.east for longitude in (west, east))
        and all(_WORLD.south <= latitude <= _WORLD.north for latitude in (south, north))
    ):
        raise ValueError("longitudes from -180 to 180 and latitudes from -90 to 90, in degrees")
    if west > east and east + 360 - west < 180:  # noqa: PLR2004 - the shorter way around the Earth
        raise ValueError(
            "a bbox on one side of the antimeridian; make two cities of it, one that ends at 180 "
            "and one that begins at -180"
        )
    if west >= east or south >= north:
        raise ValueError(
            "[west, south, east, north] with west < east and south < north "
            "(does latitude come before longitude?)"
        )
    if max(east - west, north - south) > MAXIMUM_BBOX_DEGREES:
        raise ValueError(
            f"the bbox of a city, at most {MAXIMUM_BBOX_DEGREES:g} degrees wide and high"
        )
    # Adding zero turns -0.0 into 0.0: the same place must give the same key.
    return Bbox(*(float(number) + 0.0 for number in value))


def _boundary_ref(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"bbox|file|relation/[1-9][0-9]{0,14}", value):
        return value
    raise ValueError(
        '"bbox", or an OSM relation such as "relation/102269", or "file" beside a boundary_file'
    )


def _boundary_file(value: object) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError(
        "the path of a GeoJSON or .poly file, or the URL of one with its digest, "
        "'<URL>#sha256=<64 hex digits>'"
    )


def _osm_source(value: object) -> OsmSource:
    if isinstance(value, str) and value in ("overpass", "extract"):
        return cast("OsmSource", value)
    raise ValueError('"overpass" or "extract"')


def _osm_extract(value: object) -> str:
    allowed = 'a path, a URL, or a template of one with {region} and {day}; or "sample:" and a name'
    if not isinstance(value, str) or not value.strip():
        raise ValueError(allowed)
    if value.startswith("sample:"):
        if SLUG.fullmatch(value.removeprefix("sample:")):
            return value
        raise ValueError(allowed)
    require_template(value, allowed=allowed, fields=TEMPLATE_FIELDS)
    return value


def _osm_region(value: object) -> str:
    # It becomes a part of a path or URL, so it may not climb out of it.
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", value):
        return value
    raise ValueError('letters, digits, "_" and "-", in parts joined by "/", such as "russia/kazan"')


def _languages(value: object) -> tuple[str, ...]:
    if (
        isinstance(value, list)
        and value
        and all(map(is_language, value))
        and len(set(value)) == len(value)
    ):
        return tuple(value)
    raise ValueError('different language tags of two or three letters, such as ["ru", "en"]')


def _local_language(value: object) -> str:
    if isinstance(value, str) and is_language(value):
        return value
    raise ValueError('a language tag of two or three letters, such as "ru"')


def _hours(value: object) -> int:
    # More would let one weekly file stand for seven days.
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAXIMUM_AGE_HOURS:
        return value
    raise ValueError(f"a whole number from 1 to {MAXIMUM_AGE_HOURS}")


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


KEYS: Mapping[str, Key] = {
    "slug": Key(_slug),
    "name": Key(_name),
    "country": Key(_country),
    "timezone": Key(_timezone),
    "bbox": Key(_bbox),
    "boundary_ref": Key(_boundary_ref),
    "boundary_file": Key(_boundary_file, required=False),
    "osm_source": Key(_osm_source, required=False),
    "osm_extract": Key(_osm_extract, required=False),
    "osm_region": Key(_osm_region, required=False),
    "languages": Key(_languages),
    "local_language": Key(_local_language, required=False),
    "minimum_pois": Key(whole_number),
    "minimum_helpers": Key(whole_number, required=False),
    "maximum_age_hours": Key(_hours, required=False),
    "enabled": Key(_flag),
}
"""Everything that may stand in `[[city]]`, in the order of the documentation; and its feeds."""

FEEDS = "feed"
"""The key of a city's tables of feeds, `[[city.feed]]`."""


def _read_tables(path: Path) -> list[dict[str, object]]:
    """Read the file's tables `[[city]]`."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise CitiesFileError(path, [f"the file cannot be read: {error.strerror}"]) from error
    # Bad TOML (with its line) and bad UTF-8 are both ValueErrors.
    except ValueError as error:
        raise CitiesFileError(path, [f"the file is not TOML in UTF-8: {error}"]) from error
    tables: Any = document.pop("city", [])
    mistakes = [
        f"{key}: unknown at the top of the file{did_you_mean(key, ['city'])}; "
        "everything stands in tables [[city]]"
        for key in document
    ]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        mistakes.append("city: is no list of tables; head each with [[city]], in two brackets")
    elif not tables:
        mistakes.append("there is no city; add a table [[city]]")
    if mistakes:
        raise CitiesFileError(path, mistakes)
    return list(tables)


def _read_city(
    number: int, table: Mapping[str, object], mistakes: list[str], *, folder: Path
) -> dict[str, Any]:
    """Read what can be read of one table, and add what is wrong with it to `mistakes`."""
    place = place_of("city", number, table)
    reading = read_table(place, table, KEYS, mistakes, read_elsewhere=[FEEDS])
    text = reading.pop("boundary_file", None)
    if text is not None:
        try:
            reading["boundary_file"] = boundary_file_at(text, folder=folder)
        except ValueError as why:
            mistakes.append(f"{place}: boundary_file: is {shown(text)}; {why}")
    if "boundary_ref" in reading and (reading["boundary_ref"] == "file") != (
        "boundary_file" in table
    ):
        mistakes.append(
            f'{place}: boundary_file: goes with boundary_ref = "file", and the other way round; '
            "give both or neither"
        )
    return reading | {"feeds": read_feeds(place, table.get(FEEDS, []), mistakes, kinds=KINDS)}


def _defaults(reading: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "osm_source": None,
        "osm_extract": None,
        "osm_region": reading["slug"],
        "local_language": None,
        "minimum_helpers": 1,
        "maximum_age_hours": DEFAULT_MAXIMUM_AGE_HOURS,
    }


def _mistakes_between(readings: list[dict[str, Any]]) -> Iterator[str]:
    """Find what is wrong with the cities together, as far as they could be read."""
    for (first, one), (second, other) in combinations(enumerate(readings, start=1), 2):
        both = f"{place_of('city', first, one)} and {place_of('city', second, other)}"
        if "slug" in one and one["slug"] == other.get("slug"):
            yield f"{both}: slug: is the same; a slug names one city"
        if "boundary_ref" not in one or one["boundary_ref"] != other.get("boundary_ref"):
            continue
        if one["boundary_ref"] == "file":
            if (
                "boundary_file" in one
                and "boundary_file" in other
                and (one["boundary_file"].sha256 == other["boundary_file"].sha256)
            ):
                yield f"{both}: boundary_file: is the same; a feature belongs to exactly one city"
        elif one["boundary_ref"] != "bbox":
            yield f"{both}: boundary_ref: is the same; a feature belongs to exactly one city"
        elif "bbox" in one and "bbox" in other and _overlap(one["bbox"], other["bbox"]):
            yield (
                f"{both}: bbox: they overlap, and both are boundaries; "
                "a feature belongs to exactly one city"
            )


def _overlap(one: Bbox, other: Bbox) -> bool:
    return (
        one.west < other.east
        and other.west < one.east
        and one.south < other.north
        and other.south < one.north
    )
