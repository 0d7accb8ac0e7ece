"""The leases of runs: whether a run that may be on another machine is still alive.

A run takes a lease when its process begins, renews it (`heartbeat.py`), and releases it at its end.
Every moment is of the database's clock, so the clocks of machines may differ. An ended lease cannot
be renewed: who sees that it has ended may take the run's work over.

A lease says who is alive, and the fence of a claim (`runs.py`) who may write. A GeoPackage belongs
to one machine, and each renewal would lock the file: there a lease is a lock (`file_leases.py`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ingestion_pipeline.staging import file_leases
from ingestion_pipeline.staging.database import read_transaction, write_transaction
from ingestion_pipeline.staging.tables import run_lease

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT = timedelta(days=1)
"""How long the lease of a dead run is kept."""

_NOW: sa.ColumnElement[Any] = sa.func.clock_timestamp(type_=sa.DateTime(timezone=True))

_IS_LIVE = (run_lease.c.expires_at > _NOW).label("is_live")


def are_stored(engine: sa.Engine) -> bool:
    """Return whether leases are in the database, and are renewed."""
    return engine.dialect.name == "postgresql"


def take(engine: sa.Engine, dagster_run_id: str, *, token: str, seconds: float) -> None:
    """Take the lease of a run for one of its processes; an earlier process loses it.

    Args:
        engine: The database; not a GeoPackage.
        dagster_run_id: The run.
        token: Unique to the process and run.
        seconds: The length of the lease.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    moments = _moments(seconds)
    with write_transaction(engine) as connection:
        connection.execute(
            postgresql.insert(run_lease)
            .values(dagster_run_id=dagster_run_id, token=token, **moments)
            .on_conflict_do_update(
                index_elements=["dagster_run_id"], set_={"token": token, **moments}
            )
        )


def renew(engine: sa.Engine, dagster_run_id: str, *, token: str, seconds: float) -> bool:
    """Renew a lease from now; return False if it has ended or another process has taken it.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    with write_transaction(engine) as connection:
        renewed = connection.execute(
            sa.update(run_lease).where(*_held(dagster_run_id, token)).values(_moments(seconds))
        )
        return renewed.rowcount == 1


def release(engine: sa.Engine, dagster_run_id: str, *, token: str) -> None:
    """Delete the lease of a run that has ended, unless another process has taken it.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    with write_transaction(engine) as connection:
        connection.execute(
            sa.delete(run_lease).where(
                run_lease.c.dagster_run_id == dagster_run_id, run_lease.c.token == token
            )
        )


def revoke(engine: sa.Engine, dagster_run_id: str) -> None:
    """End the lease of a run that counts as dead, so that a process of it cannot renew it.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    if are_stored(engine):
        with write_transaction(engine) as connection:
            connection.execute(
                sa.update(run_lease)
                .where(run_lease.c.dagster_run_id == dagster_run_id)
                .values(token="", expires_at=sa.func.least(run_lease.c.expires_at, _NOW))
            )


def is_held(connection: sa.Connection, dagster_run_id: str, *, token: str) -> bool:
    """Return whether a process still holds the lease of a run."""
    held = sa.select(sa.exists().where(*_held(dagster_run_id, token)))
    return bool(connection.execute(held).scalar_one())


def is_live(engine: sa.Engine, dagster_run_id: str) -> bool | None:
    """Return whether the lease of a run has not ended; None if it has no lease.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    if not are_stored(engine):
        return file_leases.is_live(engine, dagster_run_id)
    with read_transaction(engine) as connection:
        return connection.execute(
            sa.select(_IS_LIVE).where(run_lease.c.dagster_run_id == dagster_run_id)
        ).scalar_one_or_none()


def all_live(engine: sa.Engine) -> Mapping[str, bool]:
    """Return whether the lease of each run has not ended, by the Dagster run's id.

    If the database's server was replaced by one whose clock is behind, leases would last longer by
    the difference. Those that were renewed in the future are counted from now.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    if not are_stored(engine):
        return file_leases.all_live(engine)
    with write_transaction(engine) as connection:
        connection.execute(
            sa.update(run_lease)
            .where(run_lease.c.beat_at > _NOW)
            .values(beat_at=_NOW, expires_at=_NOW + (run_lease.c.expires_at - run_lease.c.beat_at))
        )
        rows = connection.execute(sa.select(run_lease.c.dagster_run_id, _IS_LIVE))
        return {row.dagster_run_id: row.is_live for row in rows}


def forget_ended(engine: sa.Engine) -> None:
    """Delete the leases of runs that died long ago.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    if not are_stored(engine):
        file_leases.forget_ended(engine, kept=KEPT)
        return
    with write_transaction(engine) as connection:
        connection.execute(sa.delete(run_lease).where(run_lease.c.expires_at < _NOW - KEPT))


def _held(dagster_run_id: str, token: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        run_lease.c.dagster_run_id == dagster_run_id,
        run_lease.c.token == token,
        run_lease.c.expires_at > _NOW,
    )


def _moments(seconds: float) -> dict[str, Any]:
    return {"beat_at": _NOW, "expires_at": _NOW + timedelta(seconds=seconds)}
