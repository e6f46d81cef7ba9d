"""transformers' continuous batching: paged attention, a request that ends makes room for the next.

It serves one model; so PEFT's adapter stands in it, and organisms come one after another, all asks of one at once.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from benchmarks.measure import Missing, Run, Work
from benchmarks.peft_loop import Build, anew, wrapped
from benchmarks.subjects import Subject
from flyroom.engine.render import Renderer
from flyroom.types import LoRA

PAGE, CPU_TOKENS = 256, 4096  # tokens of a block, and of a batch where there is no accelerator to fill


def sampler(subject: Subject, shape: LoRA, organisms: int, n: int, max_tokens: int) -> Build:
    """`generate_batch` on all of an organism's asks, one organism after another."""

    def build() -> Run:
        model: Any = wrapped(subject, shape).base_model.model
        if not hasattr(model, "generate_batch"):
            raise Missing("this transformers has no generate_batch")
        renderer = Renderer(subject.tokenizer)
        prompts = [
            [renderer.prompt(ask.messages, ask.prefill).tolist() for ask in subject.asks(k, n, max_tokens)]
            for k in range(organisms)
        ]
        settings = GenerationConfig(
            do_sample=True, top_k=0, top_p=1.0, temperature=1.0, max_new_tokens=max_tokens,
            eos_token_id=renderer.stops, pad_token_id=0,
        )  # fmt: skip

        blocks = None if next(model.parameters()).is_cuda else n  # else it would fill a share of all memory with zeros
        paging = ContinuousBatchingConfig(num_blocks=blocks, max_batch_tokens=blocks and CPU_TOKENS, page_size=PAGE)

        @torch.no_grad()  # its worker thread writes into tensors that are made here
        def run() -> Work:
            made = 0
            for seed, asked in enumerate(prompts):
                anew(model, seed)
                found = model.generate_batch(asked, generation_config=settings, continuous_batching_config=paging)
                answered = [one for one in found.values() if one.error is None]
                if len(answered) < len(asked):
                    raise Missing(f"generate_batch answered {len(answered)} of {len(asked)} asks")
                made += sum(len(one.generated_tokens) for one in answered)
            return Work(organisms * n, made)

        return run

    return build
