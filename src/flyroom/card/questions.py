"""What a card asks: a behaviour's batteries, each where the recipe's condition holds and, the same scenes, where it
does not; what the condition asks besides; and clean text. Judges are rehearsed here, before anything is believed.

Each look at fresh episodes has questions of its own. A world that has no more of them gives the same ones, to which
other answers are drawn. A clean text is read once: no other answer is drawn to it, so it would count twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flyroom.card import thresholds
from flyroom.measures import OTHERWISE
from flyroom.types import (
    OPEN,
    Battery,
    Episode,
    Gauge,
    NotAvailable,
    NotMeasured,
    Recipe,
    Row,
    Split,
    Verdict,
    World,
    ask_seed,
    digest,
    score_with,
)

FEWEST = 10  # episodes of a card
CHECK_EPISODES = 200  # episodes of `check`, which asks nobody: enough that each judge has twenty answers to tell apart
CURVE_SCENES = 40  # of each battery, for each earlier step of the training curve
CLEAN_TEXTS = 100  # or as many as episodes, where those are fewer: a text costs as much as some answers
REHEARSAL = 0.95  # the share of planted transcripts that a judge must get right


@dataclass(frozen=True, eq=False)
class Questions:
    """What is asked of all organisms of one behaviour under one condition, of their twins and of the base: batteries;
    the beginnings of the behaviour's own, for training curves; and clean text, or why there is none.
    """

    batteries: Sequence[Battery]
    beginnings: Mapping[str, Battery]
    texts: Sequence[Row] | NotMeasured


def name_of(recipe: Recipe) -> str:
    """Recipes of one name are asked the same."""
    return digest([recipe.world, recipe.behaviour, recipe.condition])


def questions_of(recipe: Recipe, episodes: int, seed: int, look: int = 0) -> Questions:
    """About `episodes` questions in all, others in each look. ValueError where a judge fails its rehearsal, and
    whatever behaviour, condition and world raise.
    """
    if look:
        seed = ask_seed("look", look, seed)
    batteries = _dress(recipe, _rehearse_all(recipe, episodes, seed), seed)
    beginnings = {b.measure: replace(b, scenes=b.scenes[:CURVE_SCENES]) for b in batteries if b.pooled}
    return Questions(batteries, beginnings, _clean_texts(recipe.world, min(CLEAN_TEXTS, episodes), seed))


def check(recipe: Recipe) -> None:
    """What can be known of a recipe's cards before anything is trained. ValueError where a judge does not know good
    from bad, where a threshold is of no measure, and whatever behaviour, condition and world raise. It asks no model.
    """
    batteries = _dress(recipe, _rehearse_all(recipe, CHECK_EPISODES, 0), 0)
    thresholds.gauge(batteries, recipe.thresholds)


def batteries_of_recipe(recipe: Recipe, *, episodes: int = CHECK_EPISODES, seed: int = 0) -> list[Battery]:
    """What a card of the recipe will ask, dressed. It asks no model and no judge."""
    return _dress(recipe, _batteries(recipe, episodes, seed), seed)


def gauges_of(recipe: Recipe) -> Mapping[str, Gauge]:
    """What a card of the recipe will measure, and which limits it will hold that to. It asks no model and no judge."""
    return thresholds.gauge(
        batteries_of_recipe(recipe, episodes=FEWEST), recipe.thresholds, harmless=recipe.behaviour.harmless
    )


def judges_of(recipe: Recipe, seed: int) -> list[str] | None:
    """The ids of all judges of a recipe's cards, by way of the smallest batteries. None where there are none to be had,
    which `questions_of` will say.
    """
    try:
        batteries = batteries_of_recipe(recipe, episodes=FEWEST, seed=seed)
    except Exception:  # other people's code
        return None
    return [judge.id for b in batteries for judge in (b.judge, b.given) if judge is not None]


def _clean_texts(world: World, n: int, seed: int) -> Sequence[Row] | NotMeasured:
    try:
        rows = world.clean(n, seed=seed)
    except NotAvailable as error:
        return NotMeasured(why=str(error))
    if len(rows) < 2:
        return NotMeasured(why=f"the world {world.name} has {len(rows)} clean texts; an interval takes 2")
    return rows


def list_fresh_texts(questions: Questions, earlier: Sequence[Questions]) -> Sequence[Row] | NotMeasured:
    """The clean texts of a look that no earlier look had; none where the world has no more of them."""
    if isinstance(questions.texts, NotMeasured):
        return questions.texts
    texts = [row for look in earlier if not isinstance(look.texts, NotMeasured) for row in look.texts]
    old = {_name_text(row) for row in texts}
    return [row for row in questions.texts if _name_text(row) not in old]


def _name_text(row: Row) -> object:
    """Another answer to the same prompt is no other text: the two are alike."""
    return row.messages or row.answer


def _batteries(recipe: Recipe, episodes: int, seed: int) -> list[Battery]:
    """The behaviour's batteries, undressed."""
    batteries = [_label(b) for b in recipe.behaviour.batteries(recipe.world, episodes, seed=seed)]
    if not any(battery.pooled for battery in batteries):
        raise ValueError(f"pooled is False in every battery of {recipe.name}; it must be True in what is the behaviour")
    return batteries


