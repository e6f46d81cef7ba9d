"""Layers that keep nothing of a pass but what enters them: the rest is computed again on the way back, for a third more
work (gradient checkpointing: Chen et al. 2016, arXiv 1604.06174).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from flyroom.engine.bases import instead


def recomputed(layers: nn.ModuleList) -> AbstractContextManager[None]:
    """Passes and their backward within the block are of such layers."""
    again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)  # there is no dropout
    return instead(layers, [partial(again, layer.forward) for layer in layers])
