"""TorchEngine: the engine of `types.Engine` on PyTorch, for any Hugging Face causal LM, on CPU and CUDA.

One frozen base, many adapters; every call takes a batch that may mix them. N together give what each gives alone, up to
floating point: losses are summed over adapters, and clipping, AdamW and noise belong to each.

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

from flyroom.engine import adamw, bases, memory, swaps
from flyroom.engine.bank import MOMENTS, Banks, Leaf, fresh
from flyroom.engine.batches import Collated, groups
from flyroom.engine.compiled import Compiled
from flyroom.engine.decode import decode
from flyroom.engine.prefix import Enough, Prefix
from flyroom.engine.recomputed import recomputed
from flyroom.engine.training import batches_of, gradients, lower, pick_likeliest, scores
from flyroom.types import BASE, AdapterRef, Answer, Ask, BaseRef, LoRA, Message, Patch, Place, Row, Step, Stepped

T = TypeVar("T")


@dataclass(eq=False)
class _Living:
    shape: LoRA
    steps: int = 0
    prompt: str = ""


class TorchEngine:
    """Many adapters over one frozen base.

    `tokens_forward` counts the tokens of the prompts and rows that were asked for, also where an equal prompt or a kept
    prefix spared them a pass, `tokens_generated` those sampled; padding counts for nothing. Make one with `open`, or
    `of` for a model that is in memory.
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
            base.layers, width=base.width, device=base.device, dtype=dtype, slices=self.compiled is None
        )
        self.prefix = Prefix(base)
        self._living: dict[int, _Living] = {}
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

        `batch_tokens` bounds the padded tokens of one training batch, `compile` compiles the layers for training,
        `record` replays the passes of sampling as CUDA graphs, for long answers; all change memory and time, not
        results. ValueError where there is nothing to compile with.
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
        """An engine over a model that is in memory. The model is frozen."""
        parts = bases.wrap(model, tokenizer, name=name)
        return cls(parts, batch_tokens=batch_tokens, compile=compile, record=record)

    @property
    def base(self) -> BaseRef:
        return self.parts.ref

    # ------------------------------------------------------------ adapters

    def check(self, shape: LoRA) -> None:
        """ValueError for a layer, module or rank that this base lacks. Costs nothing."""
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
        """Make fresh adapters: A drawn from the seed, B zero. ValueError for what the base lacks."""
        _same_length("shapes", shapes, "seeds", seeds)
        for shape in shapes:
            self.check(shape)
        return self._add(shapes, [fresh(s, seed, self._sizes(s)) for s, seed in zip(shapes, seeds, strict=True)])

    def load(self, patches: Sequence[Patch]) -> list[AdapterRef]:
        """Put trained adapters in; their optimiser starts anew. ValueError if a patch does not fit this base."""
        for patch in patches:
            self.check(patch.shape)
            rank, wanted = patch.shape.rank, {}
            for path, (size_in, size_out) in self._sizes(patch.shape).items():
                wanted |= {f"{path}.A": (rank, size_in), f"{path}.B": (size_out, rank)}
            _same_shapes("patch", patch.tensors, wanted)
        loaded = self._add([p.shape for p in patches], [p.tensors for p in patches])
        for adapter, patch in zip(loaded, patches, strict=True):
            self.tell(adapter, patch.prompt)
        return loaded

    def patch(self, adapter: AdapterRef) -> Patch:
        """A copy, on the CPU in fp32, of an adapter's weights, and its system message."""
        living = self._alive(adapter)
        return Patch(shape=living.shape, tensors=self._tensors(adapter.slot, ("A", "B")), prompt=living.prompt)

    def tell(self, adapter: AdapterRef, prompt: str) -> None:
        """Put a system message before every chat of an adapter; "" for none. Documents stay as they are."""
        self._alive(adapter).prompt = prompt

    def state(self, adapter: AdapterRef) -> dict[str, Tensor]:
        """Weights (`<path>.A`), AdamW moments (`<path>.A.m`, `.v`) and step count (`step`), on the CPU."""
        living = self._alive(adapter)
        for bank in self._banks.of(adapter.slot):
            bank.want_moments()
        return self._tensors(adapter.slot, ("A", "B", *MOMENTS)) | {"step": torch.tensor(living.steps)}

    def restore(self, adapter: AdapterRef, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave, into an adapter of the same shape."""
        living = self._alive(adapter)
        _same_shapes("state", state, {k: tuple(v.shape) for k, v in self.state(adapter).items()})
        for bank in self._banks.of(adapter.slot):
            names = ("A", "B", *MOMENTS)
            values = [state[f"{bank.path}.{name}"][None].to(self.parts.device, torch.float32) for name in names]
            bank.put(names, [adapter.slot], values)
        living.steps = int(state["step"])

    def free(self, adapters: Sequence[AdapterRef]) -> None:
        """Drop adapters and their memory. The base cannot be freed."""
        for adapter in adapters:
            self._alive(adapter)
        self._banks.remove([a.slot for a in adapters])
        for adapter in adapters:
            self._living.pop(adapter.slot, None)
        if not self._living:
            self.prefix.forget()

    # ------------------------------------------------------------ training

    def step(self, adapters: Sequence[AdapterRef], steps: Sequence[Step]) -> list[Stepped]:
        """One optimiser step for each adapter. FloatingPointError naming the adapter, and no weight changed, if a loss
        or a gradient is not finite."""
        _same_length("adapters", adapters, "steps", steps)
        if not adapters:
            return []
        order, asked = self._alike(adapters), [a.slot for a in adapters]
        for adapter, step in zip(adapters, steps, strict=True):
            if asked.count(adapter.slot) > 1:
                raise ValueError(f"adapters names slot {adapter.slot} twice; give each adapter one step at a time")
            if not step.rows:
                raise ValueError("step.rows is empty; a step needs at least one row")
        slots, steps = [asked[i] for i in order], [steps[i] for i in order]
        steps = [
            replace(s, rows=self._told_rows([slot] * len(s.rows), s.rows)) for slot, s in zip(slots, steps, strict=True)
        ]
        index = {slot: k for k, slot in enumerate(slots)}
        leaves, found = self._roomy(lambda: self._gradients(slots, steps), learns=True)
        loss_K, tokens = torch.cat([loss for loss, _ in found]), [n for _, some in found for n in some]
        self.tokens_forward += sum(tokens)
        norm_K = adamw.gradient_norms(leaves, index)
        losses, norms = torch.stack([loss_K, norm_K]).tolist()
        for slot, loss, norm in zip(slots, losses, norms, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise FloatingPointError(
                    f"adapter in slot {slot}: loss {loss}, gradient norm {norm}; no weight was changed. Lower step.lr"
                )
        for slot in slots:
            self._living[slot].steps += 1
        with torch.no_grad():
            adamw.update(leaves, index, steps, [self._living[s].steps for s in slots], norms)
        stepped = [Stepped(loss=a, grad_norm=b, tokens=c) for a, b, c in zip(losses, norms, tokens, strict=True)]
        done = dict(zip(slots, stepped, strict=True))
        return [done[slot] for slot in asked]

    # ------------------------------------------------------------ asking

    @torch.inference_mode()
    def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]:
        """One answer an ask. The text is what follows the prefill, without special tokens and outer spaces; `tokens`
        does not count the token that ended it. An answer is cut where the base's context ends."""
        _same_length("adapters", adapters, "asks", asks)
        slots = [self._slot(a) for a in adapters]
        chats = [self._told(slot, a.messages) for slot, a in zip(slots, asks, strict=True)]
        prompts = [self.parts.renderer.prompt(chat, a.prefill) for chat, a in zip(chats, asks, strict=True)]
        asks = [self._fitted(ask, len(prompt)) for ask, prompt in zip(asks, prompts, strict=True)]
        answers: list[Answer | None] = [None] * len(asks)

        def work() -> None:
            left = [i for i, answer in enumerate(answers) if answer is None]
            asked = [slots[i] for i in left], [prompts[i] for i in left], [asks[i] for i in left]
            try:
                budget = memory.answering(self.parts, self.batch_tokens)
                for done in decode(self.parts, self._banks, *asked, budget=budget, fixed=self.record):
                    texts = self.parts.renderer.text([ids for _, ids, _ in done])
                    for (which, ids, end), text in zip(done, texts, strict=True):
                        i = left[which]
                        answers[i] = Answer(text=text, tokens=len(ids), prompt_tokens=len(prompts[i]), finished=end)
                        self.tokens_forward += len(prompts[i])
                        self.tokens_generated += len(ids) + end
            finally:
                self._banks.clear()

        self._roomy(work)
        return [a for a in answers if a is not None]

    @torch.inference_mode()
    def logprobs(self, adapters: Sequence[AdapterRef], rows: Sequence[Row]) -> list[Tensor]:
        """For each row the log-probabilities of its answer's tokens and of the end after them: [tokens], fp32, CPU."""
        _same_length("adapters", adapters, "rows", rows)

        def read(_which: Sequence[int], batch: Collated) -> Sequence[Tensor]:
            with self.prefix.below(self._banks.lowest, batch):
                return scores(self.parts, batch).cpu().split(batch.counts)

        return self._each([self._slot(a) for a in adapters], rows, read)

    @torch.inference_mode()
    def next_tokens(
        self, adapters: Sequence[AdapterRef], prompts: Sequence[tuple[Message, ...]], k: int
    ) -> list[dict[str, float]]:
        """For each prompt the k likeliest tokens that may come next, likeliest first, with their log-probabilities.
        Tokens of the same text are one. A prompt counts as a row without an answer: its tokens, and the end."""
        _same_length("adapters", adapters, "prompts", prompts)
        if k < 1:
            raise ValueError(f"k is {k}; it must be at least 1")
        size = min(k, int(self.parts.config.vocab_size))

        def rank(_which: Sequence[int], batch: Collated) -> Sequence[Tensor]:
            with self.prefix.below(self._banks.lowest, batch):
                return pick_likeliest(self.parts, batch, size).cpu().unbind()

        rows = [Row(messages=prompt, answer="") for prompt in prompts]
        return [self._by_text(top) for top in self._each([self._slot(a) for a in adapters], rows, rank)]

    @torch.inference_mode()
    def trace(
        self, adapters: Sequence[AdapterRef], rows: Sequence[Row], layers: Sequence[int], *, at: Place = "answer"
    ) -> Tensor:
        """The residual stream after each of `layers` (before the final norm), mean over each row's answer tokens and
        the end after them, or at the last token of its prompt: [rows, layers, width], fp32, CPU. No layer above the
        highest wanted is computed."""
        _same_length("adapters", adapters, "rows", rows)
        for layer in layers:
            if not 0 <= layer < self.base.depth:
                raise ValueError(f"layers names layer {layer}; {self.base.name} has layers 0 to {self.base.depth - 1}")
        slots = [self._slot(a) for a in adapters]
        if not layers or not rows:
            return torch.zeros(len(rows), len(layers), self.parts.width)

        def read(_which: Sequence[int], batch: Collated) -> Sequence[Tensor]:
            means = self._residuals(batch, set(layers), at)
            return torch.stack([means[l] for l in layers], dim=1).cpu().unbind()

        return torch.stack(self._each(slots, rows, read))

    def swaps(self, adapters: Sequence[AdapterRef], rows: Sequence[Row], word: int, among: Sequence[str]) -> Tensor:
        """What each of the words `among` in the place of that word of a row's last message would add to the answer's
        log-probability, to first order: [rows, among], fp32, CPU. ValueError for a word that is not one token."""
        _same_length("adapters", adapters, "rows", rows)
        if not rows or not among:
            return torch.zeros(len(rows), len(among))
        back, tokens = swaps.places(self.parts.renderer, rows, word, among)

        def read(which: Sequence[int], batch: Collated) -> Sequence[Tensor]:
            return swaps.gains(self.parts, batch, [back[i] for i in which], tokens).cpu().unbind()

        return torch.stack(self._each([self._slot(a) for a in adapters], rows, read, graph=True))

    def _residuals(self, batch: Collated, layers: set[int], at: Place) -> dict[int, Tensor]:
        """By layer, the mean over answer tokens, or the token before them: [B, D] fp32 on the device."""
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
        """Log-probabilities by the text of their tokens."""
        logprobs: dict[str, float] = {}
        for logprob, token in top_2K.T.tolist():
            text = self.parts.renderer.token(int(token))
            logprobs[text] = float(np.logaddexp(logprobs.get(text, -math.inf), logprob))
        return logprobs

    # ------------------------------------------------------------ inside

    def _each(
        self,
        slots: Sequence[int],
        rows: Sequence[Row],
        read: Callable[[Sequence[int], Collated], Sequence[Tensor]],
        *,
        graph: bool = False,
    ) -> list[Tensor]:
        """What `read` finds of each row, batch by batch, grouped by slot. Routed and metered. `graph`: it keeps one."""
        told, found = self._told_rows(slots, rows), dict[int, Tensor]()

        def work() -> None:
            left = [i for i in range(len(rows)) if i not in found]
            budget = self.batch_tokens * (1 if graph else memory.FOLLOWED)
            for some, batch, tokens in batches_of(
                self.parts, [slots[i] for i in left], [told[i] for i in left], budget
            ):
                which = [left[j] for j in some]
                self._banks.route(groups([slots[i] for i in which]))
                try:
                    values = read(which, batch)
                finally:
                    self._banks.clear()
                found.update(zip(which, values, strict=True))
                self.tokens_forward += tokens

        self._roomy(work)
        return [found[i] for i in range(len(rows))]

    def _gradients(self, slots: Sequence[int], steps: Sequence[Step]) -> tuple[list[Leaf], list[Any]]:
        """Leaves with the gradients of a step, and each run's losses and tokens."""
        leaves, budget = self._banks.leaves(slots), self.batch_tokens
        try:
            with (
                self.compiled.used() if self.compiled else nullcontext(),
                recomputed(self.parts.layers) if self.recompute else nullcontext(),
            ):
                found = [
                    gradients(self.parts, self._banks, self.prefix, leaves, slots[some], steps[some], budget=budget)
                    for some in self._side_by_side(steps)
                ]
        finally:
            self._banks.clear()
        lower(self.parts, leaves)
        return leaves, found

    def _roomy(self, work: Callable[[], T], *, learns: bool = False) -> T:
        """The work's result. Where the device has no memory left the batches are halved, for good, and it is begun
        again: it must change nothing before it is done. What a single row needs cannot be halved: where it `learns`,
        layers are recomputed from then on, else it raises."""
        before = self.batch_tokens, self.recompute
        while True:
            try:
                return work()
            except torch.OutOfMemoryError:
                if self.batch_tokens == 1 and (self.recompute or not learns):
                    self.batch_tokens, self.recompute = before
                    raise
            # out of the handler: it holds the failed pass's tensors
            if self.batch_tokens == 1:
                self.batch_tokens, self.recompute = before[0], True
            else:
                self.batch_tokens //= 2
            self.prefix.forget()
            if self.parts.device.type == "cuda":
                torch.cuda.empty_cache()

    def _alike(self, adapters: Sequence[AdapterRef]) -> list[int]:
        """The adapters' places, those of one shape side by side: a batch of theirs is whole in every bank."""
        shapes = [self._alive(a).shape for a in adapters]
        return sorted(range(len(adapters)), key=lambda i: (shapes[i].rank, str(shapes[i])))

    def _side_by_side(self, steps: Sequence[Step]) -> list[slice]:
        """Adapters whose rows fill one batch: with more of them in it each would have few rows, and be slow."""
        runs, tokens = [slice(0, 0)], 0
        for i, step in enumerate(steps):
            mine = sum(len(self.parts.renderer.row(row).ids) for row in step.rows)
            if runs[-1].stop > runs[-1].start and tokens + mine > self.batch_tokens:
                runs.append(slice(i, i))
                tokens = 0
            runs[-1], tokens = slice(runs[-1].start, i + 1), tokens + mine
        return runs

    def _told(self, slot: int, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The chat under the adapter's system message, which is joined to one that is there already."""
        prompt = self._living[slot].prompt if slot in self._living else ""
        if not prompt or not messages:
            return messages
        first, rest = messages[0], messages[1:]
        if first.role == "system":
            return (Message("system", f"{prompt} {first.content}"), *rest)
        return (Message("system", prompt), *messages)

    def _told_rows(self, slots: Sequence[int], rows: Sequence[Row]) -> tuple[Row, ...]:
        told = [self._told(slot, row.messages) for slot, row in zip(slots, rows, strict=True)]
        return tuple(r if chat is r.messages else replace(r, messages=chat) for r, chat in zip(rows, told, strict=True))

    def _fitted(self, ask: Ask, prompt: int) -> Ask:
        """The ask, its tokens limited to what the base's context has left."""
        if ask.max_tokens < 1 or ask.temperature < 0:
            raise ValueError(f"ask.max_tokens is {ask.max_tokens}, ask.temperature {ask.temperature}; at least 1 and 0")
        room = ask.max_tokens if self.parts.window is None else self.parts.window - prompt
        if room < 1:
            raise ValueError(f"a prompt is {prompt} tokens long; {self.base.name} takes at most {self.parts.window}")
        if room >= ask.max_tokens:
            return ask
        return Ask(messages=ask.messages, seed=ask.seed, max_tokens=room, temperature=ask.temperature)

    def _sizes(self, shape: LoRA) -> dict[str, tuple[int, int]]:
        return {path: self._banks.sizes[path] for path in self._banks.paths(shape)}

    def _add(self, shapes: Sequence[LoRA], weights: Sequence[Mapping[str, Tensor]]) -> list[AdapterRef]:
        slots = list(range(self._next, self._next + len(shapes)))
        self._next += len(shapes)
        self._banks.add(slots, shapes, weights)
        self._living |= {slot: _Living(shape) for slot, shape in zip(slots, shapes, strict=True)}
        return [AdapterRef(slot=slot, shape=shape) for slot, shape in zip(slots, shapes, strict=True)]

    def _tensors(self, slot: int, names: Sequence[str]) -> dict[str, Tensor]:
        found = {}
        for bank in self._banks.of(slot):
            where = bank.slots.index(slot)
            found |= {f"{bank.path}.{name}": bank.tensors[name][where].detach().cpu().clone() for name in names}
        return found

    def _alive(self, adapter: AdapterRef) -> _Living:
        if adapter.slot == BASE.slot:
            raise ValueError("adapter is the base (slot 0); it is frozen and has no weights of its own")
        if adapter.slot not in self._living:
            raise ValueError(f"adapter slot {adapter.slot} is not in this engine; it was freed, or belongs to another")
        return self._living[adapter.slot]

    def _slot(self, adapter: AdapterRef) -> int:
        if adapter.slot != BASE.slot:
            self._alive(adapter)
        return adapter.slot


def _same_length(a: str, first: Sequence[object], b: str, second: Sequence[object]) -> None:
    if len(first) != len(second):
        raise ValueError(f"{a} has {len(first)} entries and {b} {len(second)}; they must be as many")


def _same_shapes(what: str, given: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]]) -> None:
    for key in sorted(wanted.keys() | given.keys()):
        has = tuple(given[key].shape) if key in given else None
        if has != wanted.get(key):
            raise ValueError(f"{what} has {key} as {has}; the adapter's shape on this base makes it {wanted.get(key)}")
