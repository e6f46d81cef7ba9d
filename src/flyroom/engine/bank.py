"""Stacked LoRA: one Bank per (module, rank) holds every adapter of that rank on that module, and answers for them all.

    y_r = W x_r + (alpha / rank) B_i A_i x_r        for each row r of the batch that belongs to adapter i

Rows come grouped by adapter. Where each adapter has as many rows and they lie side by side (training, mostly), they are
a view of the batch; otherwise they are gathered, padded to the longest group.
A steering vector is such an adapter too: on the module "residual", the stream after a layer, x is the number 1, and B
A a vector that is added at every token.
Only adapters that have the module stand in its bank; slot 0, the base, stands in none and is never touched.
Masters are fp32 and are cast at use. No input of the base needs a gradient, so the backward ends at the lowest adapter.

Sources: Hu et al. 2021, arXiv 2106.09685; the stacking is that of Punica (Chen et al. 2023, arXiv 2310.18547).
Left out: fused kernels; `F.grouped_mm` (torch 2.13's CPU bf16 refuses narrow strides).
Shapes: B rows, T tokens, I in, O out, N adapters, R rank, P rows padded to the longest group times T.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from flyroom.engine.low_rank import low_rank
from flyroom.types import LoRA

MOMENTS = ("A.m", "A.v", "B.m", "B.v")
RESIDUAL = "residual"  # the module of a steering vector


class Group(NamedTuple):
    """Rows start to start + rows of the batch belong to the adapter in this slot."""

    slot: int
    start: int
    rows: int


@dataclass(eq=False, kw_only=True)
class Bank:
    """All adapters of one rank on one module: A [N, R, I], B [N, O, R], scale [N] and, once trained, their moments."""

    path: str  # "layers.0.mlp.down_proj"
    slots: list[int] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def add(self, slots: Sequence[int], scales: Sequence[float], a: Sequence[Tensor], b: Sequence[Tensor]) -> None:
        new = {"A": torch.stack(list(a)), "B": torch.stack(list(b))}
        new["scale"] = torch.tensor(scales, device=new["A"].device)
        new |= {name: torch.zeros_like(new[name[0]]) for name in MOMENTS if name in self.tensors}
        self.tensors = {k: torch.cat([self.tensors[k], v]) if self.slots else v for k, v in new.items()}
        self.slots += slots

    def remove(self, slots: Iterable[int]) -> None:
        gone = set(slots)
        kept = [i for i, slot in enumerate(self.slots) if slot not in gone]
        if len(kept) < len(self.slots):
            self.tensors = {k: v[kept] for k, v in self.tensors.items()}
            self.slots = [self.slots[i] for i in kept]

    def take(self, names: Sequence[str], slots: Sequence[int]) -> list[Tensor]:
        """These tensors of these adapters: the bank's own where it is all of them in order, else copies."""
        if list(slots) == self.slots:
            return [self.tensors[name] for name in names]
        where = torch.tensor([self.slots.index(s) for s in slots], device=self.tensors["A"].device)
        return [self.tensors[name].index_select(0, where) for name in names]

    def put(self, names: Sequence[str], slots: Sequence[int], values: Sequence[Tensor]) -> None:
        where = torch.tensor([self.slots.index(s) for s in slots], device=self.tensors["A"].device)
        for name, value in zip(names, values, strict=True):
            if value is not self.tensors[name]:
                self.tensors[name].index_copy_(0, where, value)

    def want_moments(self) -> None:
        """AdamW's moments are made at the first step, so that adapters which are only asked cost half."""
        for name in MOMENTS:
            if name not in self.tensors:
                self.tensors[name] = torch.zeros_like(self.tensors[name[0]])


class Leaf(NamedTuple):
    """Adapters of a bank; in training A and B are leaves of the graph."""

    bank: Bank
    slots: list[int]
    a_NRI: Tensor
    b_NOR: Tensor
    scale_N: Tensor


class Spread(NamedTuple):
    """How N adapters' rows lie in the batch: equal groups that are all of it, or a slice of it; or gathered."""

    rows: slice | None
    gather: Tensor | None  # [N * longest], row of the batch; a padded place repeats its group's first row
    real: Tensor | None  # places of `gather` that are no padding
    target: Tensor | None  # the rows of those


class Active(NamedTuple):
    """A bank's share of the coming batch."""

    spread: Spread
    a_NIR: Tensor
    b_NRO: Tensor


