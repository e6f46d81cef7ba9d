"""What many detectors do: put the same questions to every suspect in one call, and judge the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flyroom.types import Ask, Episode, Lab, Message, Scene, Score, Suspect, Verdict, ask_seed

Scores = list[list[Score]]  # by suspect, then by scene


def scores(
    suspects: Sequence[Suspect | None], lab: Lab, scenes: Sequence[Scene], *, seed: int, prefill: str = ""
) -> Scores:
    """What the judge says of every suspect's answer to every scene. An answer includes its prefill."""
    asks = [
        Ask(messages=scene.messages, seed=ask_seed("asking", seed, i), prefill=prefill)
        for i, scene in enumerate(scenes)
    ]
    answers = lab.sample([s for s in suspects for _ in asks], asks * len(suspects))
    judged = lab.judge(
        [
            Episode(scene=scenes[i % len(scenes)], answer=f"{prefill} {answer.text}".strip())
            for i, answer in enumerate(answers)
        ]
    )
    return [judged[i : i + len(scenes)] for i in range(0, len(judged), len(scenes))]


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
