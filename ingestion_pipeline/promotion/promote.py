"""Promoting a staged day, and reverting a promotion.

Belongs here: the transactions that propose, make public and revert. Does not belong here: the
difference (`difference.py`), the judgement (`gates.py`), and decisions (`ledger.py`).

`promote` does everything in one transaction, under the claim and the fence of a run: the events,
the public table, the identities, the ledger of promotions and that of runs. Calling it again
changes nothing.
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingestion_pipeline.promotion import gates, ledger, overrides, table
from ingestion_pipeline.promotion.continuity import Matcher, default_matcher
from ingestion_pipeline.promotion.difference import Comparison, Difference, difference
from ingestion_pipeline.promotion.errors import DecisionRefused, PromotionOff, PromotionStopped
from ingestion_pipeline.promotion.events import Reason, events_of
from ingestion_pipeline.promotion.gates import Gate, Licensed, StagedDay
from ingestion_pipeline.promotion.ledger import AUTOMATIC, Promotion
from ingestion_pipeline.promotion.overrides import Retired
from ingestion_pipeline.promotion.table import Stretch, Written
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.database import write_transaction
from ingestion_pipeline.staging.days import in_history, require_staged
from ingestion_pipeline.staging.types import geopackage_datetime
from ingestion_pipeline.staging.views import valid_on

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ingestion_pipeline.config.cities import PromotionPolicy
    from ingestion_pipeline.promotion.events import Event
    from ingestion_pipeline.promotion.ledger import Decision
    from ingestion_pipeline.promotion.overrides import Override
    from ingestion_pipeline.staging.days import Slice
    from ingestion_pipeline.staging.runs import Claim, Run, Trigger

_EVIDENCE = (
    "as_of",
    "as_of_source",
    "obtained",
    "location",
    "digest",
    "rules_version",
    "boundary_ref",
    "inputs_digest",
    "licence",
    "attribution",
    "stale_reason",
    "accepted_reason",
    "rows",
    "run_id",
)
"""The columns of `staged_partition` that a promotion stores."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a city is promoted.

    Attributes:
        policy: Whether a person is asked.
        memory_days: For how many days a place that went keeps its id.
        matcher: What decides what is one place; that of this version by default.
    """

    policy: PromotionPolicy
    memory_days: int
    matcher: Matcher | None = None


def promote(
    engine: sa.Engine,
    target: Slice,
    terms: Terms,
    *,
    claim: Claim,
    now: datetime,
    again: bool = False,
) -> Promotion:
    """Propose a staged day, and make it public if no one needs to be asked.

    An approved promotion of the day becomes public. A proposal of the same rows on the same base
    stays as it is, and so does a rejected one unless it is asked for again.

    Args:
        engine: The database.
        target: The staged day.
        terms: How the city is promoted.
        claim: The run's claim, which is checked under a lock; the run ends as SUCCEEDED.
        now: The current moment by the database's clock.
        again: Propose the day again although it was rejected.

    Returns:
        The promotion: PROMOTED, PROPOSED or REJECTED.

    Raises:
        PromotionOff: The city is not promoted.
        DayNotStaged: The day is not staged.
        PromotionStopped: A gate says stop; the ledger of promotions has the reason.
        ClaimLost: The run's key was taken over; nothing was written.
        CancelRequested: Cancellation was requested; nothing was written.
        DatabaseUnavailable: The database cannot be reached, or the connection broke.
    """
    with write_transaction(engine) as connection:
        run = runs.fence(connection, claim)
        ledger.lock_line(connection, target.city_slug)
        done, written = _promoted(connection, target, terms, run=run, now=now, again=again)
        if done.status != "FAILED":
            runs.succeed(
                connection,
                claim,
                as_of=require_staged(connection, target)["as_of"],
                counts=_run_counts(done, written),
                now=now,
            )
    if done.status == "FAILED":
        raise PromotionStopped(
            f"{target} cannot become public: "
            + " ".join(gate.sentence for gate in done.judged if gate.verdict == "stop")
        )
    return done


def revert(
    engine: sa.Engine, promotion_id: str, decision: Decision, *, enqueue: Trigger | None = None
) -> tuple[Promotion, Run | None]:
    """Approve a promotion that restores the public table as it was before another one.

    It becomes public with the next run of its day, which `enqueue` requests. Promotions after the
    other one are undone too. An open proposal is superseded, because its base is.

    Args:
        engine: The database.
        promotion_id: The promotion to undo.
        decision: Who, why and when.
        enqueue: Also enqueue that run, as requested by this.

    Returns:
        The new promotion, or the one that reverts it already; and the enqueued run.

    Raises:
        UnknownPromotion: There is none with this id.
        DecisionRefused: It never became public.
    """
    with write_transaction(engine) as connection:
        undone = ledger.find(connection, promotion_id)
        ledger.lock_line(connection, undone.city_slug)
        undone = ledger.find(connection, promotion_id)
        if undone.sequence is None:
            raise DecisionRefused(
                f"Promotion {undone.id} of {undone.city_slug} on {undone.day} is {undone.status}, "
                "and never became public. Only a promotion that is PROMOTED can be reverted."
            )
        public = ledger.public_of(connection, undone.city_slug)
        assert public is not None
        waiting = ledger.open_of(connection, undone.city_slug)
        for known in (public, waiting):
            if known is not None and known.reverts == undone.id:
                return known, _enqueued(connection, known, decision, enqueue)
        ledger.require_decision(decision)
        made = _reverting(connection, undone, public, decision)
        return made, _enqueued(connection, made, decision, enqueue)


def _promoted(
    connection: sa.Connection,
    target: Slice,
    terms: Terms,
    *,
    run: Run,
    now: datetime,
    again: bool,
) -> tuple[Promotion, Written]:
    """Return the promotion of a day, and what was written of the public table."""
    waiting = ledger.open_of(connection, target.city_slug)
    if waiting is not None and waiting.status == "APPROVED" and waiting.day == target.day:
        events = table.events_of_promotion(connection, waiting.id)
        return _make_public(connection, waiting, events, run=run, now=now)
    if terms.policy == "off":
        raise PromotionOff(
            f'City {target.city_slug!r} is not promoted. Set promotion = "review" or '
            '"automatic" for it in the cities file.'
        )
    staged = require_staged(connection, target)
    in_force = overrides.in_force(connection, target.city_slug)
    evidence = _evidence(staged, in_force)
    base = ledger.public_of(connection, target.city_slug)
    known = _known(connection, target, base, evidence, again=again)
    if known is not None:
        return known, Written()
    promotion_id = str(uuid.uuid4())
    found = difference(
        connection,
        target,
        Comparison(
            promotion_id=promotion_id,
            overrides=in_force,
            matcher=terms.matcher or default_matcher(),
            reserve=lambda: table.last_rows(
                connection,
                target.city_slug,
                ledger.DATASET,
                since=target.day - timedelta(days=terms.memory_days),
            ),
            boundaries=_from_to(base, staged, "boundary_ref"),
            rules=_from_to(base, staged, "rules_version"),
        ),
    )
    if base is not None and base.day == target.day and not found.changes:
        return base, Written()
    past = ledger.past_of(connection, target.city_slug)
    day = _staged_day(connection, target, staged)
    judged = gates.judged(found, day, past)
    row = Promotion(
        id=promotion_id,
        city_slug=target.city_slug,
        dataset=target.dataset,
        day=target.day,
        sequence=None,
        base_id=None if base is None else base.id,
        status="PROPOSED",
        policy=terms.policy,
        gates=[gate._asdict() for gate in judged],
        counts=dict(Counter(event.kind for event in found.events)),
        totals=gates.totals({} if base is None else base.totals, found.changes),
        findings=_findings(found),
        evidence=evidence,
        attribution=_attribution(day.licences),
        proposed_at=now,
        decided_at=None,
        decided_by=None,
        decision_reason=None,
        promoted_at=None,
        reverts=None,
        run_id=run.id,
    )
    if gates.worst(judged) == "stop":
        return _failed(connection, row), Written()
    ledger.supersede(connection, target.city_slug)
    ledger.insert(connection, row)
    table.load_events(connection, row.id, found.events)
    asks = terms.policy == "review" or gates.worst(judged) == "review"
    # A day that changes nothing has nothing to look at.
    if asks and found.changes:
        return row, Written()
    row = ledger.update(
        connection,
        row.id,
        status="APPROVED",
        decided_at=now,
        decided_by=AUTOMATIC,
        decision_reason="no gate asks for a review" if found.changes else "nothing changes",
    )
    return _make_public(connection, row, found.events, run=run, now=now)


def _known(
    connection: sa.Connection,
    target: Slice,
    base: Promotion | None,
    evidence: Mapping[str, Any],
    *,
    again: bool,
) -> Promotion | None:
    """Return the promotion of the same rows, if it is public or was proposed on the same base."""
    if base is not None and (base.day, base.evidence, base.reverts) == (target.day, evidence, None):
        return base
    last = ledger.last_of_base(
        connection, target.city_slug, target.day, None if base is None else base.id
    )
    if last is None or last.evidence != evidence:
        return None
    if last.status == "PROPOSED" or (last.status == "REJECTED" and not again):
        return last
    return None


def _failed(connection: sa.Connection, row: Promotion) -> Promotion:
    """Record a promotion that a gate stopped, once for the same reasons."""
    last = ledger.last_of_base(connection, row.city_slug, row.day, row.base_id)
    if last is not None and (last.status, last.evidence, last.gates) == (
        "FAILED",
        row.evidence,
        row.gates,
    ):
        return last
    failed = replace(row, status="FAILED")
    ledger.insert(connection, failed)
    return failed


def _make_public(
    connection: sa.Connection,
    row: Promotion,
    events: Sequence[Event],
    *,
    run: Run,
    now: datetime,
) -> tuple[Promotion, Written]:
    """Apply an approved promotion to the public table."""
    base = ledger.public_of(connection, row.city_slug)
    # A promotion supersedes what is open, so an open one has the public one as its base.
    assert row.base_id == (None if base is None else base.id)
    written = table.apply(connection, row.id, events, now=now)
    retired = [Retired(*each) for each in row.findings.get("retired_overrides", ())]
    overrides.retire(connection, retired, promotion_id=row.id, now=now)
    if row.reverts is not None:
        undone = ledger.find(connection, row.reverts)
        assert undone.sequence is not None
        stretch = Stretch(row.city_slug, row.dataset, undone.sequence - 1)
        overrides.restore(connection, table.promotions_since(connection, stretch))
    sequence = 1 if base is None or base.sequence is None else base.sequence + 1
    public = ledger.update(
        connection, row.id, status="PROMOTED", sequence=sequence, promoted_at=now, run_id=run.id
    )
    return public, written


def _reverting(
    connection: sa.Connection, undone: Promotion, public: Promotion, decision: Decision
) -> Promotion:
    """Add the promotion that undoes another one and all after it."""
    assert undone.sequence is not None
    restored = None if undone.base_id is None else ledger.find(connection, undone.base_id)
    evidence = {"reverts": undone.id}
    changed = table.rows_after(
        connection, Stretch(undone.city_slug, undone.dataset, undone.sequence - 1)
    )
    events = [
        event
        for now, then in changed.values()
        if now != then
        for event in events_of(
            now, then, Reason("reopened" if now is None else "disappeared", evidence)
        )
    ]
    before = "before the first one" if restored is None else f"of {restored.day}"
    gate = Gate(
        "revert",
        "pass",
        {"undoes": undone.id, "restores": None if restored is None else restored.id},
        f"It undoes the promotion of {undone.day} and all after it, and restores the state "
        f"{before}.",
    )
    like = restored or undone
    made = Promotion(
        id=str(uuid.uuid4()),
        city_slug=undone.city_slug,
        dataset=undone.dataset,
        day=like.day,
        sequence=None,
        base_id=public.id,
        status="APPROVED",
        policy=public.policy,
        gates=[gate._asdict()],
        counts=dict(Counter(event.kind for event in events)),
        totals={} if restored is None else restored.totals,
        findings={},
        evidence=like.evidence,
        attribution="" if restored is None else restored.attribution,
        proposed_at=decision.now,
        decided_at=decision.now,
        decided_by=decision.who,
        decision_reason=decision.reason,
        promoted_at=None,
        reverts=undone.id,
        run_id=None,
    )
    ledger.supersede(connection, undone.city_slug)
    ledger.insert(connection, made)
    table.load_events(connection, made.id, events)
    return made


def _enqueued(
    connection: sa.Connection, row: Promotion, decision: Decision, enqueue: Trigger | None
) -> Run | None:
    """Enqueue the run that makes a promotion public, if it is wanted and needed."""
    if enqueue is None or row.status != "APPROVED":
        return None
    run, _ = runs.enqueue_within(connection, ledger.key_of(row), trigger=enqueue, now=decision.now)
    return run


def _evidence(staged: sa.RowMapping, in_force: Mapping[str, Sequence[Override]]) -> dict[str, Any]:
    """Return what the rows depend on, as JSON: equal evidence on an equal base, equal rows."""
    stored = {name: staged[name] for name in _EVIDENCE}
    return stored | {
        "as_of": geopackage_datetime(staged["as_of"]),
        "overrides": sorted(each.id for some in in_force.values() for each in some),
    }


def _from_to(base: Promotion | None, staged: sa.RowMapping, name: str) -> tuple[str, str]:
    """Return a part of the evidence of the base and of the day."""
    return (staged[name] if base is None else base.evidence[name], staged[name])


def _staged_day(connection: sa.Connection, target: Slice, staged: sa.RowMapping) -> StagedDay:
    columns = target.table.c
    of_day = (*in_history(target), *valid_on(target.table, target.day))
    by = (columns.category, columns.licence, columns.attribution)
    mix = sa.select(*by, sa.func.count()).where(*of_day).group_by(*by).order_by(*by)
    licences = [Licensed(*row) for row in connection.execute(mix)]
    without = sa.or_(*(sa.func.trim(columns[name]) == "" for name in ("licence", "attribution")))
    unlicensed = sa.select(columns.source_ref).where(*of_day, without).order_by(columns.source_ref)
    # A look at each row is saved where the mix shows that none lacks one.
    is_blank = any(not (each.licence.strip() and each.attribution.strip()) for each in licences)
    return StagedDay(
        day=target.day,
        accepted_reason=staged["accepted_reason"],
        stale_reason=staged["stale_reason"],
        warnings=staged["warnings"] or {},
        licences=licences,
        unlicensed=list(connection.execute(unlicensed).scalars()) if is_blank else [],
    )


def _findings(found: Difference) -> dict[str, Any]:
    return {
        "ambiguous": [
            {"gone": list(each.gone), "new": list(each.new), "evidence": dict(each.evidence)}
            for each in found.ambiguous
        ],
        "retired_overrides": [list(each) for each in found.retired],
    }


def _attribution(licences: Sequence[Licensed]) -> str:
    """Return the text that a product must show, a line for each source."""
    return "\n".join(sorted({f"{each.attribution} ({each.licence})" for each in licences}))


def _run_counts(row: Promotion, written: Written) -> dict[str, int]:
    """Return the counts of a run in the ledger of runs."""
    return {
        "rows": sum(row.totals.values()),
        **written._asdict(),
        "rejected": 0,
        "written": sum(written),
    }
