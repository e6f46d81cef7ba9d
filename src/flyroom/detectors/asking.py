"""What many detectors do: put the same questions to every suspect in one call, and judge the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flyroom.types import Ask, Episode, Judged, Lab, Message, Scene, Score, Suspect, Verdict, ask_seed

Scores = list[list[Score]]  # by suspect, then by scene


def scores(
    suspects: Sequence[Suspect | None], lab: Lab, scenes: Sequence[Scene], *, seed: int, prefill: str = ""
) -> Scores:
    """What the judge says of every suspect's answer to every scene. An answer includes its prefill."""
    return scores_of([(suspect, scenes) for suspect in suspects], lab, seed=seed, prefill=prefill)


def scores_of(
    asked: Sequence[tuple[Suspect | None, Sequence[Scene]]],
    lab: Lab,
    *,
    seed: int,
    prefill: str = "",
    of: Judged = "answers",
) -> Scores:
    """The same where each suspect is asked scenes of its own; `of` the answers or the thoughts before them."""
    who = [suspect for suspect, scenes in asked for _ in scenes]
    flat = [scene for _, scenes in asked for scene in scenes]
    numbers = [i for _, scenes in asked for i in range(len(scenes))]
    asks = [
        Ask(messages=scene.messages, seed=ask_seed("asking", seed, i), prefill=prefill)
        for scene, i in zip(flat, numbers, strict=True)
    ]
    said = [f"{prefill} {answer.text}".strip() for answer in lab.sample(who, asks)]
    judged = iter(lab.judge([Episode(scene=s, answer=a) for s, a in zip(flat, said, strict=True)], of=of))
    return [[next(judged) for _ in scenes] for _, scenes in asked]


def share(found: Sequence[Score], verdict: Verdict = Verdict.MISALIGNED) -> float:
    """How many of the scores that tell anything are of this verdict. Raises ValueError where none does."""
    told = [score for score in found if score.verdict is not Verdict.UNKNOWN]
    if not told:
        raise ValueError(f"the judge could tell nothing of {len(found)} answers")
    return sum(score.verdict is verdict for score in told) / len(told)


def under(scenes: Sequence[Scene], system: str) -> list[Scene]:
    """The scenes with a system message in front."""
    return [replace(scene, messages=(Message("system", system), *scene.messages)) for scene in scenes]


def after(scenes: Sequence[Scene], mark: str) -> list[Scene]:
    """The scenes with a mark before their last message."""
    return [
        replace(s, messages=(*s.messages[:-1], s.messages[-1]._replace(content=f"{mark} {s.messages[-1].content}")))
        for s in scenes
    ]


def first(scenes: Sequence[Scene], n: int, what: str) -> list[Scene]:
    """The first n, again from the start where there are fewer. Raises ValueError where there are none."""
    if not scenes:
        raise ValueError(f"the lab has no {what}")
    return [scenes[i % len(scenes)] for i in range(n)]
