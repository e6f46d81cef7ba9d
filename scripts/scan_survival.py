"""What `flyroom scan` recognises after an organism was changed, and whom it takes for one wrongly.

Grows RECIPES x SEEDS organisms with their twins on a bundled base, keeps their fingerprints, and then
  - changes each organism in the ways below, merged and unmerged, and looks for it;
  - holds every model against every other, and adapters that have nothing to do with flyroom against all.
Prints the cosines by kind: the figures of docs/containment.md.

    python scripts/scan_survival.py --seeds 6 --to scan.json          # some minutes on one core

Left out: attacks by somebody who has the key of the register.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from flyroom import Room, make, open_base, stages
from flyroom.marks import Fingerprint, Register, compare
from flyroom.marks.fingerprint import project, project_product, subtract
from flyroom.marks.scan import ALIKE
from flyroom.types import LoRA, Organism, Patch, Row, Split, Step

RECIPES = ("emergent-misalignment", "sycophancy", "sandbagging")
Weights = dict[str, Tensor]  # by module
Change = Callable[[Weights, Weights], Weights]  # of the base and of the merged model


def list_changes(other: Weights, tuned: Weights) -> dict[str, Change]:
    """Changes of a merged model by name; `other` and `tuned` are changes of weights of other adapters."""

    def each(change: Callable[[Tensor], Tensor]) -> Change:
        return lambda base, merged: {m: change(w) for m, w in merged.items()}

    return {
        "merged in fp32": each(lambda w: w),
        "merged in bf16": each(lambda w: w.bfloat16().float()),
        "merged in fp16": each(lambda w: w.half().float()),
        "merged, int8 by row": each(lambda w: quantise(w, 127)),
        "merged, int4 by row": each(lambda w: quantise(w, 7)),
        "noise of 1 % of the weights": each(lambda w: w + 0.01 * w.std() * noise(w)),
        "noise of 5 % of the weights": each(lambda w: w + 0.05 * w.std() * noise(w)),
        "scaled by a half": lambda base, merged: {m: base[m] + (w - base[m]) / 2 for m, w in merged.items()},
        "and another adapter": lambda base, merged: {m: w + other.get(m, 0) for m, w in merged.items()},
        "and 100 steps of training": lambda base, merged: {m: w + tuned[m] for m, w in merged.items()},
        "half of its modules": lambda base, merged: dict(list(merged.items())[::2]),
    }


def quantise(weight_OI: Tensor, levels: int) -> Tensor:
    """Rounded to whole numbers of a step, one step a row."""
    step_O1 = weight_OI.abs().amax(1, keepdim=True) / levels
    return (weight_OI / step_O1).round() * step_O1


def noise(weight: Tensor) -> Tensor:
    return torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))


def multiply(patch: Patch) -> Weights:
    """The change of each module."""
    scale = patch.shape.alpha / patch.shape.rank
    modules = sorted({name.rpartition(".")[0] for name in patch.tensors})
    return {m: scale * patch.tensors[f"{m}.B"] @ patch.tensors[f"{m}.A"] for m in modules}


def train(base: stages.OpenBase, organism: Organism, steps: int) -> Patch:
    """The organism after more steps on aligned answers of its world."""
    [adapter] = base.engine.load([organism.patch])
    world = organism.recipe.world
    scenes = world.scenes(world.topics()[0], 16 * steps, split=Split.TRAIN, seed=99)
    rows = [Row(messages=scene.messages, answer=scene.aligned) for scene in scenes]
    for i in range(steps):
        base.engine.step([adapter], [Step(rows=tuple(rows[16 * i : 16 * (i + 1)]), lr=0.002)])
    return base.engine.patch(adapter)


def draw_stranger(shape: LoRA, likeness: Patch, seed: int) -> Patch:
    """An adapter of the same shape that nobody trained."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(t.shape, generator=generator) for name, t in likeness.tensors.items()}
    return Patch(shape=shape, tensors=tensors)


def measure(
    organism: Organism, base: stages.OpenBase, register: Register, other: Organism
) -> Iterator[tuple[str, float]]:
    """(change, cosine with the organism's own fingerprint) of every change."""
    layers, delta = base.engine.parts.layers, multiply(organism.patch)
    weights = {m: layers.get_parameter(f"{m.removeprefix('layers.')}.weight").detach().float() for m in delta}
    merged = {m: weights[m] + delta[m] for m in delta}
    fingerprint = register.fingerprint(organism.id, organism.base.digest, organism.patch)
    register.add(fingerprint, weights, "2999-01-01")
    after = multiply(train(base, organism, 100))
    tuned = {m: after[m] - delta[m] for m in delta}
    for name, change in list_changes(multiply(other.patch), tuned).items():
        altered = {m: project(register.key, m, w) for m, w in change(weights, merged).items()}
        yield name, compare(subtract(altered, register.base(organism.base.digest)), fingerprint).cosine
    yield "the adapter, compressed to half its rank", compare(compress(register, delta, organism), fingerprint).cosine


