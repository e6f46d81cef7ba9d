"""The tiny base of the tests as a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from gguf import GGUFWriter

from flyroom import stages
from tests import tiny_base

PARTS = {  # of a layer: what transformers calls them, and what llama.cpp does
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_gguf(
    path: Path, folder: Path, splits: str, extra: Callable[[GGUFWriter], object] = lambda _: None, without: str = "-"
) -> Path:
    """The tiny base as a GGUF file that names how its tokenizer splits text; `extra` adds to it."""
    engine = stages.open_base(str(folder)).engine
    model, tokenizer, config = engine.parts.model, engine.parts.renderer.tokenizer, engine.parts.config
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    words = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splits)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in tiny_base.SPECIALS else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in words["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(tiny_base.TEMPLATE)
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        if name.startswith("model.layers."):
            _, _, layer, part = name.removesuffix(".weight").split(".", 3)
            tensor = turn(tensor, heads[PARTS[part]]) if PARTS[part] in heads else tensor
            target = f"blk.{layer}.{PARTS[part]}.weight"
        else:
            target = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm"}.get(name, "output")
            target += ".weight"
        if without in target:
            continue
        writer.add_tensor(target, tensor.float().numpy())
    extra(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def turn(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows in the order in which a GGUF of this family has those of queries and keys: halves of a head interleaved."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
