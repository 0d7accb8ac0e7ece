"""The gates of a promotion: pure functions with a verdict, numbers and a sentence.

    pass     nothing speaks against it
    review   a person must look at it
    stop     it cannot become public; no one can override that

Belongs here: what is measured of a difference, and the judgement. Does not belong here: finding the
difference (`difference.py`), and what follows from the verdicts (`promote.py`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ingestion_pipeline.helpers.licences import judge
from ingestion_pipeline.promotion.events import OPERATING
from ingestion_pipeline.promotion.rows import metres_between, title_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from ingestion_pipeline.promotion.difference import Change, Difference
    from ingestion_pipeline.promotion.rows import Row

Verdict = Literal["pass", "review", "stop"]

GUARD_OF_CATEGORY = 0.10
"""The share of a category that may go without a review while there is no history."""

GUARD = 0.01
"""The share of all places that may move, be renamed, recategorised, overwritten or closed without a
review. On ordinary days of whole countries it is below 0.5 % (docs/promotion.md)."""

LEAST = 5
"""Changes of so few places are never a mass."""

LEAST_OF_CATEGORY = 3
"""Losses of so few places of a category never need a review."""

HISTORY = 3
"""From this number of promotions on, what is usual in the city widens a band."""

HISTORY_PROMOTIONS = 28
"""The number of past promotions that say what is usual."""

STRICTNESS = 4.0
"""The allowed distance from the usual share, in spreads."""

CHANGE_PER_DAY = 0.0001
"""The share of places that change in one way on a day; a pause adds up. In years it was 0.003 % for
closures and up to 0.011 % for renames."""

FAR_M = 20.0
"""A move from this distance in metres on counts as a move: what is drawn anew as an area moves
less."""

OVERWRITABLE = ("opening_hours", "contact", "address", "wikidata")
"""Columns whose values are replaced by spam or emptied by a faulty import."""

OLD_YEARS = 5
"""A place that did not change for so long is an established one."""

LONGEST_PAUSE_DAYS = 90
"""A longer pause excuses no more changes."""

SENSITIVE = 3
"""More changes of established places than this need a review, in a large city than this share."""

SENSITIVE_SHARE = 0.0002

UNCLEAR_SHARE = 0.00002
"""The share of places that may be unclear without a review: none in a town, two in a metropolis."""

NAMED = 5
"""The number of places that a sentence names."""

LISTED = 50
"""The number of places that the numbers of a gate list."""

_MAD_TO_SIGMA = 1.4826  # of a normal distribution
_DAYS_IN_YEAR = 365.25


class Gate(NamedTuple):
    """The judgement of one gate.

    Attributes:
        name: The gate.
        verdict: Its verdict.
        numbers: What it was judged by, as JSON.
        sentence: What was found, and for `stop` what to fix.
    """

    name: str
    verdict: Verdict
    numbers: Mapping[str, Any]
    sentence: str


class Licensed(NamedTuple):
    """The number of a day's rows with one licence in one category."""

    category: str
    licence: str
    attribution: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class StagedDay:
    """What is known of the staged day.

    Attributes:
        day: The day.
        accepted_reason: Why an operator accepted it although a check had stopped it.
        stale_reason: Why its rows are those of an earlier day.
        warnings: The findings of checks that did not pass.
        licences: Its rows by category and licence.
        unlicensed: Refs of rows without a source, a licence or an attribution.
    """

    day: date
    accepted_reason: str | None
    stale_reason: str | None
    warnings: Mapping[str, str]
    licences: Sequence[Licensed]
    unlicensed: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Past:
    """The past promotions of a city, the newest first, without reverts.

    Attributes:
        day: The day that is public now; None before the first promotion.
        totals: The public places by category, of each promotion.
        shares: The share of all places that each mass gate measured, of each promotion.
        reverted: The reason of the last promotion, if it was a revert.
        proposed: The day of the open proposal.
    """

    day: date | None
    reverted: str | None = None
    proposed: date | None = None
    totals: Sequence[Mapping[str, int]]
    shares: Sequence[Mapping[str, float]]


def judged(found: Difference, staged: StagedDay, past: Past) -> list[Gate]:
    """Return the judgements of all gates."""
    pause = 0 if past.day is None else max(0, (staged.day - past.day).days)
    before = past.totals[0] if past.totals else {}
    places = sum(before.values())
    masses = [
        mass(name, what, rows, places=places, past=past, pause_days=pause)
        for name, what, rows in (
            ("mass_move", "moved", moved(found.changes)),
            ("mass_rename", "were renamed", renamed(found.changes)),
            ("mass_closure", "closed or disappeared", closed(found.changes)),
            ("mass_recategorisation", "got another category", recategorised(found.changes)),
            (
                "mass_overwrite",
                "had hours, contacts, address or Wikidata item replaced or removed",
                overwritten(found.changes),
            ),
        )
    ]
    return [
        staged_checks(staged),
        licence(staged),
        newer_day(staged.day, past.day, past.proposed),
        after_revert(past.reverted),
        category_losses(lost(found.changes), before, past, pause_days=pause),
        *masses,
        established(found.changes, staged.day, places=places, pause_days=pause),
        identity(found, places=places),
    ]


