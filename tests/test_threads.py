"""Threads that wait spin for a moment and then sleep, so that two runs do not take each other's time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("chosen", "policy", "spin"), [("", "PASSIVE", "10000"), ("ACTIVE", "ACTIVE", "None")])
def test_threads_sleep_unless_the_user_chose(chosen: str, policy: str, spin: str) -> None:
    """In a process of its own: the policy is read once, when torch is loaded."""
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    environment |= {"OMP_WAIT_POLICY": chosen} if chosen else {}
    code = (
        "import os, sys; import flyroom; "
        "print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [policy, spin, "False"]
