"""The layers' forward passes compiled, for training: `torch.compile`, once for all layers that are alike.

A batch of other lengths, more rows or more adapters needs no new code: shapes are symbols. A layer that carries
adapters is other code than a bare one, and so is one into which no gradient goes back; where they are of too many kinds
for torch's limit, the rest run as they are. Compiling takes from half a minute to two; what was compiled once is found
again in torch's cache.

Left out: sampling and traces, which no backward follows; the head.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from flyroom.engine.bases import instead

BACKEND = "inductor"
COMPILERS = ("c++", "g++", "clang++")


class Compiled:
    """The layers of a base, compiled when they are first used. ValueError where no C++ compiler is found."""

    def __init__(self, layers: nn.ModuleList) -> None:
        if BACKEND == "inductor" and not (os.environ.get("CXX") or any(map(shutil.which, COMPILERS))):
            raise ValueError(f"compile is true; that takes a C++ compiler, and none of {', '.join(COMPILERS)} is here")
        self._layers = layers
        self._forwards = [torch.compile(layer.forward, dynamic=True, backend=BACKEND) for layer in layers]

    @contextmanager
    def used(self) -> Iterator[None]:
        """Passes within the block go through compiled layers."""
        with (
            instead(self._layers, self._forwards),
            torch._dynamo.config.patch(force_nn_module_property_static_shapes=False),  # adapters are on modules
        ):
            yield