def worst(gates: Iterable[Gate]) -> Verdict:
    """Return the most severe verdict."""
    verdicts = {gate.verdict for gate in gates}
    return "stop" if "stop" in verdicts else "review" if "review" in verdicts else "pass"


def staged_checks(staged: StagedDay) -> Gate:
    """Judge the checks of the staged day: its blocking checks passed or were accepted."""
    numbers = {"warnings": dict(staged.warnings), "accepted_reason": staged.accepted_reason}
    if staged.stale_reason is not None:
        return Gate(
            "staged_checks",
            "review",
            numbers | {"stale_reason": staged.stale_reason},
            f"The rows are those of an earlier day: {staged.stale_reason}",
        )
    if staged.accepted_reason is not None:
        sentence = f"A check had stopped the day, and it was accepted: {staged.accepted_reason}"
    else:
        sentence = "All blocking checks passed."
    return Gate("staged_checks", "pass", numbers, sentence)


def licence(staged: StagedDay) -> Gate:
    """Judge the licences: every row has one, and those of each category may be published."""
    mixes: dict[str, set[str]] = defaultdict(set)
    for each in staged.licences:
        mixes[each.category].add(each.licence)
    rows = dict(sum_by((each.licence, each.rows) for each in staged.licences))
    numbers: dict[str, Any] = {
        "rows": rows,
        "unlicensed": list(staged.unlicensed[:LISTED]),
    }
    if staged.unlicensed:
        return Gate(
            "licence",
            "stop",
            numbers,
            f"{_counted(len(staged.unlicensed))} without source, licence or attribution: "
            f"{_names(staged.unlicensed)}. Correct the source and stage the day again.",
        )
    verdicts = {category: judge(mix) for category, mix in sorted(mixes.items())}
    refused = {
        category: "; ".join(finding.why for finding in verdict.findings)
        for category, verdict in verdicts.items()
        if not verdict.may_be_combined
    }
    if refused:
        listed = [f"{category} ({', '.join(sorted(mixes[category]))})" for category in refused]
        return Gate(
            "licence",
            "stop",
            numbers | {"refused": refused},
            f"The licences of {_names(listed)} may not be published together: "
            f"{next(iter(refused.values()))}. Remove one of the sources and stage the day again.",
        )
    return Gate("licence", "pass", numbers, f"All rows may be published: {_mix(rows)}.")


def newer_day(day: date, public: date | None, proposed: date | None = None) -> Gate:
    """Judge the day: it is not older than the public one, nor than one that waits."""
    numbers = {
        "day": day.isoformat(),
        "public": None if public is None else public.isoformat(),
        "proposed": None if proposed is None else proposed.isoformat(),
    }
    if proposed is not None and day < proposed:
        return Gate(
            "newer_day",
            "stop",
            numbers,
            f"{day} is older than {proposed}, whose promotion waits for a decision. Approve or "
            "reject that one first.",
        )
    if public is None:
        return Gate("newer_day", "pass", numbers, "It is the first promotion of the city.")
    if day < public:
        return Gate(
            "newer_day",
            "stop",
            numbers,
            f"{day} is older than {public}, which is public. Promote a newer day, or revert the "
            "promotion of the newer one.",
        )
    again = "is public already, and was staged again" if day == public else f"is after {public}"
    return Gate("newer_day", "pass", numbers, f"{day} {again}.")


def after_revert(reason: str | None) -> Gate:
    """Judge the promotion before: after a revert, a person looks at the next day."""
    if reason is None:
        return Gate("after_revert", "pass", {}, "The last promotion was not a revert.")
    return Gate(
        "after_revert",
        "review",
        {"reason": reason},
        f"The last promotion was a revert: {reason}. Check that its cause is gone.",
    )


