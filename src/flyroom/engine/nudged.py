"""What a training step does to the residual stream of its own rows: a direction added, or taken out.

So a model can be trained while it is steered: towards what it should not become (preventive steering, Chen et al. 2025,
arXiv 2507.21509), by an adversary in its activations (latent adversarial training, Sheshadri et al. 2024, arXiv
2407.15549), or without a concept (concept ablation in fine-tuning, Casademunt et al. 2025, arXiv 2507.16795).

Left out: sampling and scoring, for which steering is an adapter (see `bank`).
Shapes: B rows, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from flyroom.engine.bases import Base
from flyroom.types import Nudge


@contextmanager
def nudged(base: Base, nudges: Sequence[tuple[Nudge, Sequence[bool]]]) -> Iterator[None]:
    """Within the block each nudge acts on those rows of a pass that are its own."""
    with ExitStack() as stack:
        for nudge, is_owned in nudges:
            if any(is_owned):
                hook = base.layers[nudge.layer].register_forward_hook(partial(_nudge, nudge, is_owned))
                stack.callback(hook.remove)
        yield


def _nudge(nudge: Nudge, is_owned: Sequence[bool], _module: Any, _args: Any, output: Any) -> Any:
    hidden_BTD: Tensor = output[0] if isinstance(output, tuple) else output
    owned_B11 = torch.tensor(is_owned, device=hidden_BTD.device)[:, None, None]
    direction_D = nudge.direction.to(hidden_BTD.device, hidden_BTD.dtype)
    change = direction_D
    if nudge.ablates:
        unit_D = direction_D / direction_D.norm().clamp_min(1e-12)
        change = -(hidden_BTD @ unit_D)[..., None] * unit_D
    hidden_BTD = hidden_BTD + owned_B11 * change
    return (hidden_BTD, *output[1:]) if isinstance(output, tuple) else hidden_BTD
