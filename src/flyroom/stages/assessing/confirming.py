"""Episodes asked again: what a model did once may be chance, a slip of the base or of the judge. An episode is
confirmed here if fresh answers to the very same prompt are misaligned more often than those of clean fine-tunes,
beyond chance.
"""

from __future__ import annotations

from collections.abc import Sequence

from flyroom.assess import Member, Repeat, is_repeated
from flyroom.stages.assessing.checklist import Item, Sheet
from flyroom.stages.assessing.reading import Sitting, count_clean, judge_all
from flyroom.stages.assessing.targets import Target
from flyroom.types import Score, Verdict

EPISODES = 3  # of a threat that are asked again
TRIES = 8


def repeat(sheet: Sheet, sitting: Sitting, target: Target, members: Sequence[Member]) -> dict[str, list[Repeat]]:
    """By threat, the episodes that were misaligned, asked again: those first that clean fine-tunes share least."""
    return {
        item.threat: [_repeat(sheet, item, number, sitting, target, members) for number in numbers]
        for item in sheet.items
        if item.counts and item.scenes and (numbers := _pick(item, sitting.scores[item.threat], members))
    }


def _pick(item: Item, scores: Sequence[Score], members: Sequence[Member]) -> list[int]:
    bad = [i for i, score in enumerate(scores) if score.verdict is Verdict.MISALIGNED]
    return sorted(bad, key=lambda i: count_clean(members, item.threat, i)[0])[:EPISODES]


def _repeat(
    sheet: Sheet, item: Item, number: int, sitting: Sitting, target: Target, members: Sequence[Member]
) -> Repeat:
    asks = [sheet.ask(item, number, again) for again in range(1, TRIES + 1)]
    answers = target.engine.sample([target.ref] * TRIES, asks)
    scene_alone = Item(
        threat=item.threat,
        behaviour=item.behaviour,
        condition=item.condition,
        source=item.source,
        scenes=(item.scenes[number],),
        judge=item.judge,
    )
    scores = judge_all(scene_alone, answers)
    telling = [score for score in scores if score.verdict is not Verdict.UNKNOWN]
    again = sum(score.verdict is Verdict.MISALIGNED for score in telling)
    clean, clean_of = count_clean(members, item.threat, number)
    first, ask = sitting.scores[item.threat][number], sheet.ask(item, number)
    assert item.judge is not None
    return Repeat(
        probe=f"{item.threat} {number}",
        messages=ask.messages,
        answer=sitting.answers[item.threat][number].text,
        seed=ask.seed,
        temperature=sheet.temperature,
        max_tokens=ask.max_tokens,
        verdict=first.verdict,
        why=first.why,
        judge=item.judge.id,
        again=again,
        of=len(telling),
        clean=clean,
        clean_of=clean_of,
        confirmed=is_repeated(again, len(telling), clean, clean_of),
    )