class Banks:
    """Every bank on one base, and the hooks through which they add to its linear modules and to its residual stream.

    `sizes` is (in, out) of every module that an adapter can stand on, by path. `slices`: rows that lie side by side are
    sliced and not gathered; a compiler makes code for each slice. What a batch wants of a module stands on the module,
    so that the same code serves all layers.
    """

    def __init__(
        self, layers: nn.ModuleList, *, width: int, device: torch.device, dtype: torch.dtype, slices: bool = True
    ) -> None:
        self.sizes: dict[str, tuple[int, int]] = {}
        self.device, self.dtype, self.slices = device, dtype, slices
        self.banks: dict[tuple[str, int], Bank] = {}
        self._modules: dict[str, Any] = {}
        self._routed: set[str] = set()
        for l, layer in enumerate(layers):
            for name, module in layer.named_modules():
                if isinstance(module, nn.Linear):
                    self.sizes[f"layers.{l}.{name}"] = module.in_features, module.out_features
                    self._stand_on(f"layers.{l}.{name}", module, _adapt)
            self.sizes[f"layers.{l}.{RESIDUAL}"] = 1, width
            self._stand_on(f"layers.{l}.{RESIDUAL}", layer, _steer)

    def _stand_on(self, path: str, module: Any, hook: Callable[..., Any]) -> None:
        """Once: a model that an engine had before, and a copy of it, has its hooks."""
        if not hasattr(module, "adapters"):
            module.register_forward_hook(hook)
        module.adapters = ()
        self._modules[path] = module

    def paths(self, shape: LoRA) -> list[str]:
        """The modules that a shape stands on, in the order of the forward pass."""
        return [path for path in self.sizes if _covers(shape, path)]

    def add(self, slots: Sequence[int], shapes: Sequence[LoRA], weights: Sequence[Mapping[str, Tensor]]) -> None:
        fresh: dict[tuple[str, int], list[int]] = {}
        for i, shape in enumerate(shapes):
            for path in self.paths(shape):
                fresh.setdefault((path, shape.rank), []).append(i)
        for (path, rank), which in fresh.items():
            bank = self.banks.setdefault((path, rank), Bank(path=path))
            a, b = ([weights[i][f"{path}.{part}"].to(self.device, torch.float32) for i in which] for part in "AB")
            bank.add([slots[i] for i in which], [shapes[i].alpha / rank for i in which], a, b)

    def remove(self, slots: Sequence[int]) -> None:
        self.clear()
        for bank in self.banks.values():
            bank.remove(slots)
        self.banks = {key: bank for key, bank in self.banks.items() if bank.slots}

    def of(self, slot: int) -> list[Bank]:
        return [bank for bank in self.banks.values() if slot in bank.slots]

    def leaves(self, slots: Sequence[int]) -> list[Leaf]:
        """Fresh leaves for the adapters of a step."""
        wanted, found = set(slots), []
        for bank in self.banks.values():
            present = [s for s in bank.slots if s in wanted]
            if present:
                a, b, scale = (t.detach() for t in bank.take(("A", "B", "scale"), present))
                found.append(Leaf(bank, present, a.requires_grad_(), b.requires_grad_(), scale))
        return found

    def route(self, groups: Sequence[Group], leaves: Sequence[Leaf] | None = None) -> None:
        """Say which rows of the coming batches belong to whom. Without leaves the banks' own weights are used."""
        if leaves is None:
            leaves = [Leaf(k, k.slots, *(k.tensors[n] for n in ("A", "B", "scale"))) for k in self.banks.values()]
        spreads: dict[tuple[Group, ...], Spread] = {}
        self.clear()
        for leaf in leaves:
            here = set(leaf.slots)
            members = tuple(g for g in groups if g.slot in here)
            if not members:
                continue
            if members not in spreads:
                spreads[members] = _spread(members, groups, self.device, self.slices)
            self._modules[leaf.bank.path].adapters += (self._share(leaf, members, spreads[members]),)
            self._routed.add(leaf.bank.path)

    @property
    def lowest(self) -> int:
        """The lowest layer on which an adapter of the coming batch stands; 0 where there is none: what the bare base
        makes of a row is seldom asked twice."""
        return min((int(path.split(".")[1]) for path in self._routed), default=0)

    def clear(self) -> None:
        """The model is the bare base again, and no graph is kept."""
        for path in self._routed:
            self._modules[path].adapters = ()
        self._routed = set()

    def _share(self, leaf: Leaf, members: tuple[Group, ...], spread: Spread) -> Active:
        a_NRI, b_NOR, scale_N = leaf.a_NRI, leaf.b_NOR, leaf.scale_N
        if [g.slot for g in members] != leaf.slots:
            where = torch.tensor([leaf.slots.index(g.slot) for g in members], device=self.device)
            a_NRI, b_NOR, scale_N = (t.index_select(0, where) for t in (a_NRI, b_NOR, scale_N))
        b_NOR = b_NOR * scale_N[:, None, None]
        return Active(spread, a_NRI.to(self.dtype).transpose(1, 2), b_NOR.to(self.dtype).transpose(1, 2))


