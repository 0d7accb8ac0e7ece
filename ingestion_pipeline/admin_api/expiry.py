"""Ending jobs that never start, for as long as the admin API lives.

Belongs here: the rhythm. Does not belong here: the statement (`staging/runs.py`).

Dagster's own sweep does the same. But a job that Dagster does not start is just the one for which
Dagster may not be there to say so.
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
    """End jobs that have waited for a run past the deadline; tell how many there were."""
    now = service.clock.now()
    deadline = timedelta(minutes=service.settings.start_deadline_minutes)
    return runs.expire(service.database(), requested_before=now - deadline, now=now)


async def keep_expiring(service: Service, *, every_s: float = EVERY_S) -> None:
    """Do so again and again; what fails once may work the next time."""
    while True:
        try:
            ended = await asyncio.to_thread(expire, service)
            if ended:
                log.warning("%d jobs were not started in time and are FAILED now", ended)
        except IngestionError as error:
            log.warning("jobs that are past their deadline were not looked for: %s", error)
        except Exception as error:  # noqa: BLE001  # nothing may end this
            log.error("%s at %s", type(error).__name__, source_line(error))  # noqa: TRY400
        await asyncio.sleep(every_s)