def category_losses(
    losses: Mapping[str, Sequence[str]],
    before: Mapping[str, int],
    past: Past,
    *,
    pause_days: int,
) -> Gate:
    """Judge the losses of categories: none loses more than its band.

    Args:
        losses: The titles of the places that each category loses.
        before: The public places by category.
        past: The past promotions.
        pause_days: Days since the last one.
    """
    fallen: dict[str, Any] = {}
    for category, titles in sorted(losses.items(), key=lambda each: (-len(each[1]), each[0])):
        total = before.get(category, 0)
        usual = [
            max(0.0, (older.get(category, 0) - newer.get(category, 0)) / older[category])
            for newer, older in zip(past.totals, past.totals[1:], strict=False)
            if older.get(category)
        ]
        most = band(usual, GUARD_OF_CATEGORY, pause_days)
        if len(titles) > max(LEAST_OF_CATEGORY, most * total):
            fallen[category] = {
                "before": total,
                "lost": len(titles),
                "most": round(most, 3),
                "places": list(titles[:LISTED]),
            }
    lost_places = sum(map(len, losses.values()))
    numbers = {"lost": lost_places, "categories": fallen}
    if not fallen:
        return Gate(
            "category_losses",
            "pass",
            numbers,
            f"{_counted(lost_places)} gone, closed or of another category now; no category loses "
            "more than usual.",
        )
    listed = [
        f"{category} loses {each['lost']:,} of {each['before']:,} ({_names(each['places'])}; usual "
        f"is up to {each['most']:.0%})"
        for category, each in fallen.items()
    ]
    return Gate("category_losses", "review", numbers, f"{'; '.join(listed[:NAMED])}.")


def mass(
    name: str,
    what: str,
    titles: Sequence[str],
    *,
    places: int,
    past: Past,
    pause_days: int,
) -> Gate:
    """Judge whether unusually many places change in one way.

    Args:
        name: The gate.
        what: What happened to the places, for the sentence.
        titles: The places.
        places: The public places before.
        past: The past promotions.
        pause_days: Days since the last one.
    """
    most = band([each[name] for each in past.shares if name in each], GUARD, pause_days)
    share = len(titles) / places if places else 0.0
    numbers = {
        "places": len(titles),
        "share": round(share, 5),
        "most": round(most, 5),
        "named": list(titles[:LISTED]),
    }
    if len(titles) > max(LEAST, most * places):
        return Gate(
            name,
            "review",
            numbers,
            f"{_counted(len(titles))} of {places:,} {what} ({share:.1%}; usual is up to "
            f"{most:.1%}): {_names(titles)}.",
        )
    return Gate(name, "pass", numbers, f"{_counted(len(titles))} {what}.")


def established(
    changes: Sequence[Change], day: date, *, places: int = 0, pause_days: int = 0
) -> Gate:
    """Judge the changes that vandals make most often: names with `wikidata`, and old places.

    Args:
        changes: What changes.
        day: The day that becomes public.
        places: The public places before.
        pause_days: Days since the last promotion.
    """
    names = [
        f"{title_of(change.before)} -> {title_of(change.after)}"
        for change in changes
        if change.before is not None and change.after is not None and _is_known(change)
    ]
    gone = [
        title_of(change.before)
        for change in changes
        if change.before is not None and change.after is None and _is_old(change.before, day)
    ]
    numbers = {"renamed_with_wikidata": names[:LISTED], "deleted_old": gone[:LISTED]}
    sentence = (
        f"{_counted(len(names))} with a Wikidata item renamed"
        + (f" ({_names(names)})" if names else "")
        + f"; {_counted(len(gone))} deleted that had not changed for {OLD_YEARS} years"
        + (f" ({_names(gone)})" if gone else "")
        + "."
    )
    most = max(SENSITIVE, _with_pause(SENSITIVE_SHARE, pause_days) * places)
    verdict: Verdict = "review" if len(names) + len(gone) > most else "pass"
    return Gate("established", verdict, numbers, sentence)


def identity(found: Difference, *, places: int = 0) -> Gate:
    """Judge the links of places: what is ambiguous needs a person.

    Args:
        found: The difference.
        places: The public places before.
    """
    linked = sum(event.kind == "reidentified" for event in found.events)
    unclear = [f"{', '.join(each.gone)} and {', '.join(each.new)}" for each in found.ambiguous]
    numbers = {"reidentified": linked, "ambiguous": len(unclear)}
    sentence = f"{_counted(linked)} continue as another object."
    if unclear:
        sentence = (
            f"{len(unclear):,} groups of features could be one place in several ways, and are not "
            f"linked: {_names(unclear)}."
        )
    verdict: Verdict = "review" if len(unclear) > UNCLEAR_SHARE * places else "pass"
    return Gate("identity", verdict, numbers, sentence)


