"""A slot of a concurrency pool for a part of a step.

Dagster gives a step that declares a pool its slot before the step starts, for all of its time. A
step that rarely needs one takes it here, for as long as it needs it. The daemon frees the slots of
a run that has ended, these too.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""The time between two looks for a free slot; Dagster lengthens it while others wait."""


@contextmanager
def slot_of(pool: str | None, context: dg.AssetExecutionContext) -> Iterator[None]:
    """Hold a slot of a pool; wait while none is free.

    Args:
        pool: The pool; None for none.
        context: The context of a step that does not declare the pool.
    """
    if pool is None:
        yield
        return
    from ingestion_pipeline.dagster_runtime.private import InstanceConcurrencyContext

    step = context.asset_key.to_user_string()
    with InstanceConcurrencyContext(context.instance, context.run) as slots:
        if not slots.claim(pool, step):
            log.info("Waiting for a slot of the pool %s", pool)
            while not slots.claim(pool, step):
                time.sleep(LOOK_S)
        try:
            yield
        finally:
            slots.free_step(step)