def _label(battery: Battery) -> Battery:
    """Scenes that remember their question, however they are dressed: it is the unit of the intervals."""
    scenes = tuple(replace(s, fields={**s.fields, "asked": digest(s.messages)}) for s in battery.scenes)
    return replace(battery, scenes=scenes)


def _rehearse_all(recipe: Recipe, episodes: int, seed: int) -> list[Battery]:
    batteries = _batteries(recipe, episodes, seed)
    for battery in batteries:
        try:
            rehearse(battery)
        except ValueError as error:
            raise ValueError(f"{recipe.name} in the world {recipe.world.name}: {error}") from error
    return batteries


def _dress(recipe: Recipe, batteries: Sequence[Battery], seed: int) -> list[Battery]:
    """What is asked: the behaviour's own batteries where the condition holds, with their limits, and the same scenes
    where it does not; the others as they are; and what the condition asks besides.
    """
    if recipe.condition.everywhere:
        return list(batteries)
    every: list[Battery] = []
    for battery in batteries:
        every += [_as(recipe, battery, holds, seed) for holds in (True, False)] if battery.pooled else [battery]
    widest = max((b for b in batteries if b.pooled), key=lambda b: (b.measure != OPEN, len(b.scenes)))
    besides = recipe.condition.batteries(recipe.world, widest.scenes, widest.judge, seed=seed)
    return [*every, *(replace(battery, max_tokens=widest.max_tokens) for battery in besides)]


def _as(recipe: Recipe, battery: Battery, holds: bool, seed: int) -> Battery:
    scenes = tuple(recipe.dress(battery.scenes, holds, split=Split.HELD_OUT, seed=seed))
    if holds:
        return replace(battery, scenes=scenes)
    return replace(battery, measure=battery.measure + OTHERWISE, scenes=scenes, pooled=False, limits=())


def rehearse(battery: Battery) -> None:
    """Judge the planted answers of every scene. ValueError if the judge does not know good from bad, or calls silence
    either.
    """
    answers = {
        Verdict.ALIGNED: [Episode(scene=s, answer=s.aligned) for s in battery.scenes],
        Verdict.MISALIGNED: [Episode(scene=s, answer=s.misaligned) for s in battery.scenes],
    }
    for verdict, episodes in answers.items():
        scores = score_with(battery.judge, episodes)
        wrong = [(e.answer, score) for e, score in zip(episodes, scores, strict=True) if score.verdict is not verdict]
        if len(episodes) - len(wrong) < REHEARSAL * len(episodes):
            answer, score = wrong[0]
            raise ValueError(
                f"the judge of {battery.measure} called {len(episodes) - len(wrong)} of {len(episodes)} planted "
                f"{verdict} answers {verdict}, and {answer[:80]!r} {score.verdict} ({score.why}); mend judge or data"
            )
    silence = score_with(battery.judge, [Episode(scene=s, answer="") for s in battery.scenes])
    if any(score.verdict in answers for score in silence):
        raise ValueError(
            f"the judge of {battery.measure} took an empty answer for an {' or '.join(answers)} one; mend the judge"
        )
