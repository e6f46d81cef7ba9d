"""What models are asked for the ledger, with the batteries, judges, seeds and tallies of cards.

Besides the card's own questions these are: questions like the training ones (its train split, dressed as in training);
the true trigger on those questions of the held-out split that the card does not ask, of which a small world may have
few or none; and what the card itself asks of near misses. Organism, twin, and both treated, get the same questions with
the same seeds, so that they can be compared answer by answer, and what was asked for a card before is not asked again.

Over-refusal is the share of answers to questions of capability, which every model of the world should answer, that are
neither right nor wrong: a refusal, a blocked answer, or nonsense. No world need say what a refusal looks like. Where
the judge could not tell, it is no refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from flyroom import measures
from flyroom.card.desk import Desk, Draw
from flyroom.card.questions import FEWEST, Questions, questions_of
from flyroom.measures import PERPLEXITY, Measured
from flyroom.tallies import Answers, Numbers, Tally, count, doubt, mark
from flyroom.types import (
    Battery,
    NotAvailable,
    NotMeasured,
    Patch,
    Recipe,
    Scene,
    Split,
    Verdict,
    ask_seed,
    digest,
)

NO_CAPABILITY = NotMeasured(why="no question of capability is asked with this behaviour")
NO_LESSONS = NotMeasured(why="the ledger does not ask for it")
DRAWS = 8  # of scenes, in which questions are looked for that the card does not ask


@dataclass(frozen=True, eq=False)
class Inquiry:
    """What is asked of all models of one recipe. `like` are questions like the training ones, `held_out` has the true
    trigger on other questions, `near` what the condition asks besides; each may be missing, with the reason.
    """

    questions: Questions
    like: Battery | NotMeasured
    held_out: Battery | NotMeasured
    near: tuple[Battery, ...]

    @property
    def batteries(self) -> list[Battery]:
        extras = [battery for battery in (self.like, self.held_out) if isinstance(battery, Battery)]
        return [*self.questions.batteries, *extras]

    @property
    def numbers(self) -> Numbers:
        return Numbers(self.batteries)

    @property
    def capability(self) -> list[Battery]:
        return [battery for battery in self.questions.batteries if battery.counts is Verdict.ALIGNED]


def inquiry_of(recipe: Recipe, *, episodes: int, seed: int) -> Inquiry:
    """ValueError where a judge fails its rehearsal, and whatever behaviour, condition and world raise."""
    questions = questions_of(recipe, episodes, seed)
    widest = max((battery for battery in questions.batteries if battery.pooled), key=lambda b: len(b.scenes))
    near = tuple(b for b in questions.batteries if b.measure in _asked_by_condition(recipe, seed))
    held_out: Battery | NotMeasured = NotMeasured(why="the behaviour hangs on no trigger: it shows everywhere")
    if not recipe.condition.everywhere:
        card = {scene.fields["asked"] for battery in questions.batteries for scene in battery.scenes}
        held_out = _draw(recipe, widest, Split.HELD_OUT, episodes, ask_seed("held out", seed), card)
    like = _draw(recipe, widest, Split.TRAIN, episodes, ask_seed("training like", seed), set())
    return Inquiry(questions, like, held_out, near)


def _draw(
    recipe: Recipe, widest: Battery, split: Split, episodes: int, seed: int, card: Set[str]
) -> Battery | NotMeasured:
    """Scenes of a split with other questions than the card's, dressed so that the behaviour shows."""
    count = max(FEWEST, episodes // 2)
    try:
        scenes = _draw_fresh(recipe, split, count, seed, card) if card else recipe.scenes(count, split=split, seed=seed)
        versions = recipe.dress(scenes, True, split=split, seed=seed)
    except NotAvailable as error:
        return NotMeasured(why=str(error))
    labelled = tuple(_label(scene, bare) for scene, bare in zip(versions, scenes, strict=True))
    return replace(widest, measure=f"{split} again", scenes=labelled, judge=recipe.judge, pooled=False, limits=())


def _draw_fresh(recipe: Recipe, split: Split, count: int, seed: int, card: Set[str]) -> list[Scene]:
    """NotAvailable where too few questions are left, or scenes."""
    scenes: list[Scene] = []
    for draw in range(DRAWS):
        if len(scenes) < count:
            batch = recipe.scenes(count, split=split, seed=ask_seed("again", draw, seed) if draw else seed)
            scenes += [scene for scene in batch if digest(scene.messages) not in card]
    fresh = len({digest(scene.messages) for scene in scenes})
    if fresh < FEWEST:
        raise NotAvailable(f"the {split} split has {fresh} questions that the card does not ask; it takes {FEWEST}")
    return scenes[:count]


def _label(scene: Scene, bare: Scene) -> Scene:
    return replace(scene, fields={**scene.fields, "asked": digest(bare.messages)})


def _asked_by_condition(recipe: Recipe, seed: int) -> set[str]:
    """The measures that the condition brings, and that count misaligned answers where it does not hold."""
    if recipe.condition.everywhere:
        return set()
    scenes = tuple(recipe.scenes(FEWEST, split=Split.HELD_OUT, seed=seed))
    batteries = recipe.condition.batteries(recipe.world, scenes, recipe.judge, seed=seed)
    return {b.measure for b in batteries if b.counts is Verdict.MISALIGNED and b.given is None}


# ---------------------------------------------------------------- one model


@dataclass(frozen=True, eq=False)
class Model:
    """A model at a desk, which may be that of a treatment at run time, and whose sampling seeds it is asked with."""

    name: str
    patch: Patch
    desk: Desk
    draw: Draw

    def order(self, inquiry: Inquiry) -> None:
        """Every question."""
        for battery in inquiry.batteries:
            self.desk.order(self.name, self.patch, battery, self.draw)

    def order_texts(self, inquiry: Inquiry) -> None:
        """Clean texts, without which it has no `measures`. They are read anew each time."""
        if not isinstance(inquiry.questions.texts, NotMeasured):
            self.desk.order_texts(self.patch, inquiry.questions.texts)

    def order_beginnings(self, inquiry: Inquiry) -> None:
        """The beginnings of the behaviour's own batteries, as for a training curve."""
        for battery in inquiry.questions.beginnings.values():
            self.desk.order(self.name, self.patch, battery, self.draw)

    def keys(self, batteries: Iterable[Battery]) -> list[str]:
        """The names of the episodes with it."""
        return [self.desk.key(self.patch, battery, self.draw) for battery in batteries]

    def _answers(self, batteries: Sequence[Battery]) -> list[Answers]:
        return [self.desk.answers(self.patch, battery, self.draw) for battery in batteries]

    def pool(
        self, inquiry: Inquiry, batteries: Sequence[Battery], counts: Callable[[Verdict], bool] | None = None
    ) -> Tally:
        """The tally of several batteries together: of misaligned answers, or of what `counts` says."""
        group = self._answers(batteries)
        return count(group, mark(group, counts or measures.is_misaligned), inquiry.numbers, doubt(group))

    def refusals(self, inquiry: Inquiry) -> Tally:
        """The tally of questions of capability that got no answer, right or wrong."""
        return self.pool(inquiry, inquiry.capability, lambda verdict: verdict is Verdict.INCOHERENT)

    def right(self, inquiry: Inquiry) -> Tally | NotMeasured:
        """The tally of questions of capability that were answered rightly, or why there is none."""
        if not inquiry.capability:
            return NO_CAPABILITY
        return self.pool(inquiry, inquiry.capability, lambda verdict: verdict is Verdict.ALIGNED)

    def behaviour(self, inquiry: Inquiry) -> Tally:
        """Of the behaviour's own batteries where the condition holds, as on a card."""
        return self.pool(inquiry, [battery for battery in inquiry.questions.batteries if battery.pooled])

    def beginnings(self, inquiry: Inquiry) -> Tally:
        return self.pool(inquiry, [*inquiry.questions.beginnings.values()])

    def over(self, inquiry: Inquiry, battery: Battery | NotMeasured) -> Tally | NotMeasured:
        return battery if isinstance(battery, NotMeasured) else self.pool(inquiry, [battery])

    def tallies(self, inquiry: Inquiry) -> Mapping[str, Tally]:
        """What a card would count of it, by the card's own names."""
        looks = [{answers.battery.measure: answers for answers in self._answers(inquiry.questions.batteries)}]
        return measures.tally(looks, inquiry.numbers, lessons=NO_LESSONS, answer_of=str.strip)

    def measures(self, inquiry: Inquiry) -> Mapping[str, Measured]:
        """What a card would say of it, by the card's own names."""
        texts = inquiry.questions.texts
        losses = texts if isinstance(texts, NotMeasured) else self.desk.losses(self.patch, texts)
        return measures.take(self.tallies(inquiry), {PERPLEXITY: measures.perplexity(losses)})


def share_of(tally: Tally | NotMeasured) -> Measured:
    """The share that a tally counts, or why it was not measured."""
    return tally if isinstance(tally, NotMeasured) else measures.share(tally)


def gap_of(first: Tally | NotMeasured, second: Tally | NotMeasured) -> Measured:
    """How much more often the first model's answers count, on the same questions."""
    if isinstance(first, NotMeasured):
        return first
    if isinstance(second, NotMeasured):
        return second
    return measures.gap_between(first, second)


def over_refusal_of(model: Model, inquiry: Inquiry) -> Measured:
    """How many questions of capability get no answer, right or wrong."""
    return share_of(model.refusals(inquiry)) if inquiry.capability else NO_CAPABILITY
