"""The cities of the pipeline, read from a TOML file.

Belongs here: `City`, the registry `Cities`, the rules of the file (`cities.toml`; the keys are
explained in docs/adding-a-city.md), and the comparison of a city's names with those of a boundary.
Does not belong here: the geometry of boundaries (`osm/boundary.py`) and Dagster's partitions
(`defs/partitions.py`).
"""

import dataclasses
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from functools import cache
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PlainValidator,
    StrictBool,
    ValidationError,
    ValidationInfo,
)
from pydantic.dataclasses import dataclass

from ingestion_pipeline.config.feeds import Feed, feed_conflicts
from ingestion_pipeline.config.settings import SettingsError
from ingestion_pipeline.config.sources import SOURCE_CODE, SourceKind
from ingestion_pipeline.config.toml_tables import (
    TABLE,
    Expected,
    Language,
    Location,
    Mistake,
    OneOf,
    PositiveInt,
    Slug,
    Text,
    did_you_mean,
    mistakes_in,
    place_of,
    tables_in,
    written,
)
from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.core.identity import SLUG
from ingestion_pipeline.core.locations import require_template
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.boundary_file import BoundaryFile, boundary_file_at

SHIPPED_FILE = Path(__file__).parent.parent / "cities.toml"
"""The file that is used where the setting CITIES_FILE is not set."""

_SOURCES = " or ".join(f'"{kind}"' for kind in SOURCE_CODE)

PromotionPolicy = Literal["off", "review", "automatic"]
"""Whether staged days become public: never, after a person approves, or if no gate objects."""

MAXIMUM_BBOX_DEGREES = 3.0
"""The longest side of a city's bbox; the widest city of the shipped file (Moscow) has 1.2."""

MISTAKES_SHOWN = 20
"""The number of mistakes that a message lists: two large files that overlap have thousands."""

_EXTRACT = 'a path, a URL, a template with {region} and {day}, or "sample:" and a name'

_DIGITS_IN_KEY = 32
"""The length of a boundary file's digest in a key: 128 bits."""

_WORLD = Bbox(-180.0, -90.0, 180.0, 90.0)

TYPE_WORDS = (
    "городской округ ",
    "муниципальный округ ",
    "муниципальное образование ",
    "город ",
    "urban okrug of ",
    "city of ",
)
"""Words before the proper name in the names of boundaries in OpenStreetMap."""


class CitiesFileError(IngestionError):
    """The cities file has mistakes.

    Attributes:
        path: The file.
        mistakes: All mistakes, each with its line, city and key, and with what is accepted.
    """

    code: ClassVar[str] = "cities_file"

    def __init__(self, path: Path, mistakes: Iterable[str]) -> None:
        """List the mistakes, one a line."""
        self.path = path
        self.mistakes = tuple(mistakes)
        lines = "".join(f"\n- {mistake}" for mistake in self.mistakes[:MISTAKES_SHOWN])
        if len(self.mistakes) > MISTAKES_SHOWN:
            lines += f"\n- ... and {len(self.mistakes) - MISTAKES_SHOWN:,} more"
        super().__init__(f"{path} cannot be used; correct this in it:{lines}")


class UnknownCity(IngestionError):
    """The file has no city with this slug."""

    code: ClassVar[str] = "unknown_city"


@cache
def country_codes() -> frozenset[str]:
    """Return the codes of ISO 3166-1 alpha-2, from the time zone database."""
    table = (files("tzdata") / "zoneinfo" / "iso3166.tab").read_text("utf-8")
    return frozenset(line[:2] for line in table.splitlines() if not line.startswith("#"))


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    # An unknown zone is a KeyError, a bad name a ValueError, and "Europe" a folder: an OSError.
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(did_you_mean(value, available_timezones())) from error
    return value


def _bbox(value: object) -> Bbox:
    if (
        not isinstance(value, list | tuple)
        or len(value) != len(Bbox._fields)
        or not all(isinstance(each, int | float) and not isinstance(each, bool) for each in value)
    ):
        raise ValueError
    west, south, east, north = value
    if not (
        all(_WORLD.west <= longitude <= _WORLD.east for longitude in (west, east))
        and all(_WORLD.south <= latitude <= _WORLD.north for latitude in (south, north))
    ):
        raise ValueError("longitudes are from -180 to 180, and latitudes from -90 to 90")
    if west > east and east + 360 - west < 180:  # noqa: PLR2004 - the shorter way around the Earth
        raise ValueError(
            "a bbox must be on one side of the antimeridian; make two cities of it, one that ends "
            "at 180 and one that begins at -180"
        )
    if west >= east or south >= north:
        raise ValueError(
            "west must be less than east, and south less than north "
            "(does latitude come before longitude?)"
        )
    if max(east - west, north - south) > MAXIMUM_BBOX_DEGREES:
        raise ValueError(f"a bbox is at most {MAXIMUM_BBOX_DEGREES:g} degrees wide and high")
    # Adding zero turns -0.0 into 0.0: the same place must give the same key.
    return Bbox(*(float(number) + 0.0 for number in value))


