"""What a run prints of expected and unexpected errors."""

import re
from collections.abc import Callable, Sequence

import dagster as dg
import pytest

from ingestion_pipeline.dagster_runtime.console import print_expected_errors_in_one_line
from ingestion_pipeline.defs.failures import Retrying, failure_of
from ingestion_pipeline.osm.errors import OverpassBusy, OverpassRejected

COLORS = re.compile(r"\x1b\[[0-9;]*m")
HEAD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+ - dagster - (\w+) - ", re.MULTILINE)


def printed(
    capfd: pytest.CaptureFixture[str], fails: Callable[[], None], *, level: str = "INFO"
) -> Sequence[str]:
    """Execute a run whose only step fails; give what it prints."""

    print_expected_errors_in_one_line()

    @dg.op
    def work() -> int:
        fails()
        return 1

    @dg.op
    def more_work(number: int) -> int:
        return number

    @dg.job(executor_def=dg.in_process_executor)
    def only_job() -> None:
        more_work(more_work.alias("even_more")(work()))

    capfd.readouterr()
    result = only_job.execute_in_process(
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": level}}}},
    )
    assert not result.success
    return COLORS.sub("", capfd.readouterr().err).splitlines()


def rejected() -> None:
    raise failure_of(OverpassRejected("line 1: parse error;\nline 2: another")) from None


def test_an_expected_error_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    (line,) = printed(capfd, rejected)
    assert line.endswith(
        'STEP_FAILURE - Execution of step "work" failed. '
        "Error (overpass_rejected): line 1: parse error; line 2: another"
    )


def test_an_unexpected_error_keeps_its_stack(capfd: pytest.CaptureFixture[str]) -> None:
    def breaks() -> None:
        raise ZeroDivisionError("nobody foresaw this")

    lines = "\n".join(printed(capfd, breaks))
    assert "ZeroDivisionError: nobody foresaw this" in lines
    assert "in breaks" in lines
    assert "RUN_FAILURE" in lines


def test_a_failure_of_another_kind_keeps_its_stack(capfd: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise dg.Failure("not one of this pipeline's errors")

    assert "in fails" in "\n".join(printed(capfd, fails))


def test_a_retry_has_no_stack_either(capfd: pytest.CaptureFixture[str]) -> None:
    tries = [1, 0]

    def busy() -> None:
        error = OverpassBusy("no slot")
        retry = Retrying(maximum=1, first_wait_s=0.01).of(error, retry_number=1 - tries.pop(0))
        raise retry or failure_of(error) from None

    lines = printed(capfd, busy, level="DEBUG")
    at = next(place for place, line in enumerate(lines) if "STEP_UP_FOR_RETRY" in line)
    assert HEAD.match(lines[at + 1])
