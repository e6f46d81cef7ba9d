"""Inspect leaves streams of its own unclosed at the end of an evaluation, and says so when they are collected, in
whichever test that happens. They are collected here, behind the test that made them.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest

LEAKS = pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")


@pytest.fixture(autouse=True)
def collect_leaks() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