class _Reading(NamedTuple):
    """The context of reading a file: its folder, and the boundary files that it names."""

    folder: Path
    boundary_files: dict[str, BoundaryFile]


def _boundary_file(value: object, info: ValidationInfo) -> BoundaryFile | None:
    if value is None or isinstance(value, BoundaryFile):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    reading = info.context or _Reading(Path(), {})
    if value not in reading.boundary_files:
        reading.boundary_files[value] = boundary_file_at(value, folder=reading.folder)
    return reading.boundary_files[value]


def _osm_extract(value: str) -> str:
    if value.startswith("sample:"):
        if SLUG.fullmatch(value.removeprefix("sample:")):
            return value
        raise ValueError
    require_template(value, allowed="use {region} and {day}", fields=["region", "day"])
    return value


def _different(languages: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(languages)) < len(languages):
        raise ValueError("a language is repeated")
    return languages


@dataclass(frozen=True, slots=True, kw_only=True, config=TABLE)
class City:
    """One city: the tenant of everything that is staged."""

    slug: Slug
    """The key of the city in partitions, rows and idempotency keys. Never rename it, and never give
    it to another city."""
    name: Annotated[
        Mapping[Language, Text],
        Field(min_length=1),
        Expected('at least one name by language, such as { en = "Kazan", ru = "Казань" }'),
    ] = dataclasses.field(hash=False)
    """Names by language. The boundary relation must have one of them."""
    country: Annotated[
        str,
        OneOf(country_codes),
        Expected('an ISO 3166-1 alpha-2 code in capitals, such as "RU"'),
    ]
    """The country, also of telephone numbers without a country code."""
    timezone: Annotated[
        str, AfterValidator(_timezone), Expected('an IANA time zone, such as "Europe/Moscow"')
    ]
    """The time zone. The daily run starts in its early morning."""
    bbox: Annotated[
        Bbox,
        PlainValidator(_bbox, json_schema_input_type=tuple[float, float, float, float]),
        Expected("[west, south, east, north], four numbers in degrees (WGS 84)"),
    ]
    """The area that is fetched. It must enclose the whole boundary."""
    boundary_ref: Annotated[
        str,
        Field(pattern="^(bbox|file|relation/[1-9][0-9]{0,14})$"),
        Expected('"bbox", an OSM relation such as "relation/102269", or "file"'),
    ]
    """The boundary. A feature belongs to the city if its representative point is inside."""
    boundary_file: Annotated[
        BoundaryFile | None,
        PlainValidator(_boundary_file, json_schema_input_type=str),
        Expected("the path of a GeoJSON or .poly file, or '<URL>#sha256=<64 hex digits>'"),
    ] = None
    """The file with the boundary, if `boundary_ref` is `"file"`."""
    osm_source: Annotated[SourceKind, Expected(_SOURCES)] | None = None
    """The source of the data. Default: the setting OSM_SOURCE."""
    osm_extract: Annotated[Text, AfterValidator(_osm_extract), Expected(_EXTRACT)] | None = None
    """The extract file. Default: the setting OSM_EXTRACT."""
    osm_region: Annotated[
        str,
        Field(
            # It becomes a part of a path or URL, so it must not leave the folder.
            pattern="^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$",
            default_factory=lambda valid: valid.get("slug", ""),
        ),
        Expected('letters, digits, "_" and "-", in parts joined by "/", such as "russia/kazan"'),
    ]
    """The value of `{region}` in a template. Default: the slug."""
    languages: Annotated[
        tuple[Language, ...],
        Field(min_length=1, json_schema_extra={"uniqueItems": True}),
        AfterValidator(_different),
        Expected('different language codes of two or three letters, such as ["ru", "en"]'),
    ]
    """The languages of displayed names, best first."""
    local_language: Language | None = None
    """The language of a plain `name`. Default: unknown."""
    minimum_pois: PositiveInt
    """A day with fewer POIs is refused."""
    minimum_helpers: PositiveInt = 1
    """A day with fewer helper places in OpenStreetMap is refused."""
    maximum_age_hours: Annotated[
        int, Field(strict=True, ge=1, le=48), Expected("a whole number from 1 to 48")
    ] = 36
    """The maximum age of the data of the current day, in hours. The default is a day between two
    updates and half a day for delays; with more than 48, a weekly file would count for seven days.
    """
    enabled: Annotated[StrictBool, Expected("true or false")]
    """Whether the city has a daily schedule. Any city can be run by hand."""
    group: Slug | None = None
    """The group of the city, for several Dagsters that share a database (CITY_GROUP)."""
    promotion: Annotated[PromotionPolicy, Expected('"off", "review" or "automatic"')] = "off"
    """Whether staged days become public: not at all, after a person approved each, or by themselves
    if no gate asks for a review."""
    identity_memory_days: PositiveInt = 90
    """For how many days a place that disappeared keeps its public id, in case it comes back."""
    feeds: Annotated[
        tuple[Feed, ...],
        Field(validation_alias="feed"),
        Expected("tables; begin each with [[city.feed]], in two brackets"),
    ] = ()
    """The feeds of helper places."""

    @property
    def boundary_relation(self) -> int | None:
        """The id of the boundary relation, or None where there is none."""
        kind, _, number = self.boundary_ref.partition("/")
        return int(number) if kind == "relation" else None

    @property
    def boundary_key(self) -> str:
        """The boundary in idempotency keys.

        `relation/34914`, `bbox:w,s,e,n`, or `file:` and the beginning of the file's digest. Each
        number is the shortest decimal text of the same float, so that `24.9` and `24.90` in the
        file are the same boundary.
        """
        if self.boundary_relation is not None:
            return self.boundary_ref
        if self.boundary_file is not None:
            return f"file:{self.boundary_file.sha256[:_DIGITS_IN_KEY]}"
        return "bbox:" + ",".join(map(_shortest_decimal, self.bbox))

    @property
    def area(self) -> Area:
        """The area to fetch."""
        return Area(self.bbox, self.boundary_relation, self.boundary_file)

    @property
    def maximum_age(self) -> timedelta:
        """The maximum age of the data of the current day."""
        return timedelta(hours=self.maximum_age_hours)


