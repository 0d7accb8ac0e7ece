"""Release of the pool slots of a run that has died."""

import dagster as dg


def free_slots(instance: dg.DagsterInstance, run_id: str) -> None:
    """Free the slots that a dead run holds or waits for.

    Dagster's daemon does so too (`free_slots_after_run_end_seconds`), but compares the moment at
    which the end was reported with its own clock, which may be behind that of another machine.
    """
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        storage.free_concurrency_slots_for_run(run_id)