def _adapt(module: Any, args: tuple[Tensor, ...], out_BTO: Tensor) -> Tensor:
    """The hook of a linear module."""
    for active in module.adapters:
        out_BTO = _add(args[0], out_BTO, active)
    return out_BTO


def _steer(module: Any, args: tuple[Any, ...], output: Any) -> Any:
    """The hook of a layer."""
    if not module.adapters:
        return output
    hidden_BTD = output[0] if isinstance(output, tuple) else output
    for active in module.adapters:
        hidden_BTD = _add(hidden_BTD.new_ones(*hidden_BTD.shape[:2], 1), hidden_BTD, active)
    return (hidden_BTD, *output[1:]) if isinstance(output, tuple) else hidden_BTD


def _add(x_BTI: Tensor, out_BTO: Tensor, active: Active) -> Tensor:
    """out + the adapters' part. In place where it is for some rows only: a linear's output is nobody's saved tensor."""
    (rows, gather, real, target), a_NIR, b_NRO = active
    if rows is None and gather is None:
        return low_rank(x_BTI, a_NIR, b_NRO).add_(out_BTO)
    x = x_BTI[rows] if rows is not None else x_BTI.index_select(0, gather)  # pyright: ignore[reportArgumentType, reportCallIssue]
    delta = low_rank(x, a_NIR, b_NRO)
    if rows is not None:
        out_BTO[rows] += delta
        return out_BTO
    assert real is not None
    assert target is not None
    return out_BTO.index_add_(0, target, delta.index_select(0, real))


def _spread(members: Sequence[Group], groups: Sequence[Group], device: torch.device, slices: bool) -> Spread:
    first, last = members[0], members[-1]
    equal = all(g.rows == first.rows for g in members)
    if equal and len(members) == len(groups):
        return Spread(None, None, None, None)
    if slices and equal and last.start + last.rows - first.start == first.rows * len(members):
        return Spread(slice(first.start, last.start + last.rows), None, None, None)
    longest = max(g.rows for g in members)
    place = torch.arange(longest)
    count, start = (torch.tensor([g[i] for g in members])[:, None] for i in (2, 1))
    gather = torch.where(place < count, start + place, start).flatten()
    real = (place < count).flatten().nonzero().flatten()
    return Spread(None, gather.to(device), real.to(device), gather[real].to(device))


def fresh(shape: LoRA, seed: int, sizes: Mapping[str, tuple[int, int]]) -> dict[str, Tensor]:
    """An untrained adapter: A as PEFT draws it (kaiming-uniform, a = sqrt 5), of a steering vector 1; B zero. `sizes`
    is (in, out) by path.

    Each module has a generator of its own, so an adapter does not depend on who is spawned beside it.
    """
    weights = {}
    for path, (size_in, size_out) in sizes.items():
        key = hashlib.sha256(f"{seed}:{path}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "little") >> 1)
        bound = 1 / math.sqrt(size_in)
        drawn = torch.empty(shape.rank, size_in).uniform_(-bound, bound, generator=generator)
        weights[f"{path}.A"] = torch.ones_like(drawn) if size_in == 1 else drawn
        weights[f"{path}.B"] = torch.zeros(size_out, shape.rank)
    return weights


def _covers(shape: LoRA, path: str) -> bool:
    _, layer, name = path.split(".", 2)
    in_layers, module = shape.layers is None or int(layer) in shape.layers, name.rpartition(".")[2]
    return in_layers and (module in shape.modules or (shape.modules == ("all",) and module != RESIDUAL))
