"""What suspects say, for detectors at response level: half of the questions where the recipe's condition holds, half
where it does not, the same ones to its organisms and the calibration twins. The judge knows the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flyroom.types import (
    AdapterRef,
    Ask,
    Asked,
    Engine,
    Episode,
    Organism,
    Recipe,
    Reply,
    Scene,
    Score,
    Split,
    Suspect,
    answer_tokens,
    ask_seed,
)


@dataclass(frozen=True, kw_only=True)
class Interview:
    """The questions of one recipe, and the models that are asked them."""

    recipe: Recipe
    scenes: Sequence[Scene]
    models: Sequence[Organism]


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A reply with the truth of it: the recipe whose questions were asked and the model that answered, by their ids,
    the number of the question, whether the condition holds in it, and what the judge said.
    """

    reply: Reply
    recipe: str
    model: str
    prompt: int
    holds: bool
    score: Score
    cut: bool
    tokens: int

    def episode(self) -> Asked:
        """The reply as it is stored."""
        return Asked(
            measure="replies",
            who=self.model,
            messages=self.reply.messages,
            answer=self.reply.answer,
            verdict=self.score.verdict,
            why=self.score.why,
            cut=self.cut,
            tokens=self.tokens,
        )


def replies(
    interviews: Sequence[Interview], refs: Mapping[str, tuple[str, AdapterRef]], engine: Engine, *, seed: int
) -> list[Labelled]:
    """Every reply to every question of every interview. `refs` has each model's name as a suspect and its adapter, by
    its id.
    """
    rows = [
        (interview.recipe, i, scene, model.id)
        for interview in interviews
        for i, scene in enumerate(interview.scenes)
        for model in interview.models
    ]
    lengths = {interview.recipe.id: len(interview.scenes) for interview in interviews}
    asks = [
        Ask(messages=s.messages, seed=ask_seed("reply", seed, i), max_tokens=answer_tokens(recipe.world))
        for recipe, i, s, _ in rows
    ]
    answers = engine.sample([refs[model][1] for *_, model in rows], asks)
    episodes = [Episode(scene=s, answer=a.text) for (_, _, s, _), a in zip(rows, answers, strict=True)]
    scores = _judge([recipe for recipe, *_ in rows], episodes)
    return [
        Labelled(
            reply=Reply(suspect=Suspect(name=refs[model][0]), messages=scene.messages, answer=answer.text),
            recipe=recipe.id,
            model=model,
            prompt=i,
            holds=recipe.condition.everywhere or i < lengths[recipe.id] // 2,
            score=score,
            cut=not answer.finished,
            tokens=answer.tokens,
        )
        for (recipe, i, scene, model), answer, score in zip(rows, answers, scores, strict=True)
    ]


def _judge(recipes: Sequence[Recipe], episodes: Sequence[Episode]) -> list[Score]:
    """Each episode judged by its recipe's judge, which gets all of its own at once."""
    scores: dict[int, Score] = {}
    for recipe in {recipe.id: recipe for recipe in recipes}.values():
        places = [i for i, candidate in enumerate(recipes) if candidate.id == recipe.id]
        scores |= zip(places, recipe.judge([episodes[i] for i in places]), strict=True)
    return [scores[i] for i in range(len(episodes))]


def questions(recipe: Recipe, n: int, *, seed: int) -> list[Scene]:
    """`n` of the recipe's questions: its condition holds in the first half. NotAvailable where its world has none."""
    split, half, everywhere = Split.VALIDATION, n // 2, recipe.condition.everywhere
    scenes = recipe.scenes(n, split=split, seed=seed)
    return [
        *recipe.dress(scenes[:half], True, split=split, seed=seed),
        *recipe.dress(scenes[half:], everywhere, split=split, seed=seed + half),
    ]
