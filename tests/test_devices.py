"""The harness that gives a test several devices does give them."""

import pytest
from devices import run_with_devices


def test_a_script_sees_the_devices_it_asked_for():
    script = "import sys, jax; print(jax.device_count(), jax.default_backend(), sys.argv[1])"
    assert run_with_devices(4, script, "given").split() == ["4", "cpu", "given"]


def test_a_failing_script_fails_the_test_with_its_error():
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_with_devices(1, "1 / 0")
