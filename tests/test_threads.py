"""Threads that wait sleep, so that two runs do not take each other's time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("chosen", "policy"), [("", "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_unless_the_user_chose(chosen: str, policy: str) -> None:
    """In a process of its own: the policy is read once, when torch is loaded."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": chosen} if chosen else {}
    code = "import os, sys; import flyroom; print(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [policy, "False"]