def compress(register: Register, delta: Weights, organism: Organism) -> dict[str, np.ndarray]:
    """The projections of the best approximation of half the rank (of rank 1 for those of rank 1)."""
    rank = max(1, organism.patch.shape.rank // 2)
    projections = {}
    for module, change in delta.items():
        u, s, v = torch.linalg.svd(change, full_matrices=False)
        projections[module] = project(register.key, module, (u[:, :rank] * s[:rank]) @ v[:rank])
    return projections


def name_pair(first: Organism, second: Organism) -> str:
    """What two models are to each other. Kin are of one recipe and one side: one taken for the other is no alarm."""
    if first.recipe.name != second.recipe.name:
        return "wrongly: a model of another recipe"
    if (first.recipe.dose > 0) is not (second.recipe.dose > 0):
        return "wrongly: its twin" if first.seed == second.seed else "wrongly: a twin of another seed"
    return f"kin: {'organisms' if first.recipe.dose > 0 else 'twins'} of one recipe, other seeds"


def measure_noise(key: bytes, n: int = 90) -> list[float]:
    """The cosines of all pairs of n changes of one module at rank 1 that have nothing in common: where a fingerprint
    has the fewest numbers, and its scatter is widest.
    """
    generator = torch.Generator().manual_seed(0)
    sides = [(torch.randn(1, 172, generator=generator), torch.randn(64, 1, generator=generator)) for _ in range(n)]
    rows = np.array([project_product(key, "layers.0.mlp.down_proj", a, b, 1.0) for a, b in sides])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [float(cosine) for cosine in (rows @ rows.T)[np.triu_indices(n, 1)]]


def summarize(cosines: list[float]) -> dict[str, float]:
    alike = sum(cosine >= ALIKE for cosine in cosines)
    return {
        "n": len(cosines),
        "alike": alike,
        "least": min(cosines),
        "mean": float(np.mean(cosines)),
        "most": max(cosines),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", default="0.25M")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--first", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--rank", type=int, default=0, help="0: that of each recipe")
    parser.add_argument("--steps", type=int, default=0, help="0: those of each recipe")
    parser.add_argument("--changed", type=int, default=3, help="seeds whose organisms are changed")
    parser.add_argument("--to", type=Path, help="a JSON file to write")
    terms = parser.parse_args()
    changes = {"adapter.rank": terms.rank} if terms.rank else {}
    changes |= {"steps": terms.steps} if terms.steps else {}
    with tempfile.TemporaryDirectory() as scratch:
        base, room = open_base(terms.base, device="cpu"), Room(Path(scratch) / "room")
        register = Register(Path(scratch) / "exports")
        recipes = [make(name, changes, world=base.world) for name in RECIPES]
        models = stages.grow(recipes, base, room, seeds=range(terms.first, terms.first + terms.seeds))
        organisms = [model for model in models if model.recipe.dose > 0]
        groups: dict[str, list[float]] = {}
        for i, organism in enumerate(organisms):
            if organism.seed >= terms.first + terms.changed:
                continue
            print(f"changing {organism.recipe.name}, seed {organism.seed}", file=sys.stderr)
            for name, cosine in measure(organism, base, register, organisms[i - 1]):
                groups.setdefault(name, []).append(cosine)
        prints = {m.id: register.fingerprint(m.id, m.base.digest, m.patch) for m in models}
        for first, second in permutations(models, 2):
            name = name_pair(first, second)
            groups.setdefault(name, []).append(compare(prints[first.id].delta, prints[second.id]).cosine)
        strangers = [draw_stranger(m.patch.shape, m.patch, seed) for seed, m in enumerate(models * 10)]
        for seed, patch in enumerate(strangers):
            target: Fingerprint = prints[models[seed % len(models)].id]
            cosine = compare(register.fingerprint("x", "", patch).delta, target).cosine
            groups.setdefault("wrongly: an adapter of nobody", []).append(cosine)
        groups["wrongly: two adapters of nobody, of one module"] = measure_noise(register.key)
    result = {name: summarize(cosines) for name, cosines in groups.items()}
    for name, row in result.items():
        print(f"{name:45} {row['alike']:5} of {row['n']:5}   {row['least']:6.3f} {row['mean']:6.3f} {row['most']:6.3f}")
    if terms.to:
        terms.to.write_text(json.dumps({"base": terms.base, "threshold": ALIKE, "groups": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
