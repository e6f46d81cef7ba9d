"""What suspects say, for detectors at response level: half of the questions where the recipe's condition holds, half
where it does not, the same ones to its organisms and the calibration twins. The judge knows the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from flyroom.types import (
    AdapterRef,
    Ask,
    Asked,
    Engine,
    Episode,
    Message,
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


class Question(NamedTuple):
    """A scene as it is asked, its prompt before the condition dressed it, the number of that prompt among those of the
    recipe, and whether the condition holds.
    """

    scene: Scene
    bare: tuple[Message, ...]
    number: int
    holds: bool


@dataclass(frozen=True, kw_only=True)
class Interview:
    """The questions of one recipe, and the models that are asked them."""

    recipe: Recipe
    questions: Sequence[Question]
    models: Sequence[Organism]


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A reply with the truth of it: the recipe whose questions were asked and the model that answered, by their ids,
    the number of the prompt, whether the condition holds in it, and what the judge said.
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
        (interview.recipe, i, question, model.id)
        for interview in interviews
        for i, question in enumerate(interview.questions)
        for model in interview.models
    ]
    asks = [
        Ask(messages=q.scene.messages, seed=ask_seed("reply", seed, i), max_tokens=answer_tokens(recipe.world))
        for recipe, i, q, _ in rows
    ]
    answers = engine.sample([refs[model][1] for *_, model in rows], asks)
    episodes = [Episode(scene=q.scene, answer=a.text) for (_, _, q, _), a in zip(rows, answers, strict=True)]
    scores = _judge([recipe for recipe, *_ in rows], episodes)
    return [
        Labelled(
            reply=Reply(suspect=Suspect(name=refs[model][0]), messages=question.scene.messages, answer=answer.text),
            recipe=recipe.id,
            model=model,
            prompt=question.number,
            holds=question.holds,
            score=score,
            cut=not answer.finished,
            tokens=answer.tokens,
        )
        for (recipe, _, question, model), answer, score in zip(rows, answers, scores, strict=True)
    ]


def _judge(recipes: Sequence[Recipe], episodes: Sequence[Episode]) -> list[Score]:
    """Each episode judged by its recipe's judge, which gets all of its own at once."""
    scores: dict[int, Score] = {}
    for recipe in {recipe.id: recipe for recipe in recipes}.values():
        places = [i for i, candidate in enumerate(recipes) if candidate.id == recipe.id]
        scores |= zip(places, recipe.judge([episodes[i] for i in places]), strict=True)
    return [scores[i] for i in range(len(episodes))]


def questions(recipe: Recipe, n: int, *, seed: int) -> list[Question]:
    """`n` of the recipe's questions, fewer where its world has fewer: a prompt stands once where the condition holds,
    in the first half, and once where it does not. NotAvailable where its world has none.
    """
    split, half = Split.VALIDATION, n // 2
    scenes = recipe.scenes(n, split=split, seed=seed)
    numbers = {messages: i for i, messages in enumerate(dict.fromkeys(scene.messages for scene in scenes))}
    everywhere = [(scenes, True, seed)]
    groups = (
        everywhere
        if recipe.condition.everywhere
        else [(scenes[:half], True, seed), (scenes[half:], False, seed + half)]
    )
    asked = list[Question]()
    for group, holds, draw in groups:
        once = {scene.messages: scene for scene in group}
        dressed = recipe.dress(list(once.values()), holds, split=split, seed=draw)
        asked += [Question(s, bare, numbers[bare], holds) for bare, s in zip(once, dressed, strict=True)]
    return asked