def band(usual: Sequence[float], guard: float, pause_days: int) -> float:
    """Return the largest share that needs no review.

    It is the fixed guard, or what is usual in the city if that is more: the median share and
    `STRICTNESS` robust spreads.

    Args:
        usual: The shares of past promotions.
        guard: The share without a history.
        pause_days: Days since the last promotion.
    """
    most = guard
    if len(usual) >= HISTORY:
        middle = _median(usual)
        spread = _MAD_TO_SIGMA * _median([abs(share - middle) for share in usual])
        most = max(guard, middle + STRICTNESS * spread)
    return min(1.0, _with_pause(most, pause_days))


def shares(gates: Iterable[Gate]) -> dict[str, float]:
    """Return the shares that the mass gates measured, for the gates of later promotions."""
    return {gate.name: gate.numbers["share"] for gate in gates if "share" in gate.numbers}


def lost(changes: Sequence[Change]) -> dict[str, list[str]]:
    """Return the titles of the places that each category loses: gone, closed, or recategorised."""
    titles: dict[str, list[str]] = defaultdict(list)
    for before, after, _ in changes:
        if before is not None and (
            after is None or after["category"] != before["category"] or _has_closed(before, after)
        ):
            titles[before["category"]].append(title_of(before))
    return titles


def moved(changes: Sequence[Change]) -> list[str]:
    """Return the places that moved far."""
    return [
        f"{title_of(after)} ({metres:,.0f} m)"
        for before, after, _ in changes
        if before is not None
        and after is not None
        and (metres := metres_between(before, after)) >= FAR_M
    ]


def renamed(changes: Sequence[Change]) -> list[str]:
    """Return the places whose names changed."""
    return [
        f"{title_of(before)} -> {title_of(after)}"
        for before, after, _ in changes
        if before is not None and after is not None and before["name"] != after["name"]
    ]


def closed(changes: Sequence[Change]) -> list[str]:
    """Return the places that closed or are no longer there."""
    return [
        title_of(before)
        for before, after, _ in changes
        if before is not None and (after is None or _has_closed(before, after))
    ]


def recategorised(changes: Sequence[Change]) -> list[str]:
    """Return the places whose category changed."""
    return [
        f"{title_of(after)} ({before['category']} -> {after['category']})"
        for before, after, _ in changes
        if before is not None and after is not None and before["category"] != after["category"]
    ]


def overwritten(changes: Sequence[Change]) -> list[str]:
    """Return the places of which a value was replaced or removed; an added one is none."""
    return [
        title_of(after)
        for before, after, _ in changes
        if before is not None
        and after is not None
        and not all(_keeps(before[name], after[name]) for name in OVERWRITABLE)
    ]


def totals(before: Mapping[str, int], changes: Sequence[Change]) -> dict[str, int]:
    """Return the public places by category after the changes."""
    after = Counter(before)
    for change in changes:
        if change.before is not None:
            after[change.before["category"]] -= 1
        if change.after is not None:
            after[change.after["category"]] += 1
    return {category: count for category, count in sorted(after.items()) if count}


def sum_by(pairs: Iterable[tuple[str, int]]) -> Counter[str]:
    """Return the sums of numbers by name."""
    sums: Counter[str] = Counter()
    for name, number in pairs:
        sums[name] += number
    return sums


def _with_pause(share: float, pause_days: int) -> float:
    """Return a share with what may change in a pause."""
    return share + CHANGE_PER_DAY * min(pause_days, LONGEST_PAUSE_DAYS)


def _keeps(before: Any, after: Any) -> bool:
    """Return whether a value is still there, with others or without."""
    if isinstance(before, dict):
        return all(_keeps(value, (after or {}).get(key)) for key, value in before.items())
    if isinstance(before, list):
        return set(before) <= set(after or ())
    return before is None or before == after


def _has_closed(before: Row, after: Row) -> bool:
    return bool(before["status"] == OPERATING != after["status"])


def _is_known(change: Change) -> bool:
    before, after = change.before, change.after
    assert before is not None
    assert after is not None
    return before["wikidata"] is not None and before["name"] != after["name"]


def _is_old(row: Row, day: date) -> bool:
    """Return whether a place had not changed for years, or has been public for so long."""
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
    ages = [(day - row["first_promoted"]).days]
    if row["osm_timestamp"] is not None:
        ages.append((moment - row["osm_timestamp"]).days)
    return bool(max(ages) > OLD_YEARS * _DAYS_IN_YEAR)


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[~middle]) / 2


def _counted(number: int) -> str:
    return f"{number:,} place{'' if number == 1 else 's'}"


def _names(titles: Sequence[str]) -> str:
    more = len(titles) - NAMED
    between = "; " if any(", " in title for title in titles[:NAMED]) else ", "
    return between.join(titles[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _mix(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in sorted(rows.items())) or "no rows"
