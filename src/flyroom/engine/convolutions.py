"""Put a linear module in the place of each `Conv1D`, as GPT-2 and its kin have them: the same product, of a weight that
is stored the other way round. Adapters, hooks and merging then know one kind of module. PEFT's tensors of an adapter on
a Conv1D have the shapes of one on a linear module, so adapters need no turning.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D


def turn_convolutions(model: nn.Module) -> None:
    """Change the model in place.

    >>> model = nn.ModuleList([Conv1D(3, 2)])
    >>> turn_convolutions(model)
    >>> model[0]
    Linear(in_features=2, out_features=3, bias=True)
    """
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, Conv1D):
                setattr(parent, name, _turn(module))


def _turn(module: Conv1D) -> nn.Linear:
    with torch.device("meta"):
        linear = nn.Linear(module.weight.shape[0], module.weight.shape[1])
    learns = module.weight.requires_grad
    linear.weight = nn.Parameter(module.weight.data.T.contiguous(), requires_grad=learns)
    linear.bias = nn.Parameter(module.bias.data, requires_grad=learns)
    return linear
