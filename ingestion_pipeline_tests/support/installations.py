"""Fixtures that set up an installation for a test."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline_tests.support.installation import Installation, installed
from testbed.towns import TOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Install = Callable[..., Installation]


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Set up an installation on an embedded GeoPackage; arguments as for `installed`."""
    with ExitStack() as stack:

        def build(**arguments: Any) -> Installation:
            url = f"sqlite:///{tmp_path}/staging.gpkg"
            return stack.enter_context(installed(tmp_path, url, **arguments))

        yield build


@pytest.fixture
def install_town(install: Install) -> Install:
    """Set up an installation with the invented town; keys of the city may be given as `city`."""

    def build(*, city: dict[str, Any] | None = None, **arguments: Any) -> Installation:
        return install(cities=[TOWN | (city or {})], **arguments)

    return build
