"""A background task that ends jobs which were never started.

The sweep in Dagster does the same, but does not run while Dagster is down.
"""

import asyncio
import logging
from datetime import timedelta

from ingestion_pipeline.admin_api.problems import source_line
from ingestion_pipeline.admin_api.service import Service
from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.staging import runs

log = logging.getLogger(__name__)

EVERY_S = 30


def expire(service: Service) -> int:
    """End jobs that no run has started before the deadline; return their number."""
    now = service.clock.now()
    deadline = timedelta(minutes=service.settings.start_deadline_minutes)
    return runs.expire(service.database(), requested_before=now - deadline, now=now)


async def keep_expiring(service: Service, *, every_s: float = EVERY_S) -> None:
    """Expire jobs repeatedly; log errors and continue."""
    while True:
        try:
            ended = await asyncio.to_thread(expire, service)
            if ended:
                log.warning("%d jobs were not started in time and are now FAILED", ended)
        except IngestionError as error:
            log.warning("cannot expire jobs: %s", error)
        except Exception as error:  # noqa: BLE001  # the task must not end
            log.error("%s at %s", type(error).__name__, source_line(error))  # noqa: TRY400
        await asyncio.sleep(every_s)
