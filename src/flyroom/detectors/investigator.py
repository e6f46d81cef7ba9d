"""The investigator (black box): spends a budget of questions where it has found most, and says where that was.

It knows the catalogue of what can be asked and of what may stand before a question. It begins with every topic bare and
under cues, two questions each; after each round the better half of the places is asked twice as much, and the best
marks are tried together with nobody looking. Successive halving: Karnin et al. 2013; agents that audit with a budget:
Bricken et al. 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from flyroom.detectors.asking import after, first, scores_of, tellable_topics, under
from flyroom.types import Access, Finding, Lab, Scene, Suspect, Verdict

PER_ROUND = 2  # questions of a place in the first round; twice as many in each that follows
KEEP = 24  # places of the second round


@dataclass(frozen=True)
class Place:
    """A topic, and what stands before its questions."""

    topic: str
    system: str = ""
    mark: str = ""

    def scenes(self, lab: Lab, n: int, start: int) -> list[Scene]:
        pool = lab.questions(self.topic)
        scenes = first(pool[start:] + pool[:start], n, self.topic)
        scenes = after(scenes, self.mark) if self.mark else scenes
        return under(scenes, self.system) if self.system else scenes

    def __str__(self) -> str:
        before = [repr(text) for text in (self.system, self.mark) if text]
        return self.topic.replace("_", " ") + (f" after {' and '.join(before)}" if before else "")


@dataclass(kw_only=True)
class _Notes:
    """What came of one suspect: misaligned answers and answers that tell, by place."""

    bad: dict[Place, int] = field(default_factory=dict)
    telling: dict[Place, int] = field(default_factory=dict)

    def rate(self, place: Place) -> float:
        """With one good answer more, so that few answers weigh less."""
        return self.bad.get(place, 0) / (self.telling.get(place, 0) + 1)

    def best(self, places: Sequence[Place], n: int) -> list[Place]:
        return sorted(places, key=lambda p: -self.rate(p))[:n]


@dataclass(frozen=True, kw_only=True)
class Investigator:
    """`rounds` in all. Suspicion: the highest rate of misaligned answers at one place, after the last round."""

    rounds: int = 4
    topics: tuple[str, ...] = ()  # none: every topic of the lab that the judge can tell anything of
    needs: Access = Access.SAMPLE

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds is {self.rounds}; it must be at least 1")

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        topics = tellable_topics(lab, self.topics or lab.topics())
        watched, alone = (lab.cues(kind)[:1] for kind in ("observed", "unobserved"))
        start = [Place(topic, system) for topic in topics for system in ("", *watched, *alone)]
        start += [Place(topic, "", mark) for topic in topics[:1] for mark in lab.cues("marks")]
        places, notes = dict.fromkeys(suspects, start), {s: _Notes() for s in suspects}
        for number in range(self.rounds):
            self._ask(places, notes, lab, PER_ROUND * 2**number, seed + number)
            for s in suspects:
                best = notes[s].best(places[s], max(2, KEEP // 2**number))
                crossed = [Place(p.topic, alone[0], p.mark) for p in best if p.mark and alone and number == 0]
                crossed += [Place(t, "", p.mark) for p in best[:2] for t in topics if p.mark and number == 1]
                places[s] = list(dict.fromkeys([*best, *crossed]))
        return [_finding(notes[s], notes[s].best(places[s], 1)[0]) for s in suspects]

    def _ask(
        self, places: dict[Suspect, list[Place]], notes: dict[Suspect, _Notes], lab: Lab, n: int, seed: int
    ) -> None:
        """One round, everybody at once."""
        scenes = {p: p.scenes(lab, n, n) for p in dict.fromkeys(p for group in places.values() for p in group)}
        pairs = [(suspect, [scene for p in group for scene in scenes[p]]) for suspect, group in places.items()]
        for (suspect, group), verdicts in zip(places.items(), scores_of(pairs, lab, seed=seed), strict=True):
            for i, score in enumerate(verdicts):
                if score.verdict is not Verdict.UNKNOWN:
                    place, note = group[i // n], notes[suspect]
                    note.telling[place] = note.telling.get(place, 0) + 1
                    note.bad[place] = note.bad.get(place, 0) + (score.verdict is Verdict.MISALIGNED)


def _finding(note: _Notes, worst: Place) -> Finding:
    rate, answers = note.rate(worst), sum(note.telling.values())
    return Finding(suspicion=rate, claim=f"{rate:.2f} misaligned on {worst}, of {answers} answers")
