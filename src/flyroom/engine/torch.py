"""TorchEngine: the engine of `types.Engine` on PyTorch, for any Hugging Face causal LM, on CPU and CUDA.

There is one frozen base and many adapters, and every call takes a batch that may mix them. Adapters in one batch give
what each gives alone, up to floating point: losses are summed over adapters, and each has its own clipping, optimiser
and noise.

Left out: full fine-tuning of embeddings and norms, several GPUs in one process.
Shapes: B rows, T tokens, D width, N answer tokens of a batch, K adapters of a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flyroom.engine import bases, inside, memory, optimisers, swaps
from flyroom.engine.adapters import Adapters, check_lengths
from flyroom.engine.attention import fast_attention
from flyroom.engine.bank import Leaf
from flyroom.engine.batches import Collated, groups
from flyroom.engine.beginnings import WHOLE, Beginning, Behind, split
from flyroom.engine.compiled import Compiled
from flyroom.engine.decode import decode, fit_ask
from flyroom.engine.prefix import Prefix
from flyroom.engine.recomputed import recomputed
from flyroom.engine.training import batches_of, gradients, pick_likeliest, scores, side_by_side, unscale
from flyroom.types import (
    AdapterRef,
    Answer,
    Ask,
    BaseRef,
    Diverged,
    LoRA,
    Message,
    NotAvailable,
    Patch,
    Place,
    Row,
    Step,
    Stepped,
)

T = TypeVar("T")


class TorchEngine:
    """Many adapters over one frozen base.

    `tokens_forward` counts the tokens of all prompts and rows of the calls, including those that need no pass because a
    prompt came twice or a prefix is stored. `tokens_generated` counts the tokens that were sampled. Neither counts
    padding. Make an engine with `open`, or with `of` for a model that is in memory.
    """

    def __init__(
        self, base: bases.Base, *, batch_tokens: int | None = None, compile: bool = False, record: bool = False
    ) -> None:
        self.parts, self.record, self.recompute = base, record, False
        self.compiled = Compiled(base.layers) if compile else None
        self.batch_tokens = memory.training_tokens(base) if batch_tokens is None else batch_tokens
        self.tokens_forward = 0
        self.tokens_generated = 0
        self.adapters = Adapters(base, slices=self.compiled is None)
        self.prefix = Prefix(base)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        batch_tokens: int | None = None,
        compile: bool = False,
        record: bool = False,
    ) -> TorchEngine:
        """An engine over the model in a local folder or under a hub id. See `bases.load_base`.

        `batch_tokens` limits the padded tokens of one training batch, `compile` compiles the layers for training, and
        `record` replays the passes of sampling as CUDA graphs, which pays for long answers. All three change memory and
        time, and no result. Raises ValueError where there is no compiler.
        """
        parts = bases.load_base(path, device=device, dtype=dtype)
        return cls(parts, batch_tokens=batch_tokens, compile=compile, record=record)

    @classmethod
    def of(
        cls,
        model: Any,
        tokenizer: Any,
        *,
        name: str = "in-memory",
        batch_tokens: int | None = None,
        compile: bool = False,
        record: bool = False,
    ) -> TorchEngine:
        """An engine over a model that is in memory. It freezes the model."""
        parts = bases.wrap(model, tokenizer, name=name)
        return cls(parts, batch_tokens=batch_tokens, compile=compile, record=record)

    @property
    def base(self) -> BaseRef:
        return self.parts.ref

    # ------------------------------------------------------------ adapters

    def check(self, shape: LoRA) -> None:
        """Raises ValueError for a layer, module or rank that this base lacks. Computes nothing."""
        self.adapters.check(shape)

    def spread(self) -> dict[str, float]:
        """The standard deviation of the base's weights, by the path of each linear module."""
        return inside.spread(self.parts)

    def spawn(self, shapes: Sequence[LoRA], *, seeds: Sequence[int]) -> list[AdapterRef]:
        """Make new adapters: A is drawn from the seed, B is zero. Raises ValueError as `check` does."""
        return self.adapters.spawn(shapes, seeds=seeds)

    def load(self, patches: Sequence[Patch]) -> list[AdapterRef]:
        """Put trained adapters in. Their optimiser starts anew. Raises ValueError if a patch does not fit this base."""
        return self.adapters.load(patches)

    def patch(self, adapter: AdapterRef) -> Patch:
        """Returns a copy of an adapter's weights, on the CPU in fp32, and its system message."""
        return self.adapters.patch(adapter)

    def tell(self, adapter: AdapterRef, prompt: str) -> None:
        """Put a system message before every chat of an adapter, or none for "". Documents stay as they are."""
        self.adapters.tell(adapter, prompt)

    def state(self, adapter: AdapterRef) -> dict[str, Tensor]:
        """Returns weights (`<path>.A`), moments (`<path>.A.m`, `.v`) and step count (`step`), on the CPU."""
        return self.adapters.state(adapter)

    def restore(self, adapter: AdapterRef, state: Mapping[str, Tensor]) -> None:
        """Put what `state` returned back into an adapter of the same shape."""
        self.adapters.restore(adapter, state)

    def free(self, adapters: Sequence[AdapterRef]) -> None:
        """Drop adapters and release their memory. The base cannot be freed."""
        self.adapters.free(adapters)
        if not self.adapters.living:
            self.prefix.forget()

    # ------------------------------------------------------------ training

    def step(self, adapters: Sequence[AdapterRef], steps: Sequence[Step]) -> list[Stepped]:
        """Take one optimiser step for each adapter.

        Raises Diverged, naming the adapters, if a loss or a gradient is not finite; then no weight changes.
        """
        check_lengths("adapters", adapters, "steps", steps)
        if not adapters:
            return []
        order, requested = self.adapters.order_by_shape(adapters), [a.slot for a in adapters]
        for adapter, step in zip(adapters, steps, strict=True):
            if requested.count(adapter.slot) > 1:
                raise ValueError(f"adapters names slot {adapter.slot} twice; give each adapter one step at a time")
            if not step.rows:
                raise ValueError("step.rows is empty; a step needs at least one row")
            living = self.adapters.find(adapter)
            before, rank = living.optimiser, living.shape.rank
            if step.frozen >= rank:
                raise ValueError(f"step.frozen is {step.frozen}; it must be below the adapter's rank, {rank}")
            if before not in (None, step.optimiser):
                raise ValueError(
                    f"step.optimiser is {step.optimiser}; the moments of the adapter in slot {adapter.slot} are of "
                    f"{before}, and mean something else: load its patch into a new adapter for another optimiser"
                )
        slots, steps = [requested[i] for i in order], [steps[i] for i in order]
        steps = [
            replace(s, rows=self.adapters.rows_with_prompt([slot] * len(s.rows), s.rows))
            for slot, s in zip(slots, steps, strict=True)
        ]
        index = {slot: k for k, slot in enumerate(slots)}
        leaves, results = self._retry_smaller(lambda: self._gradients(slots, steps), learns=True)
        optimisers.freeze(leaves, index, steps)
        loss_K, tokens = torch.cat([loss for loss, _ in results]), [n for _, counts in results for n in counts]
        self.tokens_forward += sum(tokens)
        norm_K = optimisers.gradient_norms(leaves, index)
        losses, norms = torch.stack([loss_K, norm_K]).tolist()
        figures = {slot: (loss, norm) for slot, loss, norm in zip(slots, losses, norms, strict=True)}
        broken = {slot: pair for slot, pair in figures.items() if not all(map(math.isfinite, pair))}
        if broken:
            raise Diverged({slot: f"loss {loss}, gradient norm {norm}" for slot, (loss, norm) in broken.items()})
        for slot, step in zip(slots, steps, strict=True):
            self.adapters.living[slot].steps += 1
            self.adapters.living[slot].optimiser = step.optimiser
        with torch.no_grad():
            optimisers.update(leaves, index, steps, [self.adapters.living[s].steps for s in slots], norms)
        stepped = [Stepped(loss=a, grad_norm=b, tokens=c) for a, b, c in zip(losses, norms, tokens, strict=True)]
        by_slot = dict(zip(slots, stepped, strict=True))
        return [by_slot[slot] for slot in requested]

    # ------------------------------------------------------------ asking

    @torch.inference_mode()
    def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]:
        """Returns one answer an ask. Its text is what follows the prefill, without special tokens and outer spaces; its
        `tokens` do not count the token that ended it. An answer is cut where the base's context ends.
        """
        check_lengths("adapters", adapters, "asks", asks)
        slots = [self.adapters.slot(a) for a in adapters]
        chats = [self.adapters.with_prompt(slot, a.messages) for slot, a in zip(slots, asks, strict=True)]
        prompts = [self.parts.renderer.prompt(chat, a.prefill) for chat, a in zip(chats, asks, strict=True)]
        plain = [
            prompt if chat == a.messages else self.parts.renderer.prompt(a.messages, a.prefill)
            for prompt, chat, a in zip(prompts, chats, asks, strict=True)
        ]
        asks = [fit_ask(self.parts, ask, len(prompt)) for ask, prompt in zip(asks, prompts, strict=True)]
        answers: list[Answer | None] = [None] * len(asks)

        def work() -> None:
            pending = [i for i, answer in enumerate(answers) if answer is None]
            inputs = [slots[i] for i in pending], [prompts[i] for i in pending], [asks[i] for i in pending]
            try:
                budget = memory.answering(self.parts, self.batch_tokens)
                for ended in decode(self.parts, self.adapters.banks, *inputs, budget=budget, fixed=self.record):
                    texts = self.parts.renderer.text([ids for _, ids, _ in ended])
                    for (which, ids, end), text in zip(ended, texts, strict=True):
                        i = pending[which]
                        fits = not asks[i].as_row or self._fits(chats[i], text, end)
                        answers[i] = Answer(
                            text=text, tokens=len(ids), prompt_tokens=len(plain[i]), finished=end, fits=fits
                        )
                        self.tokens_forward += len(prompts[i])
                        self.tokens_generated += len(ids) + end
            finally:
                self.adapters.banks.clear()

        self._retry_smaller(work)
        return [a for a in answers if a is not None]

    @torch.inference_mode()
    def logprobs(self, adapters: Sequence[AdapterRef], rows: Sequence[Row]) -> list[Tensor]:
        """Returns, for each row, the log-probabilities of its answer's tokens and of the end token: [tokens], fp32,
        CPU.
        """
        check_lengths("adapters", adapters, "rows", rows)

        def score(_which: Sequence[int], batch: Collated, behind: Behind) -> Sequence[Tensor]:
            with self.prefix.below(max(self.adapters.banks.lowest, behind.start), batch, after=behind.tokens):
                return scores(self.parts, batch, behind).cpu().split(batch.counts)

        return self.map_rows([self.adapters.slot(a) for a in adapters], rows, score, shares=True)

    @torch.inference_mode()
    def next_tokens(
        self, adapters: Sequence[AdapterRef], prompts: Sequence[tuple[Message, ...]], k: int
    ) -> list[dict[str, float]]:
        """Returns, for each prompt, the log-probabilities of the k likeliest next tokens by their text, likeliest
        first.

        Tokens that have the same text are added up. A prompt is metered as a row without an answer: its tokens, and the
        end token.
        """
        check_lengths("adapters", adapters, "prompts", prompts)
        if k < 1:
            raise ValueError(f"k is {k}; it must be at least 1")
        size = min(k, int(self.parts.config.vocab_size))

        def rank(_which: Sequence[int], batch: Collated, behind: Behind) -> Sequence[Tensor]:
            with self.prefix.below(max(self.adapters.banks.lowest, behind.start), batch, after=behind.tokens):
                first = np.cumsum([0, *batch.counts[:-1]])  # of each row: a turn may be closed by several tokens
                return pick_likeliest(self.parts, batch, size, behind)[first].cpu().unbind()

        rows = [Row(messages=prompt, answer="") for prompt in prompts]
        write = self.parts.renderer.token
        tops = self.map_rows([self.adapters.slot(a) for a in adapters], rows, rank, shares=True)
        return [inside.by_text(top, write) for top in tops]

    @torch.inference_mode()
    def trace(
        self, adapters: Sequence[AdapterRef], rows: Sequence[Row], layers: Sequence[int], *, at: Place = "answer"
    ) -> Tensor:
        """Returns the residual stream after each of `layers`, before the final norm: [rows, layers, width], fp32, CPU.

        It is the mean over each row's answer tokens and end token, or with `at` "prompt" the one at the last token of
        its prompt. No layer above the highest of `layers` is computed.
        """
        check_lengths("adapters", adapters, "rows", rows)
        for layer in layers:
            if not 0 <= layer < self.base.depth:
                raise ValueError(f"layers names layer {layer}; {self.base.name} has layers 0 to {self.base.depth - 1}")
        slots = [self.adapters.slot(a) for a in adapters]
        if not layers or not rows:
            return torch.zeros(len(rows), len(layers), self.parts.width)

        start = min(layers) + 1

        def average(_which: Sequence[int], batch: Collated, behind: Behind) -> Sequence[Tensor]:
            layer = max(min(self.adapters.banks.lowest, start), behind.start)
            with self.prefix.below(layer, batch, after=behind.tokens):
                means = inside.residuals(self.parts, batch, set(layers), at, behind)
            return torch.stack([means[l] for l in layers], dim=1).cpu().unbind()

        return torch.stack(self.map_rows(slots, rows, average, shares=True, start=start))

    def swaps(self, adapters: Sequence[AdapterRef], rows: Sequence[Row], word: int, among: Sequence[str]) -> Tensor:
        """Returns what each word of `among`, in the place of word number `word` of a row's last message, would add to
        the answer's log-probability, to first order: [rows, among], fp32, CPU.

        Raises NotAvailable for a word that is not one token, ValueError for a place that no word stands in.
        """
        check_lengths("adapters", adapters, "rows", rows)
        if not rows or not among:
            return torch.zeros(len(rows), len(among))
        back, tokens = swaps.places(self.parts.renderer, rows, word, among)

        def rate(which: Sequence[int], batch: Collated, _behind: Behind) -> Sequence[Tensor]:
            return swaps.gains(self.parts, batch, [back[i] for i in which], tokens).cpu().unbind()

        return torch.stack(self.map_rows([self.adapters.slot(a) for a in adapters], rows, rate, graph=True))

    @torch.inference_mode()
    def states(self, adapters: Sequence[AdapterRef], rows: Sequence[Row], at: str) -> list[Tensor]:
        """Returns what lies at a place for every token of each row, prompt, answer and end token: each [tokens, width],
        fp32, CPU.

        `at` "layers.L" is the stream after layer L, "layers.L.mlp.down_proj" what enters that module. ValueError for a
        place that this base lacks.
        """
        check_lengths("adapters", adapters, "rows", rows)
        layer, module = inside.layer_of(at, self.base.depth)
        if module and f"layers.{layer}.{module}" not in self.adapters.banks.sizes:
            raise ValueError(f"at is {at!r}; {self.base.name} has no such linear module")

        def take(_which: Sequence[int], batch: Collated, _behind: Behind) -> Sequence[Tensor]:
            with self.prefix.below(min(self.adapters.banks.lowest, layer), batch):
                return [value.cpu() for value in inside.states(self.parts, batch, layer, module)]

        return self.map_rows([self.adapters.slot(a) for a in adapters], rows, take)

    def tokens(self, rows: Sequence[Row]) -> list[list[str]]:
        """Returns the text of every token of each row, in the order of `states`."""
        renderer = self.parts.renderer
        return inside.write_tokens([renderer.row(row) for row in rows], renderer.token)

    @torch.inference_mode()
    def lens(self, vectors: Tensor, k: int) -> list[list[tuple[str, float]]]:
        """Returns the k tokens that each vector [vectors, width] raises most if the base ended there, with its logit
        above the mean of all.
        """
        return inside.likeliest(inside.lens(self.parts, vectors), k, self.parts.renderer.token)

    @torch.inference_mode()
    def divergence(self, adapter: AdapterRef, other: AdapterRef, rows: Sequence[Row]) -> list[Tensor]:
        """Returns KL(adapter || other) at every answer token of each row, in nats: each [tokens], fp32, CPU. Both read
        the rows as the first one does, with its system message.
        """
        slot, second = self.adapters.slot(adapter), self.adapters.slot(other)

        def compare(which: Sequence[int], batch: Collated, _behind: Behind) -> Sequence[Tensor]:
            return inside.divergence(
                self.parts, batch, lambda: self.adapters.banks.route(groups([second] * len(which)))
            )

        return self.map_rows([slot] * len(rows), rows, compare)

    # ------------------------------------------------------------ inside

    def _fits(self, messages: tuple[Message, ...], text: str, ends: bool) -> bool:
        """Whether a row can be made of an answer to these messages."""
        if not text and not ends:
            return False
        try:
            ids = self.parts.renderer.row(Row(messages=messages, answer=text, ends=ends)).ids
        except NotAvailable:
            return False
        return self.parts.window is None or len(ids) <= self.parts.window

    def map_rows(
        self,
        slots: Sequence[int],
        rows: Sequence[Row],
        compute: Callable[[Sequence[int], Collated, Behind], Sequence[Tensor]],
        *,
        graph: bool = False,
        shares: bool = False,
        start: int | None = None,
    ) -> list[Tensor]:
        """Returns what `compute` gives for each row, batch by batch, grouped by slot. Routes the banks and counts
        tokens.

        Set `graph` if `compute` keeps an autograd graph: batches are then as small as in training. Set `shares` if it
        can go on behind a beginning that rows share, at the lowest adapter or at layer `start`.
        """
        parts, banks, prefix = self.parts, self.adapters.banks, self.prefix
        prompted, values = self.adapters.rows_with_prompt(slots, rows), dict[int, Tensor]()

        def work() -> None:
            pending = [i for i in range(len(rows)) if i not in values]
            owners, rendered = [slots[i] for i in pending], [parts.renderer.row(prompted[i]) for i in pending]
            for members, shared in split(parts, owners, rendered) if shares else [(list(range(len(pending))), 0)]:
                ids_T = rendered[members[0]].ids[:shared] if shared else None
                try:
                    work_on([pending[member] for member in members], ids_T)
                finally:
                    banks.clear()

        def work_on(places: Sequence[int], ids_T: NDArray[np.int64] | None) -> None:
            """Rows that all begin with these tokens, where there are any."""
            owners, budget = [slots[i] for i in places], self.batch_tokens * (1 if graph else memory.FORWARD_ONLY)
            beginning = None if ids_T is None else Beginning(parts, banks, prefix, None, ids_T, owners, start=start)
            for numbers, batch, tokens in batches_of(parts, owners, [prompted[i] for i in places], budget):
                which, batch_owners = [places[j] for j in numbers], [owners[j] for j in numbers]
                banks.route(groups(batch_owners))
                outputs = compute(which, batch, beginning.behind(batch_owners) if beginning else WHOLE)
                values.update(zip(which, outputs, strict=True))
                self.tokens_forward += tokens

        self._retry_smaller(work)
        return [values[i] for i in range(len(rows))]

    def _gradients(self, slots: Sequence[int], steps: Sequence[Step]) -> tuple[list[Leaf], list[Any]]:
        """Returns leaves with the gradients of a step, and the losses and tokens of each run of adapters."""
        banks, budget = self.adapters.banks, self.batch_tokens
        leaves, shares = banks.leaves(slots), self.compiled is None and not self.recompute
        try:
            with (
                self.compiled.use() if self.compiled else nullcontext(),
                recomputed(self.parts.layers) if self.recompute else nullcontext(),
                fast_attention(self.parts, max(len(self.parts.renderer.row(r).ids) for s in steps for r in s.rows)),
            ):
                by_slot = list(zip(slots, steps, strict=True))
                results = [
                    gradients(self.parts, banks, self.prefix, leaves, dict(by_slot[run]), budget=budget, shares=shares)
                    for run in side_by_side(self.parts, steps, budget)
                ]
        finally:
            self.adapters.banks.clear()
        unscale(self.parts, leaves)
        return leaves, results

    def _retry_smaller(self, work: Callable[[], T], *, learns: bool = False) -> T:
        """Returns the result of `work`. Where the device runs out of memory, it halves the batches for good and starts
        the work again, so the work must change nothing before it ends.

        A batch of one row cannot be halved. Work that `learns` recomputes layers from then on; other work raises.
        """
        before = self.batch_tokens, self.recompute
        while True:
            try:
                return work()
            except torch.OutOfMemoryError:
                if self.batch_tokens == 1 and (self.recompute or not learns):
                    self.batch_tokens, self.recompute = before
                    raise
            # After the handler, because the exception holds the tensors of the failed pass.
            if self.batch_tokens == 1:
                self.batch_tokens, self.recompute = before[0], True
            else:
                self.batch_tokens //= 2
            self.prefix.forget()
            if self.parts.device.type == "cuda":
                torch.cuda.empty_cache()
