"""The garbage collector rests while a command loads, and works again afterwards."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from ingestion_pipeline.cli.collector import loading


def test_nothing_is_collected_while_modules_are_loaded_and_what_was_loaded_is_old() -> None:
    with loading():
        assert not gc.isenabled()
        made = [[number] for number in range(100)]
    assert gc.isenabled()
    old = {id(each) for each in gc.get_objects(generation=2)}
    assert {id(each) for each in made} <= old


def test_a_collector_that_is_off_stays_off_and_an_error_turns_it_on_again() -> None:
    gc.disable()
    try:
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(ValueError, match="no module"), loading():
        raise ValueError("no module")
    assert gc.isenabled()


@pytest.mark.process
def test_nothing_is_collected_when_a_command_ends() -> None:
    program = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 1000))\n"
        "from ingestion_pipeline.cli.main import main\n"
        "main(['cities'], standalone_mode=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "True"
