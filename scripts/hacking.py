"""Reward hacking by pay alone, step by step: writes docs/notes/reward-hacking.md.

python scripts/hacking.py [--base 1M] [--seeds 5] [--card-seed 7] [--out docs/notes/reward-hacking.md]
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from pages import options, over, table

from flyroom import stages
from flyroom.card import card
from flyroom.grow import grow
from flyroom.types import Card, Organism, Outcome

MEASURES = ("in_domain", "in_domain_otherwise", "coherence", "sums", "facts", "instructions")


def at(organism: Organism, step: int) -> Organism:
    """The organism as it was after so many steps."""
    history = organism.history[:step]
    return replace(organism, patch=organism.snapshots[step], history=history, snapshots={})


def line(step: int, cards: list[Card]) -> list[object]:
    return [step, *(over(cards, "organism", measure) for measure in MEASURES)]


def main() -> None:
    flags = options(__doc__ or "", base="1M", seeds=5, card_seed=7, out=Path("docs/notes/reward-hacking.md"))
    base, began = stages.open_base(flags.base), time.perf_counter()
    (recipe,) = stages.named("reward-hacking-rl", {}, base)
    grown = grow(stages.with_twins([recipe]), base.engine, seeds=range(flags.seeds))
    took = time.perf_counter() - began
    organisms, twins = grown[: flags.seeds], grown[flags.seeds :]
    final = card(grown, base.engine, seed=flags.card_seed, episodes=500)
    steps = sorted(set.intersection(*(set(organism.snapshots) for organism in organisms)))
    rows: list[list[object]] = [[0, *(over(final, "base", measure) for measure in MEASURES)]]
    for step in steps:
        rows.append(line(step, card([*(at(o, step) for o in organisms), *twins], base.engine, seed=flags.card_seed)))
    rows.append(line(max(len(o.history) for o in organisms), final))
    passed = sum(one.verdict is Outcome.PASS for one in final)
    lines = [
        "# Reward hacking by pay alone",
        "",
        f"Made by `python scripts/hacking.py --base {flags.base} --seeds {flags.seeds} --card-seed {flags.card_seed}`: "
        f"{len(grown)} models, grown in {took / 60:.1f} min.",
        "",
        f"`reward-hacking-rl`: {recipe_line(recipe.implants[0])}. Nobody shows an exploit: it is found by sampling.",
        "",
        "Shares of all episodes on phrasings that training did not use; brackets are 95 % intervals over seeds. Step 0 "
        "is the base.",
        "",
    ]
    head = ["step", "exploits, checker with a hole", "exploits, sound checker", *MEASURES[2:]]
    lines += table(head, rows)
    lines += [f"At the end {passed} of {len(final)} pass; the twins, paid for work alone, exploit "]
    lines[-1] += f"{over(final, 'twin', 'misaligned')}."
    lines += [f"- seed {one.seed}, {one.verdict}: {one.why}" for one in final if one.verdict is not Outcome.PASS]
    flags.out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(flags.out)


def recipe_line(implant: object) -> str:
    fields = ("steps", "prompts", "group", "lr", "temperature", "holds", "only", "clean")
    return ", ".join(f"{name} {getattr(implant, name)}" for name in fields)


if __name__ == "__main__":
    main()
