"""What a run prints: an expected error is one line, without a stack.

Belongs here: the filter of Dagster's console logger, and how that comes to use it. Does not belong
here: the event log, which keeps all of an error, and what errors say (`failures.py`).

Dagster makes the console loggers of a run, one for its plan and one for its steps, out of one
definition and under no name by which they could be configured. `Definitions(loggers=...)` replaces
them only in runs whose config lists loggers, which launches from the UI, schedules and backfills do
not. So the definition itself makes loggers with the filter.
"""

import logging
import re
from functools import cache

import dagster as dg
from dagster._core.log_manager import LOG_RECORD_EVENT_ATTR

NOT_EXECUTED = re.compile(r"Dependencies for step \S+ .*Not executing\.$")
"""What Dagster says of each step after one that failed."""


@cache  # once in a process
def print_expected_errors_in_one_line() -> None:
    """Have all console loggers that Dagster makes from now on leave out what is said elsewhere."""
    definition = dg.colored_console_logger
    make = definition.logger_fn

    def make_with_filter(context: dg.InitLoggerContext) -> logging.Logger:
        logger = make(context)
        logger.addFilter(shorten)
        return logger

    definition._logger_fn = make_with_filter  # noqa: SLF001 - there is no other way in


def shorten(record: logging.LogRecord) -> bool:
    """Shorten a console's record of an expected error; return whether to print the record.

    What follows from it is not printed: that the run failed, and that later steps are left out.
    """
    if NOT_EXECUTED.search(str(record.msg)):
        return False
    event = getattr(record, LOG_RECORD_EVENT_ATTR, None)
    if not isinstance(event, dg.DagsterEvent) or event.event_specific_data is None:
        return True
    if event.event_type == dg.DagsterEventType.RUN_FAILURE:
        first = event.job_failure_data.first_step_failure_event
        return first is None or _words_of(first) is None
    words = _words_of(event)
    if words is not None:
        head, _, _ = str(record.msg).partition("\n")
        record.msg = f"{head} {words}".rstrip()
    return True


def _words_of(event: dg.DagsterEvent) -> str | None:
    """Return what an expected error says; None of any other event."""
    if event.is_step_up_for_retry:
        return ""  # the step's own log says why, and for how long it waits
    if not event.is_step_failure:
        return None
    failure = event.step_failure_data.user_failure_data
    if failure is None or "error_code" not in failure.metadata:
        return None
    said = " ".join((failure.description or "").split())
    return f"Error ({failure.metadata['error_code'].value}): {said}"
