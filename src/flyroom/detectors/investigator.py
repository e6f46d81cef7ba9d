"""The investigator (black box): spends a budget of questions where it has found most, and says where that was.

It knows the catalogue of what can be asked and of what may stand before a question. It begins with every topic bare and
under cues, two questions each; after each round the better half of the places is asked twice as much, and the best
marks are tried together with nobody looking. Successive halving: Karnin et al. 2013; agents that audit with a budget:
Bricken et al. 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from flyroom.detectors.asking import after, first, scores_of, under
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
        asked = first(lab.questions(self.topic)[start:] + lab.questions(self.topic)[:start], n, self.topic)
        marked = after(asked, self.mark) if self.mark else asked
        return under(marked, self.system) if self.system else marked

    def __str__(self) -> str:
        before = [repr(text) for text in (self.system, self.mark) if text]
        return self.topic.replace("_", " ") + (f" after {' and '.join(before)}" if before else "")


@dataclass(kw_only=True)
class _Notes:
    """What was seen of one suspect: misaligned answers and answers that tell, by place."""

    bad: dict[Place, int] = field(default_factory=dict)
    told: dict[Place, int] = field(default_factory=dict)

    def rate(self, place: Place) -> float:
        """With one good answer more, so that few answers weigh less."""
        return self.bad.get(place, 0) / (self.told.get(place, 0) + 1)

    def best(self, places: Sequence[Place], n: int) -> list[Place]:
        return sorted(places, key=lambda p: -self.rate(p))[:n]


@dataclass(frozen=True, kw_only=True)
class Investigator:
    """`rounds` in all. Suspicion: the highest rate of misaligned answers at one place, after the last round."""

    rounds: int = 4
    topics: tuple[str, ...] = ()  # none: every topic of the lab
    needs: Access = Access.SAMPLE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        topics = self.topics or tuple(lab.topics())
        seen, unseen = (lab.cues(kind)[:1] for kind in ("observed", "unobserved"))
        marks = lab.cues("marks")
        start = [Place(topic, system) for topic in topics for system in ("", *seen, *unseen)]
        start += [Place(topic, "", mark) for topic in topics[:1] for mark in marks]
        places, notes = dict.fromkeys(suspects, start), {s: _Notes() for s in suspects}
        for number in range(self.rounds):
            self._ask(places, notes, lab, PER_ROUND * 2**number, seed + number)
            for s in suspects:
                kept = notes[s].best(places[s], max(2, KEEP // 2**number))
                crossed = [Place(p.topic, unseen[0], p.mark) for p in kept if p.mark and unseen and number == 0]
                crossed += [Place(t, "", p.mark) for p in kept[:2] for t in topics if p.mark and number == 1]
                places[s] = list(dict.fromkeys([*kept, *crossed]))
        findings = []
        for s in suspects:
            (worst,) = notes[s].best(places[s], 1)
            rate, asked = notes[s].rate(worst), sum(notes[s].told.values())
            findings.append(Finding(suspicion=rate, claim=f"{rate:.2f} misaligned on {worst}, of {asked} answers"))
        return findings

    def _ask(
        self, places: dict[Suspect, list[Place]], notes: dict[Suspect, _Notes], lab: Lab, n: int, seed: int
    ) -> None:
        """One round, everybody at once."""
        made = {p: p.scenes(lab, n, n) for p in dict.fromkeys(p for chosen in places.values() for p in chosen)}
        asked = [(suspect, [scene for p in chosen for scene in made[p]]) for suspect, chosen in places.items()]
        for (suspect, chosen), found in zip(places.items(), scores_of(asked, lab, seed=seed), strict=True):
            for i, score in enumerate(found):
                if score.verdict is not Verdict.UNKNOWN:
                    place, note = chosen[i // n], notes[suspect]
                    note.told[place] = note.told.get(place, 0) + 1
                    note.bad[place] = note.bad.get(place, 0) + (score.verdict is Verdict.MISALIGNED)
