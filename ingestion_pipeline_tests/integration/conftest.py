"""What a failed test of processes shows: their logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from testbed.platform_processes import Platform

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of a test's platform to the report of its failure."""
    del call
    report = yield
    if report.failed:
        used = getattr(item, "funcargs", {}).values()
        report.sections.extend(
            ("Logs of the platform", platform.logs())
            for platform in used
            if isinstance(platform, Platform)
        )
    return report
