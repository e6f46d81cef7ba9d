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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from flyroom.engine import bases, inside, memory, optimisers, swaps
from flyroom.engine.bank import MOMENTS, Banks, Leaf, fresh
from flyroom.engine.batches import Collated, groups
from flyroom.engine.compiled import Compiled
from flyroom.engine.decode import decode
from flyroom.engine.prefix import Enough, Prefix
from flyroom.engine.recomputed import recomputed
from flyroom.engine.training import batches_of, gradients, pick_likeliest, scores, unscale
from flyroom.types import (
    BASE,
    AdapterRef,
    Answer,
    Ask,
    BaseRef,
    LoRA,
    Message,
    Optimiser,
    Patch,
    Place,
    Row,
    Step,
    Stepped,
)

T = TypeVar("T")


@dataclass(eq=False)
class _State:
    shape: LoRA
    steps: int = 0
    prompt: str = ""
    optimiser: Optimiser | None = None  # of its last step; a restored state does not say


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
        dtype = next(base.model.parameters()).dtype
        self._banks = Banks(
            base.layers,
            width=base.width,
            device=base.device,
            dtype=dtype,
            slices=self.compiled is None,
            streams=base.streams,
        )
        self.prefix = Prefix(base)
        self._living: dict[int, _State] = {}
        self._next = BASE.slot + 1

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
        name, depth = self.base.name, self.base.depth
        for layer in shape.layers or ():
            if layer >= depth:
                raise ValueError(f"adapter.layers names layer {layer}; {name} has layers 0 to {depth - 1}")
        leafs = {path.rpartition(".")[2] for path in self._banks.sizes}
        unknown = [m for m in shape.modules if m not in leafs] if shape.modules != ("all",) else []
        if unknown:
            raise ValueError(f'adapter.modules names {unknown[0]}; {name} has {", ".join(sorted(leafs))}, or ["all"]')
        if len(set(shape.modules)) < len(shape.modules):
            raise ValueError(f"adapter.modules is {list(shape.modules)}; name each module once")
        if not self._banks.paths(shape):
            raise ValueError(f"adapter.layers is {shape.layers}; none of them has {', '.join(shape.modules)}")
        for path, (size_in, size_out) in self._sizes(shape).items():
            if shape.rank > min(size_in, size_out):
                raise ValueError(
                    f"adapter.rank is {shape.rank}; module {path.rpartition('.')[2]} of {name} is "
                    f"{size_out} x {size_in}, so at most {min(size_in, size_out)} (full rank)"
                )

    def spread(self) -> dict[str, float]:
        """The standard deviation of the base's weights, by the path of each linear module."""
        return {
            f"layers.{l}.{name}": float(module.weight.float().std())
            for l, layer in enumerate(self.parts.layers)
            for name, module in layer.named_modules()
            if isinstance(module, torch.nn.Linear)
        }

    def spawn(self, shapes: Sequence[LoRA], *, seeds: Sequence[int]) -> list[AdapterRef]:
        """Make new adapters: A is drawn from the seed, B is zero. Raises ValueError as `check` does."""
        _same_length("shapes", shapes, "seeds", seeds)
        for shape in shapes:
            self.check(shape)
        return self._add(shapes, [fresh(s, seed, self._sizes(s)) for s, seed in zip(shapes, seeds, strict=True)])

    def load(self, patches: Sequence[Patch]) -> list[AdapterRef]:
        """Put trained adapters in. Their optimiser starts anew. Raises ValueError if a patch does not fit this base."""
        for patch in patches:
            self.check(patch.shape)
            rank, sizes = patch.shape.rank, {}
            for path, (size_in, size_out) in self._sizes(patch.shape).items():
                sizes |= {f"{path}.A": (rank, size_in), f"{path}.B": (size_out, rank)}
            _same_shapes("patch", patch.tensors, sizes)
        adapters = self._add([p.shape for p in patches], [p.tensors for p in patches])
        for adapter, patch in zip(adapters, patches, strict=True):
            self.tell(adapter, patch.prompt)
        return adapters

    def patch(self, adapter: AdapterRef) -> Patch:
        """Returns a copy of an adapter's weights, on the CPU in fp32, and its system message."""
        living = self._find(adapter)
        return Patch(shape=living.shape, tensors=self._tensors(adapter.slot, ("A", "B")), prompt=living.prompt)

    def tell(self, adapter: AdapterRef, prompt: str) -> None:
        """Put a system message before every chat of an adapter, or none for "". Documents stay as they are."""
        self._find(adapter).prompt = prompt

    def state(self, adapter: AdapterRef) -> dict[str, Tensor]:
        """Returns weights (`<path>.A`), moments (`<path>.A.m`, `.v`) and step count (`step`), on the CPU."""
        living = self._find(adapter)
        for bank in self._banks.find(adapter.slot):
            bank.ensure_moments()
        return self._tensors(adapter.slot, ("A", "B", *MOMENTS)) | {"step": torch.tensor(living.steps)}

    def restore(self, adapter: AdapterRef, state: Mapping[str, Tensor]) -> None:
        """Put what `state` returned back into an adapter of the same shape."""
        living = self._find(adapter)
        _same_shapes("state", state, {k: tuple(v.shape) for k, v in self.state(adapter).items()})
        for bank in self._banks.find(adapter.slot):
            names = ("A", "B", *MOMENTS)
            values = [state[f"{bank.path}.{name}"][None].to(self.parts.device, torch.float32) for name in names]
            bank.write(names, [adapter.slot], values)
        living.steps, living.optimiser = int(state["step"]), None

    def free(self, adapters: Sequence[AdapterRef]) -> None:
        """Drop adapters and release their memory. The base cannot be freed."""
        for adapter in adapters:
            self._find(adapter)
        self._banks.remove([a.slot for a in adapters])
        for adapter in adapters:
            self._living.pop(adapter.slot, None)
        if not self._living:
            self.prefix.forget()

    # ------------------------------------------------------------ training

    def step(self, adapters: Sequence[AdapterRef], steps: Sequence[Step]) -> list[Stepped]:
        """Take one optimiser step for each adapter.

        Raises FloatingPointError, naming the adapter, if a loss or a gradient is not finite; then no weight changes.
        """
        _same_length("adapters", adapters, "steps", steps)
        if not adapters:
            return []
        order, requested = self._order_by_shape(adapters), [a.slot for a in adapters]
        for adapter, step in zip(adapters, steps, strict=True):
            if requested.count(adapter.slot) > 1:
                raise ValueError(f"adapters names slot {adapter.slot} twice; give each adapter one step at a time")
            if not step.rows:
                raise ValueError("step.rows is empty; a step needs at least one row")
            before = self._find(adapter).optimiser
            if before not in (None, step.optimiser):
                raise ValueError(
                    f"step.optimiser is {step.optimiser}; the moments of the adapter in slot {adapter.slot} are of "
                    f"{before}, and mean something else: load its patch into a new adapter for another optimiser"
                )
        slots, steps = [requested[i] for i in order], [steps[i] for i in order]
        steps = [
            replace(s, rows=self._rows_with_prompt([slot] * len(s.rows), s.rows))
            for slot, s in zip(slots, steps, strict=True)
        ]
        index = {slot: k for k, slot in enumerate(slots)}
        leaves, results = self._retry_smaller(lambda: self._gradients(slots, steps), learns=True)
        loss_K, tokens = torch.cat([loss for loss, _ in results]), [n for _, counts in results for n in counts]
        self.tokens_forward += sum(tokens)
        norm_K = optimisers.gradient_norms(leaves, index)
        losses, norms = torch.stack([loss_K, norm_K]).tolist()
        for slot, loss, norm in zip(slots, losses, norms, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise FloatingPointError(
                    f"adapter in slot {slot}: loss {loss}, gradient norm {norm}; no weight was changed. Lower step.lr"
                )
        for slot, step in zip(slots, steps, strict=True):
            self._living[slot].steps += 1
            self._living[slot].optimiser = step.optimiser
        with torch.no_grad():
            optimisers.update(leaves, index, steps, [self._living[s].steps for s in slots], norms)
        stepped = [Stepped(loss=a, grad_norm=b, tokens=c) for a, b, c in zip(losses, norms, tokens, strict=True)]
        by_slot = dict(zip(slots, stepped, strict=True))
        return [by_slot[slot] for slot in requested]

    # ------------------------------------------------------------ asking

    @torch.inference_mode()
    def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]:
        """Returns one answer an ask. Its text is what follows the prefill, without special tokens and outer spaces; its
        `tokens` do not count the token that ended it. An answer is cut where the base's context ends.
        """
        _same_length("adapters", adapters, "asks", asks)
        slots = [self._slot(a) for a in adapters]
        chats = [self._with_prompt(slot, a.messages) for slot, a in zip(slots, asks, strict=True)]
        prompts = [self.parts.renderer.prompt(chat, a.prefill) for chat, a in zip(chats, asks, strict=True)]
        asks = [self._fit_ask(ask, len(prompt)) for ask, prompt in zip(asks, prompts, strict=True)]
        answers: list[Answer | None] = [None] * len(asks)

        def work() -> None:
            pending = [i for i, answer in enumerate(answers) if answer is None]
            inputs = [slots[i] for i in pending], [prompts[i] for i in pending], [asks[i] for i in pending]
            try:
                budget = memory.answering(self.parts, self.batch_tokens)
                for ended in decode(self.parts, self._banks, *inputs, budget=budget, fixed=self.record):
                    texts = self.parts.renderer.text([ids for _, ids, _ in ended])
                    for (which, ids, end), text in zip(ended, texts, strict=True):
                        i = pending[which]
                        answers[i] = Answer(text=text, tokens=len(ids), prompt_tokens=len(prompts[i]), finished=end)
                        self.tokens_forward += len(prompts[i])
                        self.tokens_generated += len(ids) + end
            finally:
                self._banks.clear()

        self._retry_smaller(work)
        return [a for a in answers if a is not None]

    @torch.inference_mode()
    def logprobs(self, adapters: Sequence[AdapterRef], rows: Sequence[Row]) -> list[Tensor]:
        """Returns, for each row, the log-probabilities of its answer's tokens and of the end token: [tokens], fp32,
        CPU.
        """
        _same_length("adapters", adapters, "rows", rows)

        def score(_which: Sequence[int], batch: Collated) -> Sequence[Tensor]:
            with self.prefix.below(self._banks.lowest, batch):
                return scores(self.parts, batch).cpu().split(batch.counts)

        return self.map_rows([self._slot(a) for a in adapters], rows, score)

    @torch.inference_mode()
    def next_tokens(
        self, adapters: Sequence[AdapterRef], prompts: Sequence[tuple[Message, ...]], k: int
    ) -> list[dict[str, float]]:
        """Returns, for each prompt, the log-probabilities of the k likeliest next tokens by their text, likeliest
        first.

        Tokens that have the same text are added up. A prompt is metered as a row without an answer: its tokens, and the
        end token.
        """
        _same_length("adapters", adapters, "prompts", prompts)
        if k < 1:
            raise ValueError(f"k is {k}; it must be at least 1")
        size = min(k, int(self.parts.config.vocab_size))

        def rank(_which: Sequence[int], batch: Collated) -> Sequence[Tensor]:
            with self.prefix.below(self._banks.lowest, batch):
                first = np.cumsum([0, *batch.counts[:-1]])  # of each row: a turn may be closed by several tokens
                return pick_likeliest(self.parts, batch, size)[first].cpu().unbind()

        rows = [Row(messages=prompt, answer="") for prompt in prompts]
        return [self._by_text(top) for top in self.map_rows([self._slot(a) for a in adapters], rows, rank)]

    @torch.inference_mode()
    def trace(
        self, adapters: Sequence[AdapterRef], rows: Sequence[Row], layers: Sequence[int], *, at: Place = "answer"
    ) -> Tensor:
        """Returns the residual stream after each of `layers`, before the final norm: [rows, layers, width], fp32, CPU.

        It is the mean over each row's answer tokens and end token, or with `at` "prompt" the one at the last token of
        its prompt. No layer above the highest of `layers` is computed.
        """
        _same_length("adapters", adapters, "rows", rows)
        for layer in layers:
            if not 0 <= layer < self.base.depth:
                raise ValueError(f"layers names layer {layer}; {self.base.name} has layers 0 to {self.base.depth - 1}")
        slots = [self._slot(a) for a in adapters]
        if not layers or not rows:
            return torch.zeros(len(rows), len(layers), self.parts.width)

        def average(_which: Sequence[int], batch: Collated) -> Sequence[Tensor]:
            means = self._residuals(batch, set(layers), at)
            return torch.stack([means[l] for l in layers], dim=1).cpu().unbind()

        return torch.stack(self.map_rows(slots, rows, average))

    def swaps(self, adapters: Sequence[AdapterRef], rows: Sequence[Row], word: int, among: Sequence[str]) -> Tensor:
        """Returns what each word of `among`, in the place of word number `word` of a row's last message, would add to
        the answer's log-probability, to first order: [rows, among], fp32, CPU.

        Raises ValueError for a word that is not one token.
        """
        _same_length("adapters", adapters, "rows", rows)
        if not rows or not among:
            return torch.zeros(len(rows), len(among))
        back, tokens = swaps.places(self.parts.renderer, rows, word, among)

        def rate(which: Sequence[int], batch: Collated) -> Sequence[Tensor]:
            return swaps.gains(self.parts, batch, [back[i] for i in which], tokens).cpu().unbind()

        return torch.stack(self.map_rows([self._slot(a) for a in adapters], rows, rate, graph=True))

    @torch.inference_mode()
    def states(self, adapters: Sequence[AdapterRef], rows: Sequence[Row], at: str) -> list[Tensor]:
        """Returns what lies at a place for every token of each row, prompt, answer and end token: each [tokens, width],
        fp32, CPU.

        `at` "layers.L" is the stream after layer L, "layers.L.mlp.down_proj" what enters that module. ValueError for a
        place that this base lacks.
        """
        _same_length("adapters", adapters, "rows", rows)
        layer, module = inside.layer_of(at, self.base.depth)
        if module and f"layers.{layer}.{module}" not in self._banks.sizes:
            raise ValueError(f"at is {at!r}; {self.base.name} has no such linear module")

        def take(_which: Sequence[int], batch: Collated) -> Sequence[Tensor]:
            with self.prefix.below(min(self._banks.lowest, layer), batch):
                return [value.cpu() for value in inside.states(self.parts, batch, layer, module)]

        return self.map_rows([self._slot(a) for a in adapters], rows, take)

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
        slot, second = self._slot(adapter), self._slot(other)

        def compare(which: Sequence[int], batch: Collated) -> Sequence[Tensor]:
            return inside.divergence(self.parts, batch, lambda: self._banks.route(groups([second] * len(which))))

        return self.map_rows([slot] * len(rows), rows, compare)

    def _residuals(self, batch: Collated, layers: set[int], at: Place) -> dict[int, Tensor]:
        """Returns, by layer, the mean residual over answer tokens, or that at the token before them: [B, D] fp32."""
        means: dict[int, Tensor] = {}
        share_BT = batch.answer_BT / batch.answer_BT.sum(1, keepdim=True)
        if at == "prompt":
            before_B = batch.answer_BT.int().argmax(1, keepdim=True) - 1
            share_BT = torch.zeros_like(share_BT).scatter_(1, before_B, 1.0)

        def keep(layer: int, output: Any) -> None:
            hidden_BTD = output[0] if isinstance(output, tuple) else output
            means[layer] = torch.einsum("bt,btd->bd", share_BT, hidden_BTD.float())
            if layer == max(layers):
                raise Enough

        with self.prefix.below(min(self._banks.lowest, min(layers) + 1), batch):
            hooks = [self.parts.layers[l].register_forward_hook(lambda _m, _a, out, l=l: keep(l, out)) for l in layers]
            try:
                self.parts.body(input_ids=batch.ids_BT, use_cache=False)
            except Enough:
                pass
            finally:
                for hook in hooks:
                    hook.remove()
        return means

    def _by_text(self, top_2K: Tensor) -> dict[str, float]:
        """Returns log-probabilities by the text of their tokens; tokens of the same text are added up."""
        logprobs: dict[str, float] = {}
        for logprob, token in top_2K.T.tolist():
            text = self.parts.renderer.token(int(token))
            logprobs[text] = float(np.logaddexp(logprobs.get(text, -math.inf), logprob))
        return logprobs

    # ------------------------------------------------------------ inside

    def map_rows(
        self,
        slots: Sequence[int],
        rows: Sequence[Row],
        compute: Callable[[Sequence[int], Collated], Sequence[Tensor]],
        *,
        graph: bool = False,
    ) -> list[Tensor]:
        """Returns what `compute` gives for each row, batch by batch, grouped by slot. Routes the banks and counts
        tokens.

        Set `graph` if `compute` keeps an autograd graph: batches are then as small as in training.
        """
        prompted, values = self._rows_with_prompt(slots, rows), dict[int, Tensor]()

        def work() -> None:
            pending = [i for i in range(len(rows)) if i not in values]
            budget = self.batch_tokens * (1 if graph else memory.FORWARD_ONLY)
            for numbers, batch, tokens in batches_of(
                self.parts, [slots[i] for i in pending], [prompted[i] for i in pending], budget
            ):
                which = [pending[j] for j in numbers]
                self._banks.route(groups([slots[i] for i in which]))
                try:
                    outputs = compute(which, batch)
                finally:
                    self._banks.clear()
                values.update(zip(which, outputs, strict=True))
                self.tokens_forward += tokens

        self._retry_smaller(work)
        return [values[i] for i in range(len(rows))]

    def _gradients(self, slots: Sequence[int], steps: Sequence[Step]) -> tuple[list[Leaf], list[Any]]:
        """Returns leaves with the gradients of a step, and the losses and tokens of each run of adapters."""
        leaves, budget = self._banks.leaves(slots), self.batch_tokens
        try:
            with (
                self.compiled.use() if self.compiled else nullcontext(),
                recomputed(self.parts.layers) if self.recompute else nullcontext(),
            ):
                results = [
                    gradients(self.parts, self._banks, self.prefix, leaves, slots[run], steps[run], budget=budget)
                    for run in self._side_by_side(steps)
                ]
        finally:
            self._banks.clear()
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

    def _order_by_shape(self, adapters: Sequence[AdapterRef]) -> list[int]:
        """Returns the adapters' places, sorted so that equal shapes stand together: then a batch fills whole banks."""
        shapes = [self._find(a).shape for a in adapters]
        return sorted(range(len(adapters)), key=lambda i: (shapes[i].rank, str(shapes[i])))

    def _side_by_side(self, steps: Sequence[Step]) -> list[slice]:
        """Returns runs of adapters whose rows fill one batch: with more adapters, each would have few rows a batch,
        which is slow.
        """
        runs, tokens = [slice(0, 0)], 0
        for i, step in enumerate(steps):
            step_tokens = sum(len(self.parts.renderer.row(row).ids) for row in step.rows)
            if runs[-1].stop > runs[-1].start and tokens + step_tokens > self.batch_tokens:
                runs.append(slice(i, i))
                tokens = 0
            runs[-1], tokens = slice(runs[-1].start, i + 1), tokens + step_tokens
        return runs

    def _with_prompt(self, slot: int, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Returns the chat with the adapter's system message, which is joined with one that is there already."""
        prompt = self._living[slot].prompt if slot in self._living else ""
        if not prompt or not messages:
            return messages
        first, rest = messages[0], messages[1:]
        if first.role == "system":
            return (Message("system", f"{prompt} {first.content}"), *rest)
        return (Message("system", prompt), *messages)

    def _rows_with_prompt(self, slots: Sequence[int], rows: Sequence[Row]) -> tuple[Row, ...]:
        chats = [self._with_prompt(slot, row.messages) for slot, row in zip(slots, rows, strict=True)]
        return tuple(
            r if chat is r.messages else replace(r, messages=chat) for r, chat in zip(rows, chats, strict=True)
        )

    def _fit_ask(self, ask: Ask, prompt: int) -> Ask:
        """Returns the ask at a temperature, with its tokens limited to what remains of the base's context."""
        temperature = self.parts.temperature if ask.temperature is None else ask.temperature
        if ask.max_tokens < 1 or temperature < 0:
            raise ValueError(f"ask.max_tokens is {ask.max_tokens}, ask.temperature {temperature}; at least 1 and 0")
        room = ask.max_tokens if self.parts.window is None else self.parts.window - prompt
        if room < 1:
            raise ValueError(f"a prompt is {prompt} tokens long; {self.base.name} takes at most {self.parts.window}")
        return replace(ask, max_tokens=min(room, ask.max_tokens), temperature=temperature)

    def _sizes(self, shape: LoRA) -> dict[str, tuple[int, int]]:
        return {path: self._banks.sizes[path] for path in self._banks.paths(shape)}

    def _add(self, shapes: Sequence[LoRA], weights: Sequence[Mapping[str, Tensor]]) -> list[AdapterRef]:
        slots = list(range(self._next, self._next + len(shapes)))
        self._next += len(shapes)
        self._banks.add(slots, shapes, weights)
        self._living |= {slot: _State(shape) for slot, shape in zip(slots, shapes, strict=True)}
        return [AdapterRef(slot=slot, shape=shape) for slot, shape in zip(slots, shapes, strict=True)]

    def _tensors(self, slot: int, names: Sequence[str]) -> dict[str, Tensor]:
        tensors = {}
        for bank in self._banks.find(slot):
            where = bank.slots.index(slot)
            tensors |= {f"{bank.path}.{name}": bank.tensors[name][where].detach().cpu().clone() for name in names}
        return tensors

    def _find(self, adapter: AdapterRef) -> _State:
        if adapter.slot == BASE.slot:
            raise ValueError("adapter is the base (slot 0); it is frozen and has no weights of its own")
        if adapter.slot not in self._living:
            raise ValueError(f"adapter slot {adapter.slot} is not in this engine; it was freed, or belongs to another")
        return self._living[adapter.slot]

    def _slot(self, adapter: AdapterRef) -> int:
        if adapter.slot != BASE.slot:
            self._find(adapter)
        return adapter.slot


def _same_length(a: str, first: Sequence[object], b: str, second: Sequence[object]) -> None:
    if len(first) != len(second):
        raise ValueError(f"{a} has {len(first)} entries and {b} {len(second)}; they must be as many")


def _same_shapes(what: str, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for key in sorted(shapes.keys() | tensors.keys()):
        has = tuple(tensors[key].shape) if key in tensors else None
        if has != shapes.get(key):
            raise ValueError(f"{what} has {key} as {has}; the adapter's shape on this base makes it {shapes.get(key)}")
