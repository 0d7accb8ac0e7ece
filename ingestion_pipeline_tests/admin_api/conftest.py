"""A running admin API for each test: on an embedded database, or on each kind of database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline_tests.support.api_server import Api, running_api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import sqlalchemy as sa


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    """A migrated embedded database, which the tests of a module share."""
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('embedded')}/staging.gpkg")
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, embedded: sa.Engine) -> Iterator[Api]:
    """The API for tests to which it does not matter what is in the ledger."""
    with running_api(tmp_path_factory.mktemp("api"), embedded) as running:
        yield running


@pytest.fixture
def fresh_api(tmp_path: Path, engine: sa.Engine) -> Iterator[Api]:
    """The API on an empty database, once for each kind that is supported."""
    with running_api(tmp_path, engine) as running:
        yield running
