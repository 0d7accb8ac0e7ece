"""Where comparisons are made: inputs, a folder, and a PostgreSQL that is started when it is needed.

Belongs here: what scenarios share. Does not belong here: any of them.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import psutil
import sqlalchemy as sa

from testbed.platform_processes import cpu_s_of
from testbed.postgres_server import private_cluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.harness import Values
    from benchmarks.inputs import Inputs
    from testbed.postgres_server import Cluster


@dataclass
class Bench:
    """A place for comparisons.

    Attributes:
        full: Whether the large ones are made too.
        inputs: What they work on.
        folder: An empty folder.
        base: The commit that this checkout is compared with, if any.
    """

    full: bool
    inputs: Inputs
    folder: Path
    base: str | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @cached_property
    def postgres(self) -> Cluster:
        """A PostgreSQL of our own with Debian's settings, which waits for the disk (fsync)."""
        return self._stack.enter_context(private_cluster(fsync=True))

    def new_database(self) -> str:
        """Make an empty database with PostGIS; give its URL."""
        url = self.postgres.create_database(f"bench_{next(self._numbers)}")
        engine = sa.create_engine(url.set(drivername="postgresql+psycopg"))
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE EXTENSION postgis")
        engine.dispose()
        return url.render_as_string(hide_password=False)

    def new_folder(self) -> Path:
        """Make an empty folder."""
        folder = self.folder / str(next(self._numbers))
        folder.mkdir()
        return folder

    def with_server(self, run: Callable[[], Values]) -> Values:
        """Run something, and count the CPU time of the PostgreSQL that worked for it too."""
        pid = (self.postgres.home / "data" / "postmaster.pid").read_text(encoding="utf-8")
        server = psutil.Process(int(pid.split()[0]))
        before = cpu_s_of(server)
        values = run()
        return values | {"CPU s": values["CPU s"] + cpu_s_of(server) - before}

    def close(self) -> None:
        """Stop what was started."""
        self._stack.close()
