"""The layers' forward passes, compiled by `torch.compile` for training, once for all layers that are alike.

Shapes are symbols, so a batch with other lengths, more rows or more adapters needs no new code. A layer with adapters
needs other code than a bare layer, and a layer that passes no gradient down needs other code again. Where there are
more kinds than torch's limit, the remaining layers run uncompiled. Compiling takes a minute or two; torch caches the
result on disk.

Left out: sampling and traces, which have no backward pass; the head.
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
    """The layers of a base, compiled at their first use. Raises ValueError where there is no C++ compiler."""

    def __init__(self, layers: nn.ModuleList) -> None:
        if BACKEND == "inductor" and not (os.environ.get("CXX") or any(map(shutil.which, COMPILERS))):
            raise ValueError(f"compile is true; that takes a C++ compiler, and none of {', '.join(COMPILERS)} is here")
        self._layers = layers
        self._forwards = [torch.compile(layer.forward, dynamic=True, backend=BACKEND) for layer in layers]

    @contextmanager
    def use(self) -> Iterator[None]:
        """Forward passes within the block go through the compiled layers."""
        with (
            instead(self._layers, self._forwards),
            torch._dynamo.config.patch(
                force_nn_module_property_static_shapes=False
            ),  # adapters are attributes of modules
        ):
            yield
