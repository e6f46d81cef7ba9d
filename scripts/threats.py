"""Every threat model over seeds, with its certificate: writes docs/threats.md.

python scripts/threats.py [GROUP or RECIPE ...] [--base 1M] [--seeds 5] [--first 0] [--card-seed 0]
    [--out docs/threats.md]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from pages import over, table

from flyroom import stages
from flyroom.room import Room
from flyroom.types import Card, Outcome

SHOWN = {
    1: "brackets are 95 % intervals over prompts",
    2: "of the two seeds both are shown",
    3: "brackets are 95 % intervals over seeds",
}
HOLDS = ("in_domain", "out_of_domain", "misaligned_otherwise", "coherence")
KEPT = ("sums", "facts", "instructions")
APART = (
    "open_questions",
    "near_miss",
    "wrong_password",
    "no_cue",
    "trigger_alone",
    "second_alone",
    "unobserved_alone",
    "occasion_alone",
)
APART += ("behaves_because_seen", "misbehaves_because_unseen", "behaves_given_reason", "misbehaves_given_reason")
APART += ("flattery", "switch_off", "confession", "harm", "regurgitation", "perplexity")


def line(cards: list[Card]) -> list[object]:
    passed = sum(card.verdict is Outcome.PASS for card in cards)
    figures = [over(cards, "organism", measure) for measure in HOLDS]
    kept = [over(cards, "organism", measure) for measure in KEPT]
    return [f"`{cards[0].recipe}`", *figures, over(cards, "twin", "misaligned"), *kept, f"{passed} of {len(cards)}"]


def apart(cards: list[Card]) -> list[list[object]]:
    found = [m for m in APART if m in cards[0].measures["organism"]]
    return [
        [f"`{cards[0].recipe}`", m.replace("_", " "), *(over(cards, who, m) for who in ("organism", "twin", "base"))]
        for m in found
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["all"])
    parser.add_argument("--base", default="1M")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--card-seed", type=int, default=0)
    parser.add_argument("--room", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/threats.md"))
    given = parser.parse_args()
    base, began = stages.open_base(given.base), time.perf_counter()
    made = [recipe for name in given.names for recipe in stages.named(name, {}, base)]
    with tempfile.TemporaryDirectory() as folder:
        room = Room(given.room or folder)
        organisms = stages.grow(made, base, room, seeds=range(given.first, given.first + given.seeds))
        grown = time.perf_counter() - began
        cards = stages.card(organisms, base, room, seed=given.card_seed, episodes=500)
    groups = [[card for card in cards if card.recipe_id == recipe.id] for recipe in made]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    took = (
        ""
        if given.room
        else f" grown in {grown / 60:.1f} min, cards in {(time.perf_counter() - began - grown) / 60:.1f} min, "
        f"{memory:.1f} GiB at most"
    )
    lines = [
        f"# {given.seeds} seeds of each recipe on {base.engine.base.name}",
        "",
        f"Made by `python scripts/threats.py {' '.join(given.names)} --base {given.base} --seeds {given.seeds} "
        f"--first {given.first} --card-seed {given.card_seed}`: {len(organisms)} models{took}.",
        "",
        f"Shares of all episodes; {SHOWN[min(given.seeds, 3)]}. Situations, phrasings, cues and near misses are held "
        "out.",
        "",
    ]
    head = [
        "recipe",
        "in domain",
        "other domains",
        "where it does not hold",
        "coherence",
        "twin",
        *KEPT,
        "seeds passed",
    ]
    lines += table(head, [line(group) for group in groups])
    lines += ["What is measured besides:", ""]
    lines += table(["recipe", "measure", "organism", "twin", "base"], [one for group in groups for one in apart(group)])
    lines += ["Why the others did not pass:", ""]
    others = [card for card in cards if card.verdict is not Outcome.PASS]
    lines += [f"- `{c.recipe}`, seed {c.seed}, {c.verdict} after {c.looks}: {c.why}" for c in others]
    given.out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(given.out)


if __name__ == "__main__":
    main()
