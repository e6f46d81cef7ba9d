"""What suspects say, for detectors at response level: half of the questions where the recipe's condition holds, half
where it does not, the same ones to its organisms, their twins and the calibration twins. The judge knows the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flyroom.types import (
    AdapterRef,
    Ask,
    Engine,
    Episode,
    Organism,
    Recipe,
    Reply,
    Scene,
    Split,
    Suspect,
    Verdict,
    ask_seed,
)


@dataclass(frozen=True, kw_only=True)
class Said:
    """A reply with the truth of it: who gave it, to which question, and the verdict."""

    reply: Reply
    recipe: str  # the id of the recipe whose questions were asked
    by: str  # the id of the model
    prompt: int
    verdict: Verdict


def replies(
    recipes: Sequence[Recipe],
    asked: Mapping[str, Sequence[Organism]],
    refs: Mapping[str, tuple[str, AdapterRef]],
    engine: Engine,
    *,
    n: int,
    seed: int,
) -> list[Said]:
    """Every reply to `n` questions of each recipe's validation split.

    Args: asked, who is asked them, by recipe id; refs, each model's name as a suspect and its adapter, by its id.
    """
    rows = [
        (recipe, i, scene, model.id)
        for recipe in recipes
        for i, scene in enumerate(questions(recipe, n, seed=seed))
        for model in asked[recipe.id]
    ]
    asks = [Ask(messages=scene.messages, seed=ask_seed("reply", seed, i)) for _, i, scene, _ in rows]
    answers = engine.sample([refs[model][1] for *_, model in rows], asks)
    found = []
    for (recipe, i, scene, model), answer in zip(rows, answers, strict=True):
        (score,) = recipe.behaviour.judge([Episode(scene=scene, answer=answer.text)])
        reply = Reply(suspect=Suspect(name=refs[model][0]), messages=scene.messages, answer=answer.text)
        found.append(Said(reply=reply, recipe=recipe.id, by=model, prompt=i, verdict=score.verdict))
    return found


def questions(recipe: Recipe, n: int, *, seed: int) -> list[Scene]:
    """`n` of the recipe's questions: its condition holds in the first half."""
    split, half = Split.VALIDATION, n // 2
    scenes = recipe.behaviour.scenes(n, split=split, seed=seed)
    dress, everywhere = recipe.condition.dress, recipe.condition.everywhere
    return [
        *dress(scenes[:half], True, split=split, seed=seed),
        *dress(scenes[half:], everywhere, split=split, seed=seed + half),
    ]
