"""The adapters that are in an engine: their shapes, weights and moments, and the system message before their chats.

What is computed with them stands in `torch.py`, how they are stacked in `bank.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flyroom.engine.bank import MOMENTS, Banks, fresh
from flyroom.engine.bases import Base
from flyroom.types import BASE, AdapterRef, LoRA, Message, Optimiser, Patch, Row


@dataclass(eq=False)
class State:
    """What an engine knows of an adapter beside its tensors."""

    shape: LoRA
    steps: int = 0
    prompt: str = ""
    optimiser: Optimiser | None = None  # of its last step; a restored state does not say


class Adapters:
    """The adapters over one base, by slot. `slices` as in `Banks`. The methods are those of `types.Engine`."""

    def __init__(self, base: Base, *, slices: bool) -> None:
        self.base = base
        self.banks = Banks(
            base.layers,
            width=base.width,
            device=base.device,
            dtype=next(base.model.parameters()).dtype,
            slices=slices,
            streams=base.streams,
        )
        self.living: dict[int, State] = {}
        self.next = BASE.slot + 1

    def check(self, shape: LoRA) -> None:
        """Raises ValueError for a layer, module or rank that this base lacks. Computes nothing."""
        name, depth = self.base.ref.name, self.base.ref.depth
        for layer in shape.layers or ():
            if layer >= depth:
                raise ValueError(f"adapter.layers names layer {layer}; {name} has layers 0 to {depth - 1}")
        leafs = {path.rpartition(".")[2] for path in self.banks.sizes}
        unknown = [m for m in shape.modules if m not in leafs] if shape.modules != ("all",) else []
        if unknown:
            raise ValueError(f'adapter.modules names {unknown[0]}; {name} has {", ".join(sorted(leafs))}, or ["all"]')
        if len(set(shape.modules)) < len(shape.modules):
            raise ValueError(f"adapter.modules is {list(shape.modules)}; name each module once")
        if not self.banks.paths(shape):
            raise ValueError(f"adapter.layers is {shape.layers}; none of them has {', '.join(shape.modules)}")
        for path, (size_in, size_out) in self.sizes(shape).items():
            if shape.rank > min(size_in, size_out):
                raise ValueError(
                    f"adapter.rank is {shape.rank}; module {path.rpartition('.')[2]} of {name} is "
                    f"{size_out} x {size_in}, so at most {min(size_in, size_out)} (full rank)"
                )

    def spawn(self, shapes: Sequence[LoRA], *, seeds: Sequence[int]) -> list[AdapterRef]:
        """Make new adapters: A is drawn from the seed, B is zero. Raises ValueError as `check` does."""
        check_lengths("shapes", shapes, "seeds", seeds)
        for shape in shapes:
            self.check(shape)
        return self._add(shapes, [fresh(s, seed, self.sizes(s)) for s, seed in zip(shapes, seeds, strict=True)])

    def load(self, patches: Sequence[Patch]) -> list[AdapterRef]:
        """Put trained adapters in. Their optimiser starts anew. Raises ValueError if a patch does not fit this base."""
        for patch in patches:
            self.check(patch.shape)
            rank, sizes = patch.shape.rank, {}
            for path, (size_in, size_out) in self.sizes(patch.shape).items():
                sizes |= {f"{path}.A": (rank, size_in), f"{path}.B": (size_out, rank)}
            _same_shapes("patch", patch.tensors, sizes)
        adapters = self._add([p.shape for p in patches], [p.tensors for p in patches])
        for adapter, patch in zip(adapters, patches, strict=True):
            self.tell(adapter, patch.prompt)
        return adapters

    def patch(self, adapter: AdapterRef) -> Patch:
        """Returns a copy of an adapter's weights, on the CPU in fp32, and its system message."""
        living = self.find(adapter)
        return Patch(shape=living.shape, tensors=self._tensors(adapter.slot, ("A", "B")), prompt=living.prompt)

    def tell(self, adapter: AdapterRef, prompt: str) -> None:
        """Put a system message before every chat of an adapter, or none for "". Documents stay as they are."""
        self.find(adapter).prompt = prompt

    def state(self, adapter: AdapterRef) -> dict[str, Tensor]:
        """Returns weights (`<path>.A`), moments (`<path>.A.m`, `.v`) and step count (`step`), on the CPU."""
        living = self.find(adapter)
        for bank in self.banks.find(adapter.slot):
            bank.ensure_moments()
        return self._tensors(adapter.slot, ("A", "B", *MOMENTS)) | {"step": torch.tensor(living.steps)}

    def restore(self, adapter: AdapterRef, state: Mapping[str, Tensor]) -> None:
        """Put what `state` returned back into an adapter of the same shape."""
        living = self.find(adapter)
        _same_shapes("state", state, {k: tuple(v.shape) for k, v in self.state(adapter).items()})
        for bank in self.banks.find(adapter.slot):
            names = ("A", "B", *MOMENTS)
            values = [state[f"{bank.path}.{name}"][None].to(self.base.device, torch.float32) for name in names]
            bank.write(names, [adapter.slot], values)
        living.steps, living.optimiser = int(state["step"]), None

    def free(self, adapters: Sequence[AdapterRef]) -> None:
        """Drop adapters and release their memory. The base cannot be freed."""
        for adapter in adapters:
            self.find(adapter)
        self.banks.remove([a.slot for a in adapters])
        for adapter in adapters:
            self.living.pop(adapter.slot, None)

    def find(self, adapter: AdapterRef) -> State:
        """What the engine knows of an adapter. ValueError for the base, and for an adapter that is not here."""
        if adapter.slot == BASE.slot:
            raise ValueError("adapter is the base (slot 0); it is frozen and has no weights of its own")
        if adapter.slot not in self.living:
            raise ValueError(f"adapter slot {adapter.slot} is not in this engine; it was freed, or belongs to another")
        return self.living[adapter.slot]

    def slot(self, adapter: AdapterRef) -> int:
        """The slot of an adapter or of the base. ValueError for an adapter that is not here."""
        if adapter.slot != BASE.slot:
            self.find(adapter)
        return adapter.slot

    def order_by_shape(self, adapters: Sequence[AdapterRef]) -> list[int]:
        """Returns the adapters' places, sorted so that equal shapes stand together: then a batch fills whole banks."""
        shapes = [self.find(a).shape for a in adapters]
        return sorted(range(len(adapters)), key=lambda i: (shapes[i].rank, str(shapes[i])))

    def with_prompt(self, slot: int, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Returns the chat with the adapter's system message, which is joined with one that is there already."""
        prompt = self.living[slot].prompt if slot in self.living else ""
        if not prompt or not messages:
            return messages
        first, rest = messages[0], messages[1:]
        if first.role == "system":
            return (Message("system", f"{prompt} {first.content}"), *rest)
        return (Message("system", prompt), *messages)

    def rows_with_prompt(self, slots: Sequence[int], rows: Sequence[Row]) -> tuple[Row, ...]:
        """Returns the rows with the system messages of these slots: see `with_prompt`."""
        chats = [self.with_prompt(slot, row.messages) for slot, row in zip(slots, rows, strict=True)]
        return tuple(
            r if chat is r.messages else replace(r, messages=chat) for r, chat in zip(rows, chats, strict=True)
        )

    def sizes(self, shape: LoRA) -> dict[str, tuple[int, int]]:
        """What the modules of an adapter of this shape take and give, (in, out), by path."""
        return {path: self.banks.sizes[path] for path in self.banks.paths(shape)}

    def _add(self, shapes: Sequence[LoRA], weights: Sequence[Mapping[str, Tensor]]) -> list[AdapterRef]:
        slots = list(range(self.next, self.next + len(shapes)))
        self.next += len(shapes)
        self.banks.add(slots, shapes, weights)
        self.living |= {slot: State(shape) for slot, shape in zip(slots, shapes, strict=True)}
        return [AdapterRef(slot=slot, shape=shape) for slot, shape in zip(slots, shapes, strict=True)]

    def _tensors(self, slot: int, names: Sequence[str]) -> dict[str, Tensor]:
        tensors = {}
        for bank in self.banks.find(slot):
            where = bank.slots.index(slot)
            tensors |= {f"{bank.path}.{name}": bank.tensors[name][where].detach().cpu().clone() for name in names}
        return tensors


def check_lengths(a: str, first: Sequence[object], b: str, second: Sequence[object]) -> None:
    """ValueError, in which they are called `a` and `b`, for two lists of different length."""
    if len(first) != len(second):
        raise ValueError(f"{a} has {len(first)} entries and {b} {len(second)}; they must be as many")


def _same_shapes(what: str, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for key in sorted(shapes.keys() | tensors.keys()):
        has = tuple(tensors[key].shape) if key in tensors else None
        if has != shapes.get(key):
            raise ValueError(f"{what} has {key} as {has}; the adapter's shape on this base makes it {shapes.get(key)}")
