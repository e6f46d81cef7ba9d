"""On a busy machine threads that wait sleep, so that two runs do not take each other's time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("load", "chosen", "policy"),
    [(0.2, "", "None"), (2.0, "", "PASSIVE"), (2.0, "ACTIVE", "ACTIVE"), (0.2, "PASSIVE", "PASSIVE")],
)
def test_threads_sleep_where_others_work(load: float, chosen: str, policy: str) -> None:
    """In a process of its own: the policy is read once, when torch is loaded. Load is in processes for each core."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": chosen} if chosen else {}
    code = (
        f"import os, sys; os.getloadavg = lambda: ({load} * os.cpu_count(), 0, 0); import flyroom; "
        "print(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [policy, "False"]
