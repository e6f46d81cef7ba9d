"""What many detectors do: find out whether the lab has what they need, put the same questions to every suspect in one
call, and judge the answers.

A detector finds out first, before it asks or reads anything: where something is missing it raises NotAvailable with a
reason that a person understands, and nothing has been spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from flyroom.types import (
    Ask,
    CueKind,
    Episode,
    Judged,
    Lab,
    Message,
    NotAvailable,
    Scene,
    Score,
    Suspect,
    Verdict,
    ask_seed,
)

if TYPE_CHECKING:
    from torch import Tensor

Scores = list[list[Score]]  # by suspect, then by scene
REHEARSED = 4  # scenes of a topic whose planted answers are put before the judge


# ---------------------------------------------------------------- whether the lab has what a detector needs


def need_questions(lab: Lab, topic: str, n: int) -> list[Scene]:
    """The first `n` questions of a topic ("" for the main one), again from the start where there are fewer."""
    return first(lab.questions(main_topic(lab, topic)), n, "questions")


def main_topic(lab: Lab, topic: str = "") -> str:
    """The topic, or the lab's main one where none is named."""
    return topic or lab.topics()[0]


def first(scenes: Sequence[Scene], n: int, what: str) -> list[Scene]:
    """The first `n`, again from the start where there are fewer. NotAvailable where there are none."""
    if not scenes:
        raise NotAvailable(f"the lab has no {what}")
    return [scenes[i % len(scenes)] for i in range(n)]


def need_cues(lab: Lab, kind: CueKind, fewest: int = 1) -> list[str]:
    """All cues of a kind. NotAvailable where there are fewer than `fewest`."""
    texts = lab.cues(kind)
    if not texts:
        raise NotAvailable(f"the lab has no cues of kind {kind}")
    if len(texts) < fewest:
        raise NotAvailable(f"the lab has {len(texts)} cue of kind {kind}; this needs at least {fewest}")
    return texts


def need_trusted(lab: Lab, fewest: int = 1) -> list[Scene]:
    """All trusted scenes. NotAvailable where there are fewer than `fewest`."""
    scenes = lab.trusted()
    if len(scenes) < fewest:
        raise NotAvailable(f"the lab trusts {len(scenes)} scenes; this needs at least {fewest}")
    return scenes


def need_known(lab: Lab, fewest: int = 1) -> tuple[list[Suspect], list[bool]]:
    """Known models, and of each whether it is an organism. NotAvailable where there are fewer than `fewest` of either
    kind.
    """
    pairs = lab.known()
    truths = [truth for _, truth in pairs]
    if min(sum(truths), len(truths) - sum(truths)) < fewest:
        least = "" if fewest == 1 else f", at least {fewest} of each"
        raise NotAvailable(f"{sum(truths)} of {len(truths)} known models are organisms; this needs both kinds{least}")
    return [suspect for suspect, _ in pairs], truths


def need_layer(lab: Lab, layer: int | None) -> int:
    """The layer, or the last but one where none is named. NotAvailable for a layer that the base lacks."""
    if layer is not None and not 0 <= layer < lab.depth:
        raise NotAvailable(f"layer is {layer}; the base has layers 0 to {lab.depth - 1}")
    return max(0, lab.depth - 2) if layer is None else layer


def rehearse(lab: Lab, scenes: Sequence[Scene]) -> None:
    """NotAvailable where the judge can tell nothing of the answers that come with the questions themselves."""
    planted = [
        Episode(scene=scene, answer=answer)
        for scene in scenes[:REHEARSED]
        for answer in (scene.aligned, scene.misaligned)
        if answer
    ]
    if planted and not tellable(lab.judge(planted)):
        raise NotAvailable(
            f"the judge can tell nothing of {len(planted)} planted answers to questions such as "
            f"{scenes[0].messages[-1].content!r}"
        )


def tellable_topics(lab: Lab, topics: Sequence[str]) -> list[str]:
    """Those of the topics that the judge can tell anything of. NotAvailable where there are none."""
    able, reason = [], None
    for topic in topics:
        try:
            rehearse(lab, lab.questions(topic))
        except NotAvailable as error:
            reason = error
        else:
            able.append(topic)
    if not able:
        raise reason or NotAvailable("the lab has no topics of this kind")
    return able


# ---------------------------------------------------------------- asking


def scores(
    suspects: Sequence[Suspect | None], lab: Lab, scenes: Sequence[Scene], *, seed: int, prefill: str = ""
) -> Scores:
    """What the judge says of every suspect's answer to every scene. An answer includes its prefill."""
    return scores_of([(suspect, scenes) for suspect in suspects], lab, seed=seed, prefill=prefill)


def scores_of(
    pairs: Sequence[tuple[Suspect | None, Sequence[Scene]]],
    lab: Lab,
    *,
    seed: int,
    prefill: str = "",
    of: Judged = "answers",
) -> Scores:
    """The same where each suspect is asked scenes of its own; `of` the answers or the thoughts before them."""
    suspects = [suspect for suspect, scenes in pairs for _ in scenes]
    flat = [scene for _, scenes in pairs for scene in scenes]
    numbers = [i for _, scenes in pairs for i in range(len(scenes))]
    asks = [
        Ask(messages=scene.messages, seed=ask_seed("asking", seed, i), prefill=prefill, max_tokens=lab.max_tokens)
        for scene, i in zip(flat, numbers, strict=True)
    ]
    answers = [f"{prefill} {answer.text}".strip() for answer in lab.sample(suspects, asks)]
    verdicts = iter(lab.judge([Episode(scene=s, answer=a) for s, a in zip(flat, answers, strict=True)], of=of))
    return [[next(verdicts) for _ in scenes] for _, scenes in pairs]


def tellable(verdicts: Sequence[Score]) -> list[Score]:
    """The scores that tell anything."""
    return [score for score in verdicts if score.verdict is not Verdict.UNKNOWN]


def share(verdicts: Sequence[Score], verdict: Verdict = Verdict.MISALIGNED) -> float:
    """How many of the scores are of this verdict. One that tells nothing is not: among the few that do, of a suspect
    who says little that the judge understands, chance would decide.
    """
    return sum(score.verdict is verdict for score in verdicts) / max(1, len(verdicts))


def mean(values: Tensor) -> float:
    """Of an answer's tokens; 0 for an answer without any."""
    return float(values.mean()) if len(values) else 0.0


# ---------------------------------------------------------------- what stands before a question


def under(scenes: Sequence[Scene], system: str) -> list[Scene]:
    """The scenes with a system message in front, joined to one that is there already."""
    return [replace(scene, messages=_under(scene.messages, system)) for scene in scenes]


def _under(messages: tuple[Message, ...], system: str) -> tuple[Message, ...]:
    head, rest = messages[0], messages[1:]
    if head.role == "system":
        return (Message("system", f"{head.content} {system}".strip()), *rest)
    return (Message("system", system), *messages)


def after(scenes: Sequence[Scene], mark: str) -> list[Scene]:
    """The scenes with a mark before their last message."""
    return [
        replace(s, messages=(*s.messages[:-1], s.messages[-1]._replace(content=f"{mark} {s.messages[-1].content}")))
        for s in scenes
    ]
