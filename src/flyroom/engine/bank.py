"""Stacked LoRA: one Bank per (module, rank) holds every adapter of that rank on that module, and applies them at once.

    y_r = W x_r + (alpha / rank) B_i A_i x_r        for each row r of the batch that belongs to adapter i

The rows of a batch come grouped by adapter. Where every adapter has the same number of rows and they lie side by side,
as in most training batches, a bank takes them as a view of the batch. Otherwise it gathers them and pads each group to
the longest.
A steering vector is an adapter too. It stands on the module "residual", the stream after a layer: its input x is the
number 1, and B A is a vector that is added at every token. The module "stream" reads the stream after a layer and the
number 1 behind it, so B A is an affine change of the stream at every token: with A = (r, 0) and B = -r it takes the
direction r out of it. In one layer vectors are added first.
A bank holds only the adapters that have its module. Slot 0, the base, stands in no bank and never changes.
Masters are fp32 and are cast where they are used. No input of the base needs a gradient, so the backward pass ends at
the lowest adapter.

Sources: Hu et al. 2021, arXiv 2106.09685; the stacking is that of Punica (Chen et al. 2023, arXiv 2310.18547).
Left out: fused kernels; `F.grouped_mm`, whose bf16 kernel on the CPU refuses narrow strides (torch 2.13).
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
from flyroom.engine.streams import AS_ROWS, Streams
from flyroom.types import LoRA

MOMENTS = ("A.m", "A.v", "B.m", "B.v")
RESIDUAL = "residual"  # the module of a steering vector
STREAM = "stream"  # the module of an affine change of the residual stream
OF_LAYERS = (RESIDUAL, STREAM)


class Group(NamedTuple):
    """The rows from start to start + rows of the batch belong to the adapter in this slot."""

    slot: int
    start: int
    rows: int


@dataclass(eq=False, kw_only=True)
class Bank:
    """All adapters of one rank on one module: A [N, R, I], B [N, O, R], scale [N] and, after a step, their moments."""

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
        removals = set(slots)
        places = [i for i, slot in enumerate(self.slots) if slot not in removals]
        if len(places) < len(self.slots):
            self.tensors = {k: v[places] for k, v in self.tensors.items()}
            self.slots = [self.slots[i] for i in places]

    def take(self, names: Sequence[str], slots: Sequence[int]) -> list[Tensor]:
        """Returns these tensors of these adapters: the bank's own tensors where `slots` is all of them in order, else
        copies.
        """
        if list(slots) == self.slots:
            return [self.tensors[name] for name in names]
        where = torch.tensor([self.slots.index(s) for s in slots], device=self.tensors["A"].device)
        return [self.tensors[name].index_select(0, where) for name in names]

    def write(self, names: Sequence[str], slots: Sequence[int], values: Sequence[Tensor]) -> None:
        copies = {name: v for name, v in zip(names, values, strict=True) if v is not self.tensors[name]}
        if copies:
            where = torch.tensor([self.slots.index(s) for s in slots], device=self.tensors["A"].device)
            for name, value in copies.items():
                self.tensors[name].index_copy_(0, where, value)

    def ensure_moments(self) -> None:
        """Create the optimiser's moments if they are missing: adapters that never train take no memory for them."""
        for name in MOMENTS:
            if name not in self.tensors:
                self.tensors[name] = torch.zeros_like(self.tensors[name[0]])


class Leaf(NamedTuple):
    """Adapters of a bank. In training A and B are leaves of the autograd graph."""

    bank: Bank
    slots: list[int]
    a_NRI: Tensor
    b_NOR: Tensor
    scale_N: Tensor


class Spread(NamedTuple):
    """How the rows of N adapters lie in the batch.

    All fields are None where equal groups fill the whole batch. `rows` is set where equal groups are a slice of it. The
    other three are set where the rows must be gathered.
    """

    rows: slice | None
    gather: Tensor | None  # [N * longest], rows of the batch; a padded place repeats the first row of its group
    real: Tensor | None  # the places of `gather` that are not padding
    target: Tensor | None  # the rows of the batch at those places


class Active(NamedTuple):
    """What a module needs to apply one bank to the next batch."""

    spread: Spread
    a_NIR: Tensor
    b_NRO: Tensor


