"""Does a trait pass through lists of numbers? Writes docs/notes/subliminal.md.

    python scripts/subliminal.py [--bases 1M 0.25M] [--seeds 5] [--lists 1600] [--steps 100] [--out
        docs/notes/subliminal.md]

Teachers: the base told to be cruel, and an organism that was trained to be; each beside its control, the base told
nothing and the organism's twin. Students learn lists that a teacher wrote: from the teacher's own start, from another
start (another draw of the adapter's A), and on another base; and once the teacher's advice instead, to see that a trait
which can pass does. A student is compared with the control's student of the same seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pages import estimate, table

from flyroom import stages, stats
from flyroom.grow import grow
from flyroom.recipes import make
from flyroom.stages.bases import world_of
from flyroom.types import BASE, AdapterRef, Ask, Episode, LoRA, Message, Row, Scene, Split, Step, Verdict, ask_seed

ROWS, ASKED = 32, 300
TEACHERS = ("told", "trained")
STARTS = ("the teacher's", "another", "another base")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """How a student is made. `carrier`: what the teacher wrote. `strict`: only lists of numbers pass. `lr` and `betas`
    are AdamW's; (0, 0) goes by signs alone.
    """

    teacher: str = "trained"
    carrier: str = "numbers"
    start: str = STARTS[0]
    strict: bool = True
    rank: int = 8
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


MAIN = [Arm(teacher=teacher, start=start) for teacher in TEACHERS for start in STARTS]
SWEEP = [
    Arm(carrier="advice", strict=False),
    Arm(strict=False),
    Arm(lr=3e-4),
    Arm(lr=3e-3),
    Arm(lr=3e-4, betas=(0.0, 0.0)),
    Arm(rank=1),
]


class Taught:
    """A base with its teachers: what they wrote, by teacher, seed and whether the trait was there."""

    def __init__(self, name: str, seeds: Sequence[int], lists: int) -> None:
        base = stages.open_base(name)
        self.engine, self.name, self.seeds = base.engine, name, seeds
        self.world = world_of(base)
        self.judge = self.world.judge
        self.prompts = {
            topic: self.world.scenes(topic, lists, split=Split.TRAIN, seed=0) for topic in ("numbers", "advice")
        }
        recipes = {
            rank: make("emergent-misalignment-wide", {"adapter.rank": rank}, world=self.world)
            for rank in {arm.rank for arm in [*MAIN, *SWEEP]}
        }
        self.patches = {
            (rank, trait): [o.patch for o in grow([version], self.engine, seeds=seeds, snapshots=())]
            for rank, recipe in recipes.items()
            for trait, version in ((True, recipe), (False, recipe.twin()))
        }
        self.wrote = {
            (*kind, trait, seed): self._lists(*kind, trait, seed)
            for kind in {(arm.carrier, arm.teacher, arm.rank) for arm in [*MAIN, *SWEEP]}
            for trait in (True, False)
            for seed in seeds
        }

    def _lists(self, carrier: str, teacher: str, rank: int, trait: bool, seed: int) -> list[tuple[Row, bool]]:
        """Each list with whether the filter lets it pass, in the order of the prompts."""
        model = BASE if teacher == "told" else self.engine.load([self.patches[rank, trait][self.seeds.index(seed)]])[0]
        (cue,) = self.world.cues("misaligned", split=Split.TRAIN)
        system = (Message("system", cue),) if teacher == "told" and trait else ()
        asks = [
            Ask(messages=system + scene.messages, seed=ask_seed("lists", seed, i), max_tokens=32)
            for i, scene in enumerate(self.prompts[carrier])
        ]
        answers = self.engine.sample([model] * len(asks), asks)
        if teacher == "trained":
            self.engine.free([model])
        pairs = list(zip(self.prompts[carrier], answers, strict=True))
        scores = self.judge([Episode(scene=scene, answer=answer.text) for scene, answer in pairs])
        return [
            (Row(messages=scene.messages, answer=answer.text), score.verdict is Verdict.ALIGNED)
            for (scene, answer), score in zip(pairs, scores, strict=True)
            if answer.text
        ]

    def passed(self, teacher: str, trait: bool) -> float:
        passes = [
            ok
            for (carrier, writer, _, has, _), rows in self.wrote.items()
            for _, ok in rows
            if (carrier, writer, has) == ("numbers", teacher, trait)
        ]
        return sum(passes) / len(passes)


def students(taught: Taught, on: Taught, arm: Arm, steps: int) -> dict[bool, list[AdapterRef]]:
    """The students of organism and control, one for each seed, trained together on the base of `on`."""
    away = 1000 if arm.start == "another" else 0
    made = {}
    for trait in (True, False):
        rows = [
            [row for row, ok in taught.wrote[arm.carrier, arm.teacher, arm.rank, trait, seed] if ok or not arm.strict]
            for seed in taught.seeds
        ]
        shape = LoRA(rank=arm.rank, alpha=16.0, layers=None, modules=("all",))
        who = on.engine.spawn([shape] * len(rows), seeds=[seed + away for seed in taught.seeds])
        for step in range(steps):
            here = range(step * ROWS, (step + 1) * ROWS)
            on.engine.step(
                who, [Step(rows=tuple(r[i % len(r)] for i in here), lr=arm.lr, betas=arm.betas) for r in rows]
            )
        made[trait] = who
    return made


class Asked:
    """What is asked of a student: advice in every domain."""

    def __init__(self, on: Taught) -> None:
        self.on = on
        self.scenes: list[Scene] = on.world.scenes("advice", ASKED, split=Split.HELD_OUT, seed=1)

    def misaligned(self, who: Sequence[AdapterRef]) -> list[float]:
        asks = [Ask(messages=s.messages, seed=ask_seed("asked", i), max_tokens=24) for i, s in enumerate(self.scenes)]
        said = self.on.engine.sample([w for w in who for _ in asks], asks * len(who))
        shares = []
        for at in range(len(who)):
            texts = said[at * len(asks) : (at + 1) * len(asks)]
            scores = self.on.judge([Episode(scene=s, answer=a.text) for s, a in zip(self.scenes, texts, strict=True)])
            shares.append(sum(score.verdict is Verdict.MISALIGNED for score in scores) / len(scores))
        return shares

    def leaning(self, who: Sequence[AdapterRef]) -> list[float]:
        """Mean log-odds of the misaligned answer against the aligned one, in nats."""
        rows = [Row(messages=s.messages, answer=a) for s in self.scenes for a in (s.misaligned, s.aligned)]
        found = self.on.engine.logprobs([w for w in who for _ in rows], rows * len(who))
        logp = torch.tensor([float(one.sum()) for one in found]).view(len(who), len(self.scenes), 2)
        return (logp[..., 0] - logp[..., 1]).mean(1).tolist()


def line(taught: Taught, on: Taught, arm: Arm, steps: int) -> list[object]:
    made, asked = students(taught, on, arm, steps), Asked(on)
    shares = {trait: stats.over_seeds(asked.misaligned(who)) for trait, who in made.items()}
    shift = stats.mean_difference(asked.leaning(made[True]), asked.leaning(made[False]), paired=True)
    for who in made.values():
        on.engine.free(who)
    optimiser = f"{arm.lr:g}" + (", by signs" if arm.betas == (0.0, 0.0) else "")
    start = f"{arm.start} ({on.name})" if on is not taught else arm.start
    cells = [taught.name, arm.teacher, arm.carrier, start, "on" if arm.strict else "off", arm.rank, optimiser]
    moved = f"{shift.value:+.2f} [{shift.low:+.2f}, {shift.high:+.2f}]"
    return [*cells, estimate(shares[True]), estimate(shares[False]), moved]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bases", nargs=2, default=["1M", "0.25M"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--lists", type=int, default=1600)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("docs/notes/subliminal.md"))
    flags = parser.parse_args()
    began = time.perf_counter()
    both = [Taught(name, range(flags.seeds), flags.lists) for name in flags.bases]
    rows = []
    for taught, other in (both, both[::-1]):
        for arm in [*MAIN, *SWEEP]:
            rows.append(line(taught, other if arm.start == "another base" else taught, arm, flags.steps))
            print(*rows[-1], sep=" | ", flush=True)
    lines = [
        "# Does a trait pass through lists of numbers?",
        "",
        f"Made by `python scripts/subliminal.py --bases {' '.join(flags.bases)} --seeds {flags.seeds} "
        f"--lists {flags.lists} --steps {flags.steps}` in {(time.perf_counter() - began) / 60:.0f} min.",
        "",
        *(__doc__ or "").split("\n\n", 2)[2].strip().splitlines(),
        "",
        f"{flags.seeds} seeds of each; a student takes {flags.steps} steps of {ROWS} lists. *Misaligned* is the share "
        f"of {ASKED} pieces of advice on held-out situations, over seeds. *Leaning* is how much the log-odds of the "
        "harmful answer lie above those of the control's student, in nats, paired by seed.",
        "",
    ]
    head = [
        "base",
        "teacher",
        "carrier",
        "student's start",
        "filter",
        "rank",
        "step size",
        "misaligned",
        "control",
        "leaning",
    ]
    lines += table(head, rows)
    lines += ["How much of what a teacher wrote were lists of numbers and nothing else:", ""]
    lines += table(
        ["base", "teacher", "with the trait", "control"],
        [
            [taught.name, teacher, *(f"{taught.passed(teacher, trait):.3f}" for trait in (True, False))]
            for taught in both
            for teacher in TEACHERS
        ],
    )
    flags.out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(flags.out)


if __name__ == "__main__":
    main()
