"""How others read the residual stream after a layer: a hook by hand, nnsight, TransformerLens.

All three read a Hugging Face model with PEFT's adapters in it. nnsight and TransformerLens stop above the layer, as
ours does; the hook runs the whole body, as one that is written in a minute does. TransformerLens computes attention
eagerly, so that its patterns could be read.
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from benchmarks.measure import Missing
from benchmarks.peft_loop import Read
from benchmarks.subjects import Subject


def hooks(model: Any, subject: Subject, layer: int) -> Read:
    """A forward hook on the layer; the body alone is run, without the head."""
    kept: list[Tensor] = []
    body = model.model
    body.layers[layer].register_forward_hook(lambda _m, _a, out: kept.append(out[0] if type(out) is tuple else out))

    def read(ids: Tensor, mask: Tensor) -> Tensor:
        kept.clear()
        body(input_ids=ids, attention_mask=mask, use_cache=False)
        return kept[0]

    return read


def nnsight(model: Any, subject: Subject, layer: int) -> Read:
    """nnsight's trace of the body, stopped after the layer."""
    if find_spec("nnsight") is None:
        raise Missing("nnsight is not installed: pip install 'flyroom[bench]'")
    from nnsight import NNsight  # pyright: ignore[reportMissingImports]

    body = NNsight(model.model)

    def read(ids: Tensor, mask: Tensor) -> Tensor:
        with body.trace(input_ids=ids, attention_mask=mask, use_cache=False) as tracer:
            hidden = body.layers[layer].output.save()
            tracer.stop()
        return hidden[0] if type(hidden) is tuple else hidden

    return read


def transformer_lens(model: Any, subject: Subject, layer: int) -> Read:
    """TransformerLens' bridge over the model, its cache of one name, stopped after the layer."""
    if find_spec("transformer_lens") is None:
        raise Missing("TransformerLens is not installed: pip install 'flyroom[bench]'")
    from transformer_lens.model_bridge import TransformerBridge  # pyright: ignore[reportMissingImports]

    device, dtype, name = model.device, model.dtype, f"blocks.{layer}.hook_resid_post"
    with tempfile.TemporaryDirectory() as folder:  # it reads the configuration by a model's name
        model.config.save_pretrained(folder)
        bridge = TransformerBridge.boot_transformers(
            folder, hf_model=model, tokenizer=subject.tokenizer, device=device, dtype=dtype
        )

    def read(ids: Tensor, mask: Tensor) -> Tensor:
        _, cache = bridge.run_with_cache(
            ids, attention_mask=mask, names_filter=name, stop_at_layer=layer + 1, return_cache_object=False
        )
        return cache[name]

    return read