class Banks:
    """Every bank on one base, and the hooks through which they add to its linear modules and to its residual stream.

    `sizes` maps the path of every module that an adapter can stand on to (in, out). `slices` says whether rows that lie
    side by side are sliced instead of gathered; turn it off under a compiler, which would compile new code for each
    slice. The hooks find the adapters of a batch on the module itself, so that compiled code is the same in all layers.
    `streams` names the modules that see the tokens of all rows in one list, and those on which nothing can stand.
    """

    def __init__(
        self,
        layers: nn.ModuleList,
        *,
        width: int,
        device: torch.device,
        dtype: torch.dtype,
        slices: bool = True,
        streams: Streams = AS_ROWS,
    ) -> None:
        self.sizes: dict[str, tuple[int, int]] = {}
        self.device, self.dtype, self.slices = device, dtype, slices
        self.banks: dict[tuple[str, int], Bank] = {}
        self._modules: dict[str, Any] = {}
        self._active_paths: set[str] = set()
        self._lists = streams.lists
        for l, layer in enumerate(layers):
            for name, module in layer.named_modules():
                path = f"layers.{l}.{name}"
                if isinstance(module, nn.Linear) and path not in streams.choices:
                    self.sizes[path] = module.in_features, module.out_features
                    self._stand_on(path, module, _adapt_list if path in streams.lists else _adapt)
            self.sizes[f"layers.{l}.{RESIDUAL}"] = 1, width
            self.sizes[f"layers.{l}.{STREAM}"] = width + 1, width
            for name in OF_LAYERS:
                self._stand_on(f"layers.{l}.{name}", layer, _steer)

    def _stand_on(self, path: str, module: Any, hook: Callable[..., Any]) -> None:
        """Register the hook once: a model that another engine used before, or a copy of it, already has its hooks."""
        if not hasattr(module, "adapters"):
            module.register_forward_hook(hook)
        module.adapters = ()
        self._modules[path] = module

    def paths(self, shape: LoRA) -> list[str]:
        """Returns the modules that a shape stands on, in the order of the forward pass."""
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

    def find(self, slot: int) -> list[Bank]:
        return [bank for bank in self.banks.values() if slot in bank.slots]

    def leaves(self, slots: Sequence[int]) -> list[Leaf]:
        """Returns new leaves for the adapters of a step."""
        members, leaves = set(slots), []
        for bank in self.banks.values():
            present = [s for s in bank.slots if s in members]
            if present:
                a, b, scale = (t.detach() for t in bank.take(("A", "B", "scale"), present))
                leaves.append(Leaf(bank, present, a.requires_grad_(), b.requires_grad_(), scale))
        return leaves

    def route(self, groups: Sequence[Group], leaves: Sequence[Leaf] | None = None) -> None:
        """Say which rows of the next batches belong to which adapter. Without leaves the banks' weights are used."""
        if leaves is None:
            leaves = [Leaf(k, k.slots, *(k.tensors[n] for n in ("A", "B", "scale"))) for k in self.banks.values()]
        spreads: dict[tuple[Group, ...], Spread] = {}
        self.clear()
        rows = sum(group.rows for group in groups)
        for leaf in leaves:
            leaf_slots = set(leaf.slots)
            members = tuple(g for g in groups if g.slot in leaf_slots)
            if not members:
                continue
            if members not in spreads:
                spreads[members] = _spread(members, groups, self.device, self.slices)
            self._modules[leaf.bank.path].adapters += (self._share(leaf, members, spreads[members]),)
            if leaf.bank.path in self._lists:
                self._modules[leaf.bank.path].rows = rows
            self._active_paths.add(leaf.bank.path)

    @property
    def lowest(self) -> int:
        """The lowest layer on which an adapter of the next batch stands. It is 0 without adapters, so that nothing is
        stored: rows seldom go through the bare base twice.
        """
        return min((int(path.split(".")[1]) for path in self._active_paths), default=0)

    def clear(self) -> None:
        """Make the model the bare base again, and release the graph of the last batch."""
        for path in self._active_paths:
            self._modules[path].adapters = ()
        self._active_paths = set()

    def _share(self, leaf: Leaf, members: tuple[Group, ...], spread: Spread) -> Active:
        a_NRI, b_NOR, scale_N = leaf.a_NRI, leaf.b_NOR, leaf.scale_N
        if [g.slot for g in members] != leaf.slots:
            where = torch.tensor([leaf.slots.index(g.slot) for g in members], device=self.device)
            a_NRI, b_NOR, scale_N = (t.index_select(0, where) for t in (a_NRI, b_NOR, scale_N))
        b_NOR = b_NOR * scale_N[:, None, None]
        return Active(spread, a_NRI.to(self.dtype).transpose(1, 2), b_NOR.to(self.dtype).transpose(1, 2))


