"""Ticks of sensors that use the instance of their process, instead of opening one for each tick.

To open an instance reads its configuration, opens several connections, and lists the tables of the
database three times: more work than a tick that finds nothing to do.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.sensor_definition import SensorExecutionData


def with_shared_instance(sensors: Sequence[dg.SensorDefinition]) -> Sequence[dg.SensorDefinition]:
    """Return sensors that use the instance of their process."""
    for sensor in sensors:
        sensor.__class__ = _SharingInstance
    return sensors


class _SharingInstance(dg.SensorDefinition):
    """A sensor whose context has an instance when a tick begins."""

    def with_attributes(self, **attributes: Any) -> dg.SensorDefinition:
        # Dagster copies sensors when it gives their jobs the resources.
        (sensor,) = with_shared_instance([super().with_attributes(**attributes)])
        return sensor

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> SensorExecutionData:
        # The storages load Alembic, which not every process with the definitions needs.
        from ingestion_pipeline.dagster_runtime.daemon_storage import instance_of

        if context.instance_ref is not None and context._instance is None:  # noqa: SLF001
            context._instance = instance_of(context.instance_ref)  # noqa: SLF001
        return super().evaluate_tick(context)
