"""Every example in a docstring does what it says."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

import flyroom

MODULES = sorted(["flyroom", *(m.name for m in pkgutil.walk_packages(flyroom.__path__, "flyroom."))])


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0


def test_there_are_examples() -> None:
    tests = [test for name in MODULES for test in doctest.DocTestFinder().find(import_module(name)) if test.examples]
    assert len(tests) >= 15


def test_every_public_name_is_there_and_told() -> None:
    assert len(flyroom.__all__) <= 40
    for name in flyroom.__all__:
        assert getattr(flyroom, name) is not None
    for module in MODULES:
        assert import_module(module).__doc__, module
    with pytest.raises(AttributeError, match="flyroom has no 'nothing'; it has Access"):
        flyroom.nothing  # noqa: B018