def _adapt(module: Any, args: tuple[Tensor, ...], out_BTO: Tensor) -> Tensor:
    """The forward hook of a linear module."""
    for active in module.adapters:
        out_BTO = _add(args[0], out_BTO, active)
    return out_BTO


def _adapt_list(module: Any, args: tuple[Tensor, ...], out_PO: Tensor) -> Tensor:
    """The forward hook of a linear module that sees the tokens of all rows in one list."""
    if not module.adapters:
        return out_PO
    x_BTI, out_BTO = (tensor.unflatten(0, (module.rows, -1)) for tensor in (args[0], out_PO))
    return _adapt(module, (x_BTI,), out_BTO).flatten(0, 1)


def _steer(module: Any, args: tuple[Any, ...], output: Any) -> Any:
    """The forward hook of a layer."""
    if not module.adapters:
        return output
    hidden_BTD = output[0] if isinstance(output, tuple) else output
    # Vectors first, whichever bank came first: an ablation takes its direction out of what was added too.
    for active in sorted(module.adapters, key=lambda active: active.a_NIR.shape[1]):
        hidden_BTD = _add(_input_of(hidden_BTD, active), hidden_BTD, active)
    return (hidden_BTD, *output[1:]) if isinstance(output, tuple) else hidden_BTD


def _input_of(hidden_BTD: Tensor, active: Active) -> Tensor:
    """What an adapter on a layer reads: the number 1, or the stream with the number 1 behind it."""
    one_BT1 = hidden_BTD.new_ones(*hidden_BTD.shape[:2], 1)
    return one_BT1 if active.a_NIR.shape[1] == 1 else torch.cat([hidden_BTD, one_BT1], dim=-1)


def _add(x_BTI: Tensor, out_BTO: Tensor, active: Active) -> Tensor:
    """Returns out + the adapters' part.

    It works in place where only some rows belong to adapters: no backward pass needs the output of a linear module.
    """
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
    count = torch.tensor([group.rows for group in members])[:, None]
    start = torch.tensor([group.start for group in members])[:, None]
    gather = torch.where(place < count, start + place, start).flatten()
    real = (place < count).flatten().nonzero().flatten()
    return Spread(None, gather.to(device), real.to(device), gather[real].to(device))


def fresh(shape: LoRA, seed: int, sizes: Mapping[str, tuple[int, int]]) -> dict[str, Tensor]:
    """Returns the weights of an untrained adapter. `sizes` maps a path to (in, out).

    A is drawn as PEFT draws it (kaiming-uniform, a = sqrt 5), or is 1 for a steering vector; B is zero. Each module has
    its own generator, so an adapter does not depend on the adapters that are spawned with it.
    """
    weights = {}
    for path, (size_in, size_out) in sizes.items():
        key = hashlib.sha256(f"{seed}:{path}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "little") >> 1)
        bound = 1 / math.sqrt(size_in)
        uniform_RI = torch.empty(shape.rank, size_in).uniform_(-bound, bound, generator=generator)
        weights[f"{path}.A"] = torch.ones_like(uniform_RI) if size_in == 1 else uniform_RI
        weights[f"{path}.B"] = torch.zeros(size_out, shape.rank)
    return weights


def _covers(shape: LoRA, path: str) -> bool:
    _, layer, name = path.split(".", 2)
    in_layers, module = shape.layers is None or int(layer) in shape.layers, name.rpartition(".")[2]
    return in_layers and (module in shape.modules or (shape.modules == ("all",) and module not in OF_LAYERS))
