"""Console output of a run: a filter that prints an expected error as one line, without a stack.

The event log has the whole error.

Dagster creates the console loggers of a run, one for its plan and one for its steps, from one
definition and without a name by which they could be configured. `Definitions(loggers=...)` replaces
them only in runs whose config lists loggers, which is not the case for launches from the UI,
schedules and backfills. So this module patches the definition to add the filter.
"""

import logging
import re
from functools import cache

import dagster as dg
from dagster._core.log_manager import LOG_RECORD_EVENT_ATTR

NOT_EXECUTED = re.compile(r"Dependencies for step \S+ .*Not executing\.$")
"""Dagster's message for each step after a failed one."""


@cache  # once per process
def print_expected_errors_in_one_line() -> None:
    """Add the filter to all console loggers that Dagster creates after this call."""
    definition = dg.colored_console_logger
    make = definition.logger_fn

    def make_with_filter(context: dg.InitLoggerContext) -> logging.Logger:
        logger = make(context)
        logger.addFilter(shorten)
        return logger

    definition._logger_fn = make_with_filter  # noqa: SLF001 - Dagster has no public API for this


def shorten(record: logging.LogRecord) -> bool:
    """Shorten a record of an expected error in place; return whether to print the record.

    Its consequences are not printed: that the run failed, and that later steps are skipped.
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
    """Return the message of an expected error; None for any other event."""
    if event.is_step_up_for_retry:
        return ""  # the step's own log has the reason and the wait
    if not event.is_step_failure:
        return None
    failure = event.step_failure_data.user_failure_data
    if failure is None or "error_code" not in failure.metadata:
        return None
    said = " ".join((failure.description or "").split())
    return f"Error ({failure.metadata['error_code'].value}): {said}"
