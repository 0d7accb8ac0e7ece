"""Ticks use the instance of their process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.impl import get_external_sensor_execution

from ingestion_pipeline.dagster_runtime.daemon_storage import instance_of
from ingestion_pipeline.dagster_runtime.ticks import with_shared_instance
from ingestion_pipeline.definitions import build_definitions
from ingestion_pipeline.staging import ticks

if TYPE_CHECKING:
    import pytest

    from ingestion_pipeline_tests.support.installations import Install


def tick(repository: dg.RepositoryDefinition, sensor: str, instance: dg.DagsterInstance) -> Any:
    """Let a sensor tick as the code server does."""
    return get_external_sensor_execution(
        repository,
        InProcessCodeLocationOrigin(LoadableTargetOrigin()),
        instance.get_ref(),
        sensor,
        *(None, None, None, None, None),
    )


def test_ticks_use_one_instance_that_is_opened_once(
    stored_instance: dg.DagsterInstance,
) -> None:
    seen: list[dg.DagsterInstance] = []

    @dg.op
    def work() -> None: ...

    @dg.job
    def made() -> None:
        work()

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        seen.append(context.instance)
        return dg.SkipReason("nothing to do")

    sensors = with_shared_instance(
        [
            dg.SensorDefinition(
                "looks", evaluation_fn=evaluate, job=made, required_resource_keys={"a"}
            )
        ]
    )
    resources = {"a": dg.ResourceDefinition.hardcoded_resource("a")}
    repository = dg.Definitions(
        jobs=[made], sensors=sensors, resources=resources
    ).get_repository_def()
    for _ in range(2):
        assert tick(repository, "looks", stored_instance).skip_message == "nothing to do"
    assert seen[0] is seen[1] is instance_of(stored_instance.get_ref())
    # A test that gives a context its instance has it.
    with dg.build_sensor_context(instance=stored_instance, resources={"a": "a"}) as context:
        repository.get_sensor_def("looks").evaluate_tick(context)
    assert seen[2] is stored_instance


def test_the_sensors_of_the_definitions_open_no_instance(
    install_town: Install, stored_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = install_town()
    repository = build_definitions(here.workshop).get_repository_def()
    shared = instance_of(stored_instance.get_ref())

    def refuse(*_: Any) -> None:
        raise AssertionError("an instance was opened")

    monkeypatch.setattr(dg.DagsterInstance, "from_ref", refuse)
    for sensor in repository.sensor_defs:
        done = tick(repository, sensor.name, stored_instance)
        assert not getattr(done, "error", None), done
    assert instance_of(stored_instance.get_ref()) is shared
    assert {ticks.TRIGGER_SENSOR, ticks.SWEEP_SENSOR} < {
        sensor.name for sensor in repository.sensor_defs
    }