@dataclasses.dataclass(frozen=True, slots=True)
class Cities:
    """The cities of one file, in its order.

    Attributes:
        path: The file that they were read from.
        cities: All of them, enabled or not; slugs are unique.
        group: The group that these are, or None for all cities of the file.
    """

    path: Path
    cities: tuple[City, ...]
    group: str | None = None
    _by_slug: Mapping[str, City] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the cities, of which a tick looks up thousands."""
        object.__setattr__(self, "_by_slug", {city.slug: city for city in self.cities})

    def __iter__(self) -> Iterator[City]:
        """Iterate over all cities."""
        return iter(self.cities)

    def __len__(self) -> int:
        """Return the number of cities."""
        return len(self.cities)

    def enabled(self) -> tuple[City, ...]:
        """Return the cities that have a daily schedule."""
        return tuple(city for city in self.cities if city.enabled)

    def of_group(self, group: str | None) -> "Cities":
        """Return the cities of a group; all of them for None.

        Raises:
            SettingsError: No city has this group.
        """
        if group is None:
            return self
        chosen = tuple(city for city in self.cities if city.group == group)
        if not chosen:
            groups = sorted({city.group for city in self.cities if city.group})
            raise SettingsError(
                f"CITY_GROUP is {group}, and no city of {self.path} has that group"
                f"{did_you_mean(group, groups)}; its groups are: {', '.join(groups) or 'none'}"
            )
        return Cities(self.path, chosen, group)

    def get(self, slug: str) -> City:
        """Return the city with this slug.

        Raises:
            UnknownCity: There is none; the message lists those of the file.
        """
        if slug in self._by_slug:
            return self._by_slug[slug]
        raise UnknownCity(
            f"{self.path} has no city {slug!r}{self._in_group}{did_you_mean(slug, self._by_slug)}; "
            f"it has {', '.join(sorted(self._by_slug))}"
        )

    @property
    def _in_group(self) -> str:
        return f" in group {self.group} (CITY_GROUP)" if self.group else ""


class CitiesFile(BaseModel):
    """The cities of the pipeline."""

    model_config = TABLE

    city: Annotated[
        list[City],
        Field(min_length=1),
        Expected("tables; begin each with [[city]], in two brackets"),
    ]
    """The cities."""


_MODELS: Mapping[tuple[str, ...], Any] = {(): CitiesFile, ("city",): City, ("city", "feed"): Feed}


def load_cities(path: Path | None) -> Cities:
    """Read and check a cities file.

    Args:
        path: The file, or None for the one that is shipped with the package.

    Raises:
        CitiesFileError: The file cannot be read or has mistakes; it lists all of them.
    """
    path = path or SHIPPED_FILE
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise CitiesFileError(path, [f"the file cannot be read: {error.strerror}"]) from error
    # Bad TOML (with its line) and bad UTF-8 are both ValueErrors.
    except ValueError as error:
        raise CitiesFileError(path, [f"the file is not TOML in UTF-8: {error}"]) from error
    reading = _Reading(path.parent, {})
    mistakes: list[Mistake] = []
    try:
        file = CitiesFile.model_validate(document, context=reading, by_alias=True, by_name=False)
    except ValidationError as error:
        mistakes = mistakes_in(document, error, _MODELS)
    mistakes += _conflicts(document, {each.location for each in mistakes}, reading)
    if mistakes:
        raise CitiesFileError(path, written(mistakes, text, document))
    return Cities(path, tuple(file.city))


# These rules look at the document instead of the models, so that they are checked even where other
# keys have mistakes.


def _conflicts(
    document: Mapping[str, Any], wrong: Collection[Location], reading: _Reading
) -> Iterator[Mistake]:
    """Find the keys that do not go together, among those that are valid by themselves."""
    cities: list[tuple[Location, dict[str, Any]]] = []
    for at, table in tables_in(document, (), "city"):
        city = {key: value for key, value in table.items() if (*at, key) not in wrong}
        cities.append((at, city))
        by_file = city.get("boundary_ref") == "file"
        if "boundary_ref" in city and by_file != ("boundary_file" in table):
            text = 'is required by boundary_ref = "file", and by no other; give both or neither'
            yield Mistake((*at, "boundary_file"), text)
        feeds = []
        for place, feed_table in tables_in(table, at, "feed"):
            feed = {key: each for key, each in feed_table.items() if (*place, key) not in wrong}
            feeds.append((place, feed.get("slug")))
            for key, text in feed_conflicts(feed_table, feed):
                yield Mistake((*place, key), text)
        yield from _equal(document, "slug", feeds, "a slug is of one feed of a city")
    slugs = ((at, city.get("slug")) for at, city in cities)
    yield from _equal(document, "slug", slugs, "a slug is of one city")
    for key, boundary in (("boundary_ref", _relation), ("boundary_file", _file_digest)):
        boundaries = ((at, boundary(city, reading)) for at, city in cities)
        yield from _equal(document, key, boundaries, _ONE_CITY)
    boxes = sorted(
        (city["bbox"], at)
        for at, city in cities
        if city.get("boundary_ref") == "bbox" and "bbox" in city
    )
    for number, ((_, south, east, north), first) in enumerate(boxes, start=1):
        for (west, other_south, _, other_north), second in boxes[number:]:
            if west >= east:
                break
            if south < other_north and other_south < north:
                both = min(first, second), max(first, second)
                yield _mistake_of_two(document, "bbox", both, f"overlap; {_ONE_CITY}")


_ONE_CITY = "a feature belongs to exactly one city"


def _relation(city: Mapping[str, Any], _: _Reading) -> str | None:
    reference: str = city.get("boundary_ref", "")
    return reference if reference.startswith("relation/") else None


def _file_digest(city: Mapping[str, Any], reading: _Reading) -> str | None:
    if city.get("boundary_ref") != "file" or "boundary_file" not in city:
        return None
    return reading.boundary_files[city["boundary_file"]].sha256


def _equal(
    document: Any, key: str, values: Iterable[tuple[Location, Hashable]], rule: str
) -> Iterator[Mistake]:
    """Find the tables whose values of a key are equal, two by two; None equals nothing."""
    places = defaultdict(list)
    for location, value in values:
        if value is not None:
            places[value].append(location)
    for equal in places.values():
        for both in combinations(equal, 2):
            yield _mistake_of_two(document, key, both, f"are the same; {rule}")


def _mistake_of_two(document: Any, key: str, both: tuple[Location, Location], text: str) -> Mistake:
    first = ": ".join(place_of(document, both[0]))
    return Mistake((*both[1], key), f"this and that of {first} {text}")


def boundary_names_match(city: City, names: Iterable[str]) -> bool:
    """Return whether a boundary with these names can be the city's.

    One whole name must equal one of the city's. Case, the Unicode form, ё and е, and words such as
    "городской округ" before the name make no difference. This catches a wrong relation id, but not
    another place of the same name.

    Args:
        city: The city.
        names: The values of the boundary relation's name tags.
    """
    expected = {_comparable(name) for name in city.name.values()}
    return any(not expected.isdisjoint(_readings(name)) for name in names)


def _readings(name: str) -> Iterator[str]:
    """Return a boundary's name, and what is left of it after each type word at its beginning."""
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
