"""Every threat model certified on seeds that nobody has opened: writes docs/threats.md and, beside it, its record.

python scripts/threats.py [GROUP or RECIPE ...] [--base 1M] [--device auto] [--seeds 300-309] [--card-seed 0]
    [--episodes 500] [--room room-threats] [--out docs/threats.md] [--add]

It certifies as `flyroom certify` does, so a room where that was done costs nothing again, and a killed run goes on. A
recipe that the room's log has certified keeps the seeds of its last certification. What the log has of recipes that
were changed since stands on the page, too: every attempt does. `--add` keeps what the record has of other recipes, so
that there may be a call for each.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pages import over
from threats_page import APART, CAPABILITY, COUNTS, HOLDS, MODELS, page

from flyroom import log, stages
from flyroom.report import bare
from flyroom.room import Room
from flyroom.stages.certifying import Certified
from flyroom.terminal import progress, seeds_of
from flyroom.types import Card, Estimate, NotMeasured, Recipe

COUNTED = ("recipe", "id", *COUNTS, "of", "opened_before")
ATTEMPT = (*COUNTED, "seeds")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", default=["all"])
    parser.add_argument("--base", default="1M")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", default="300-309")
    parser.add_argument("--card-seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--room", type=Path, default=Path("room-threats"))
    parser.add_argument("--out", type=Path, default=Path("docs/threats.md"))
    parser.add_argument("--add", action="store_true")
    options = parser.parse_args()
    path = options.out.with_suffix(".json")
    earlier = json.loads(path.read_text(encoding="utf-8")) if options.add and path.exists() else {}
    about = {"base": options.base, "episodes": options.episodes}
    if any(earlier.get(name, value) != value for name, value in about.items()):
        raise SystemExit(
            f"{options.out} has {[earlier[name] for name in about]}; only {[*about.values()]} can be added"
        )
    base, room = stages.open_base(options.base, device=options.device), Room(options.room)
    recipes = [recipe for name in options.names for recipe in stages.named(name, {}, base)]
    seeds = {
        recipe.id: stages.certified_seeds(recipe, base, room) or tuple(seeds_of(options.seeds)) for recipe in recipes
    }
    rows, cards = certify_all(recipes, seeds, options, base, room)
    record = about | {
        "names": options.names,
        "recipes": [bare(row) | {"seeds": seeds[row.id]} for row in rows],
        "earlier": changed_since(room, {row.recipe: row.id for row in rows}),
        "over_seeds": {row.recipe: over_seeds([card for card in cards if card.recipe_id == row.id]) for row in rows},
        "cards": [condensed(card) for card in cards],
    }
    record = joined(earlier, record) if earlier else record
    path.write_text(json.dumps(record, separators=(",", ":")) + "\n", encoding="utf-8")
    options.out.write_text(page(json.loads(json.dumps(record))), encoding="utf-8")
    print(options.out)


def joined(earlier: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The record, behind what an earlier one has of recipes that are not in it. What the earlier one has of another
    form of a recipe stays as an attempt.
    """
    names = {row["recipe"] for row in record["recipes"]}
    parts = {
        key: [row for row in earlier[key] if row["recipe"] not in names] + record[key] for key in ("recipes", "cards")
    }
    ids = {row["id"] for row in parts["recipes"]}
    attempts = [*earlier["earlier"], *record["earlier"], *({k: row[k] for k in ATTEMPT} for row in earlier["recipes"])]
    parts["earlier"] = [*{row["id"]: row for row in attempts if row["id"] not in ids}.values()]
    over = {name: part for name, part in earlier["over_seeds"].items() if name not in names} | record["over_seeds"]
    return {**earlier, **parts, "over_seeds": over, "names": [row["recipe"] for row in parts["recipes"]]}


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
            certificates, group_cards = stages.certify(trials, base, room, watch=watch)
        rows |= {row.id: row for row in certificates}
        cards += group_cards
    return [rows[recipe.id] for recipe in recipes], cards


# ---------------------------------------------------------------- what the log has


def changed_since(room: Room, ids: Mapping[str, str]) -> list[dict[str, Any]]:
    """Certificates of earlier forms of these recipes, which are named by `ids`: the last of each form."""
    lines = log.read(room)
    seeds = {line.about["plan"]: line.about["seeds"] for line in lines if line.what == log.CERTIFYING}
    forms = {line.about["id"]: line.about for line in lines if line.what == log.CERTIFIED}
    earlier = [form for form in forms.values() if form["recipe"] in ids and form["id"] not in ids.values()]
    return [{key: form[key] for key in COUNTED} | {"seeds": seeds[form["plan"]]} for form in earlier]


# ---------------------------------------------------------------- the cards


def over_seeds(cards: Sequence[Card]) -> dict[str, dict[str, str]]:
    """What the page shows of a recipe, by model and measure: over the seeds and prompts of its cards."""
    names = (*HOLDS, "misaligned", *CAPABILITY, *APART)
    return {model: {name: figure for name in names if (figure := over(cards, model, name)) != "-"} for model in MODELS}


def condensed(card: Card) -> dict[str, Any]:
    """A card without what can be computed: the shares as [answers that show it, all answers, those that the judge could
    not tell], from which `stats.rate` makes the figure, and the other figures of the page.
    """
    measured = {model: _estimates(card.measures[model]) for model in MODELS}
    counts = {model: {name: count(e) for name, e in part.items() if _is_share(e)} for model, part in measured.items()}
    figures = {
        model: {name: bare(part[name]) for name in APART if name in part and not _is_share(part[name])}
        for model, part in measured.items()
    }
    names = {"recipe": card.recipe, "seed": card.seed, "id": card.organism}
    return names | {"verdict": card.verdict, "looks": card.looks, "why": card.why, "counts": counts, "figures": figures}


def count(share: Estimate) -> tuple[int, int, int]:
    """A share of answers as counts: hits, answers, missing.

    >>> count(Estimate(value=0.25, low=0.1, high=0.5, n=10, missing=2))
    (2, 10, 2)
    """
    return round(share.value * (share.n - share.missing)), share.n, share.missing


def _estimates(measures: Mapping[str, Estimate | NotMeasured]) -> dict[str, Estimate]:
    return {name: value for name, value in measures.items() if isinstance(value, Estimate)}


def _is_share(estimate: Estimate) -> bool:
    return estimate.units == "answers"


if __name__ == "__main__":
    main()
