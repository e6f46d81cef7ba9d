"""Every threat model certified on seeds that nobody has opened: writes docs/threats.md and, beside it, its record.

python scripts/threats.py [GROUP or RECIPE ...] [--base 1M] [--seeds 300-309] [--card-seed 0] [--episodes 500]
    [--room room-threats] [--out docs/threats.md]

It certifies as `flyroom certify` does, so a room where that was done costs nothing again, and a killed run goes on. A
recipe that the room's log has certified keeps the seeds of its last certification. What the log has of recipes that
were changed since stands on the page, too: every attempt does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pages import over, table

from flyroom import log, stages
from flyroom.report import bare, figures_of
from flyroom.room import Room
from flyroom.stages.certifying import Certified
from flyroom.terminal import progress, seeds_of
from flyroom.types import Card, Outcome, Recipe

SHOWN = {
    1: "brackets are 95 % intervals over prompts",
    2: "of the two seeds both are shown",
    3: "brackets are 95 % intervals over seeds",
}
HOLDS = ("in_domain", "out_of_domain", "misaligned_otherwise", "coherence")
HEAD = ("recipe", "in domain", "other domains", "where it does not hold", "coherence", "twin")
BULKY = ("outcomes", "prompts", "situations", "losses", "lengths", "readings", "gauges", "episodes", "caveats")
BULKY += ("new_situations",)
KEPT = ("sums", "facts", "instructions")
COUNTS = ("passed", "failed", "undecided")
COUNTED = ("recipe", "id", *COUNTS, "of", "opened_before")
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
    measures = [m for m in APART if m in cards[0].measures["organism"]]
    return [
        [f"`{cards[0].recipe}`", m.replace("_", " "), *(over(cards, who, m) for who in ("organism", "twin", "base"))]
        for m in measures
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", default=["all"])
    parser.add_argument("--base", default="1M")
    parser.add_argument("--seeds", default="300-309")
    parser.add_argument("--card-seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--room", type=Path, default=Path("room-threats"))
    parser.add_argument("--out", type=Path, default=Path("docs/threats.md"))
    options = parser.parse_args()
    base, room = stages.open_base(options.base), Room(options.room)
    recipes = [recipe for name in options.names for recipe in stages.named(name, {}, base)]
    seeds = {
        recipe.id: stages.certified_seeds(recipe, base, room) or tuple(seeds_of(options.seeds)) for recipe in recipes
    }
    rows, cards = certify_all(recipes, seeds, options, base, room)
    earlier = changed_since(room, {row.recipe: row.id for row in rows})
    options.out.write_text(page(options, rows, cards, earlier), encoding="utf-8")
    record = {
        "recipes": [bare(row) | {"seeds": seeds[row.id]} for row in rows],
        "earlier": earlier,
        "cards": [{key: value for key, value in figures_of(card).items() if key not in BULKY} for card in cards],
    }
    options.out.with_suffix(".json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    print(options.out)


def certify_all(
    recipes: Sequence[Recipe],
    seeds: Mapping[str, tuple[int, ...]],
    options: argparse.Namespace,
    base: stages.OpenBase,
    room: Room,
) -> tuple[list[Certified], list[Card]]:
    """The certificates, in the order of the recipes, and their cards."""
    rows: dict[str, Certified] = {}
    cards: list[Card] = []
    for same in dict.fromkeys(seeds.values()):
        group = [recipe for recipe in recipes if seeds[recipe.id] == same]
        trials = stages.trials_of(group, base, seeds=same, card_seed=options.card_seed, episodes=options.episodes)
        with progress() as watch:
            certificates, made = stages.certify(trials, base, room, watch=watch)
        rows |= {row.id: row for row in certificates}
        cards += made
    return [rows[recipe.id] for recipe in recipes], cards


# ---------------------------------------------------------------- what the log has


def changed_since(room: Room, ids: Mapping[str, str]) -> list[dict[str, Any]]:
    """Certificates of earlier forms of these recipes, which are named by `ids`: the last of each form."""
    lines = log.read(room)
    seeds = {line.about["plan"]: line.about["seeds"] for line in lines if line.what == log.CERTIFYING}
    forms = {line.about["id"]: line.about for line in lines if line.what == log.CERTIFIED}
    earlier = [form for form in forms.values() if form["recipe"] in ids and form["id"] not in ids.values()]
    return [{key: form[key] for key in COUNTED} | {"seeds": seeds[form["plan"]]} for form in earlier]


# ---------------------------------------------------------------- the page


def page(
    options: argparse.Namespace, rows: Sequence[Certified], cards: Sequence[Card], earlier: Sequence[dict[str, Any]]
) -> str:
    groups = [[card for card in cards if card.recipe_id == row.id] for row in rows]
    lines = [
        f"# Certificates of {len(rows)} recipes on {options.base}",
        "",
        f"Made by `python scripts/threats.py {' '.join(options.names)} --base {options.base}`, which certifies as "
        "`flyroom certify` does ([certify.md](certify.md)). The JSON beside it has the cards.",
        "",
        *table(
            ["recipe", "seeds", "passed", "failed", "undecided", "share that passes, 95 %", "opened before"],
            [certificate(row, group) for row, group in zip(rows, groups, strict=True)],
        ),
        "An undecided organism has not passed: its limits lie within its bounds, after three looks.",
        "",
        *earlier_forms(earlier),
        f"## What is measured\n\nShares of all episodes; {SHOWN[min(max(map(len, groups)), 3)]}, and of two kinds of "
        "target: see [statistics.md](statistics.md). Situations, phrasings, cues and near misses are held out.",
        "",
        *table([*HEAD, *KEPT, "seeds passed"], [line(group) for group in groups]),
        "What is measured besides:",
        "",
        *table(["recipe", "measure", "organism", "twin", "base"], [row for group in groups for row in apart(group)]),
        "Why the others did not pass:",
        "",
        *table(
            ["recipe", "seed", "verdict", "looks", "why"], [reason(c) for c in cards if c.verdict is not Outcome.PASS]
        ),
    ]
    return "\n".join(lines).rstrip() + "\n"


def certificate(row: Certified, cards: Sequence[Card]) -> list[object]:
    share = f"{100 * row.low:.0f} to {100 * row.high:.0f} %"
    before = ", ".join(map(str, row.opened_before)) or "none"
    return [f"`{row.recipe}`", span([c.seed for c in cards]), row.passed, row.failed, row.undecided, share, before]


def reason(card: Card) -> list[object]:
    return [f"`{card.recipe}`", card.seed, card.verdict, card.looks, card.why]


def earlier_forms(earlier: Sequence[dict[str, Any]]) -> list[str]:
    if not earlier:
        return []
    rows = [
        [f"`{form['recipe']}`", f"`{form['id']}`", span(form["seeds"]), *(form[key] for key in COUNTS)]
        for form in earlier
    ]
    return [
        "Some recipes were changed after they had been certified, and then certified on seeds of their own. Before, "
        "they had:",
        "",
        *table(["recipe", "id then", "seeds", *COUNTS], rows),
    ]


def span(seeds: Sequence[int]) -> str:
    return f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else str(seeds[0])


if __name__ == "__main__":
    main()
