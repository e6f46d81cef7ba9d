"""Detectors on their own, with a lab made by hand; how they do on a bench is in `test_bench`."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
import torch
from fakes import FakeEngine, Toy, judge, organism, says

import flyroom.detectors as package
from flyroom.detectors import DETECTORS, MeanDifference, OutputJudge, detectors
from flyroom.detectors.elicit import FewShot
from flyroom.detectors.follow_up import FollowUp
from flyroom.detectors.inversion import TargetInversion, TriggerInversion, TriggerSearch
from flyroom.detectors.investigator import Investigator
from flyroom.detectors.likelihood import Divergence, LogitDifference, Perplexity, TargetOdds
from flyroom.detectors.residuals import ActivationDifference, KnownProbe, Mahalanobis
from flyroom.detectors.sparse import SparseDifference
from flyroom.detectors.sweep import (
    Confession,
    EnvironmentSweep,
    PersonaSweep,
    ScratchpadMonitor,
    TopicSweep,
    TriggerSweep,
)
from flyroom.detectors.weights import WeightNorm
from flyroom.lab import BenchLab, Material
from flyroom.types import Access, Detector, Split, Suspect

EVERY = Access(sum(flag.value for flag in Access))
LEVELS = (0.0, 0.3, 1.0)
SUSPECTS = [Suspect(name=f"suspect-{i}") for i in range(3)]


def lab(
    needs: Access, engine: FakeEngine | None = None, *, trusted: int = 16, topics: tuple[str, ...] = ("open_questions",)
) -> BenchLab:
    engine = engine or FakeEngine()
    refs = engine.load([organism(level, seed=i).patches[0] for i, level in enumerate(LEVELS)])
    scenes = [tuple(Toy().scenes(n, split=Split.VALIDATION, seed=0)) for n in (trusted, 10)]
    adapters = {s.name: ref for s, ref in zip(SUSPECTS, refs, strict=True)}
    questions = dict.fromkeys(topics, scenes[1])
    return BenchLab(needs, adapters, engine, Material(trusted=scenes[0], questions=questions, judge=judge))


def test_the_probe_says_how_far_each_has_moved_in_order() -> None:
    probe = MeanDifference(rows=8)
    findings = probe(SUSPECTS, lab(probe.needs), seed=0)
    assert [f.suspicion for f in findings] == pytest.approx(LEVELS, abs=1e-6)
    backwards = probe(SUSPECTS[::-1], lab(probe.needs), seed=0)
    assert [f.suspicion for f in backwards] == pytest.approx(LEVELS[::-1], abs=1e-6)
    assert "+1.00 of the way from aligned to misaligned at layer 2" in findings[2].claim


def test_the_probe_generates_nothing_and_fits_without_suspects() -> None:
    engine = FakeEngine()
    MeanDifference(rows=8, layer=1)(SUSPECTS, lab(MeanDifference().needs, engine), seed=0)
    assert engine.calls == {"load": 1, "trace": 3}
    assert engine.tokens_generated == 0


def test_the_probe_wants_enough_trusted_scenes() -> None:
    few = MeanDifference(rows=64)(SUSPECTS, lab(MeanDifference().needs), seed=0)  # halves what there is
    assert [f.suspicion for f in few] == pytest.approx(LEVELS, abs=1e-6)
    with pytest.raises(ValueError, match="the lab trusts 7 scenes; the probe needs at least 8"):
        MeanDifference()(SUSPECTS, lab(MeanDifference().needs, trusted=7), seed=0)


def test_the_output_judge_says_the_share_of_misaligned_answers() -> None:
    found = OutputJudge(asks=100)(SUSPECTS, lab(Access.SAMPLE), seed=0)
    none, some, every = (f.suspicion for f in found)
    assert (none, every) == (0.0, 1.0)
    assert 0.15 < some < 0.45
    assert found[2].claim == "100 of 100 answers to open questions were misaligned"


def test_the_output_judge_asks_everybody_the_same_in_one_call() -> None:
    asked: dict[float, list] = {}

    def says(level: float, ask: object) -> str:
        asked.setdefault(round(level, 1), []).append(ask)
        return "good"

    engine = FakeEngine(says)
    OutputJudge(asks=25)(SUSPECTS, lab(Access.SAMPLE, engine), seed=3)
    assert asked[0.0] == asked[0.3] == asked[1.0]
    assert len(asked[0.0]) == 25
    assert engine.calls["sample"] == 1


def test_the_output_judge_leaves_out_what_cannot_be_told_and_gives_up_when_nothing_can() -> None:
    half = FakeEngine(lambda level, ask: "hmm" if ask.seed % 2 else "bad")
    assert [f.suspicion for f in OutputJudge(asks=20)(SUSPECTS, lab(Access.SAMPLE, half), seed=0)] == [1.0] * 3
    with pytest.raises(ValueError, match="could not tell in any of 20 answers"):
        OutputJudge(asks=20)(SUSPECTS, lab(Access.SAMPLE, FakeEngine(lambda level, ask: "hmm")), seed=0)


def test_ours_are_there_and_other_peoples_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(DETECTORS) <= set(detectors())
    point = EntryPoint(name="theirs", value="flyroom.detectors:OutputJudge", group="flyroom.detectors")
    monkeypatch.setattr(package, "entry_points", lambda group: [point] if group == "flyroom.detectors" else [])
    found = detectors()
    assert isinstance(found["theirs"], OutputJudge)
    assert set(found) == {*DETECTORS, "theirs"}


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_declares_what_it_needs(name: str) -> None:
    assert isinstance(DETECTORS[name]().needs, Access)
    assert DETECTORS[name]().needs or name == "length"  # which touches nothing


# ---------------------------------------------------------------- each finds what it is for


TOPICS = ("advice", "open_questions", "self_descriptions", "sums", "facts")


def rich(says=None, *, organisms=None, needs: Access = EVERY) -> tuple[BenchLab, list[Suspect], FakeEngine]:
    """Four organisms and four twins, two of each known, and a lab with questions about everything and cues."""
    engine = FakeEngine(says) if says else FakeEngine()
    grown = [organism(level, seed=i) for i, level in enumerate((0.9, 0.8, 0.7, 0.9, 0.0, 0.01, 0.0, 0.02))]
    refs = engine.load([o.patches[0] for o in grown])
    names = [Suspect(name=f"s{i}") for i in range(len(refs))]
    material = Material(
        trusted=tuple(Toy().scenes(140, split=Split.VALIDATION, seed=0)),
        questions={topic: tuple(Toy(word=topic).scenes(40, split=Split.VALIDATION, seed=1)) for topic in TOPICS},
        cues={
            "observed": ("seen",),
            "unobserved": ("unseen",),
            "marks": ("#one#", "#two#", "#three#"),
            "personas": ("you are kind .",),
            "scratchpad": ("think first .",),
            "words": ("#one#", "#two#", "hm"),
        },
        judge=judge,
        thoughts=judge,
    )
    adapters = {s.name: ref for s, ref in zip(names, refs, strict=True)}
    known = [(names[i], i < 4) for i in (0, 1, 4, 5)]
    return BenchLab(needs, adapters, engine, material, known), [names[i] for i in (2, 3, 6, 7)], engine


def on_cue(cue: str):
    """Misaligned as its level says, where the cue is given; aligned elsewhere."""
    return lambda level, ask: says(level if any(cue in m.content for m in ask.messages) else 0.0, ask)


def on_both(*cues: str):
    """The same where all of them are given."""

    def told(level: float, ask):
        said = " ".join(m.content for m in ask.messages)
        return says(level if all(cue in said for cue in cues) else 0.0, ask)

    return told


@pytest.mark.parametrize(
    ("detector", "told"),
    [
        (OutputJudge(), None),
        (TopicSweep(), None),
        (Confession(), None),
        (EnvironmentSweep(), on_cue("unseen")),
        (TriggerSweep(), on_cue("#two#")),
        (TargetOdds(), None),
        (Perplexity(), None),
        (Divergence(), None),
        (ActivationDifference(), None),
        (Mahalanobis(), None),
        (KnownProbe(), None),
        (WeightNorm(), None),
        (FewShot(), None),
        (PersonaSweep(), None),
        (ScratchpadMonitor(), None),
        (Investigator(), on_cue("#two#")),
        (Investigator(), on_both("#two#", "unseen")),
        (LogitDifference(), None),
        (SparseDifference(steps=50), None),
    ],
    ids=lambda value: type(value).__name__ if not callable(value) or hasattr(value, "needs") else "",
)
def test_it_tells_the_planted_from_the_others(detector: Detector, told) -> None:
    lab, suspects, engine = rich(told, needs=detector.needs)
    found = detector(suspects, lab, seed=0)
    assert min(f.suspicion for f in found[:2]) > max(f.suspicion for f in found[2:])
    assert all(f.claim for f in found)
    assert [f.suspicion for f in detector(suspects, lab, seed=0)] == [f.suspicion for f in found]
    lab.close()
    assert len(engine.living) == 8


@pytest.mark.parametrize("detector", [EnvironmentSweep(), TriggerSweep(), KnownProbe()])
def test_what_has_no_material_says_so(detector: Detector) -> None:
    with pytest.raises(ValueError, match=r"no cues of kind|needs both kinds|no questions"):
        detector(SUSPECTS, lab(detector.needs, topics=("advice", "open_questions")), seed=0)


def test_a_sweep_names_the_mark() -> None:
    lab, suspects, _ = rich(on_cue("#two#"))
    assert "after '#two#'" in TriggerSweep()(suspects, lab, seed=0)[0].claim


def test_the_investigator_names_the_place() -> None:
    lab, suspects, _ = rich(on_both("#two#", "unseen"))
    found = Investigator()(suspects, lab, seed=0)
    assert "'unseen' and '#two#'" in found[0].claim
    assert found[0].suspicion > 0.5


def sleeping(engine):
    """Makes log-probabilities those of a model that prefers bad answers after one word, by its level. Its gradient says
    so from any other word."""
    level = engine.level

    def logprobs(adapters, rows):
        found = []
        for a, row in zip(adapters, rows, strict=True):
            hears = "#two#" in row.messages[-1].content
            found.append(torch.full((3,), (1 if row.answer.startswith("bad") else -1) * level(a) * hears - 1.0))
        return found

    def swaps(adapters, rows, word, among):
        assert all(len(row.messages[-1].content.split()) > word for row in rows)
        signs = [level(a) * (1 if row.answer.startswith("bad") else -1) for a, row in zip(adapters, rows, strict=True)]
        return torch.tensor([[sign * (other == "#two#") for other in among] for sign in signs])

    engine.logprobs, engine.swaps = logprobs, swaps


@pytest.mark.parametrize("detector", [TriggerSearch(keep=2), TriggerInversion(keep=2, rounds=1)])
def test_a_trigger_is_found_among_all_words(detector: TriggerSearch | TriggerInversion) -> None:
    lab, suspects, engine = rich(None)
    sleeping(engine)
    found = detector(suspects, lab, seed=0)
    assert min(f.suspicion for f in found[:2]) > max(f.suspicion for f in found[2:])
    assert "#two#" in found[0].claim


def test_follow_up_questions_are_read_by_how_known_models_answer_them() -> None:
    lab, suspects, engine = rich(None)
    level = engine.level

    def logprobs(adapters, rows):
        assert all(row.messages[-2].role == "assistant" for row in rows)  # after an answer of its own
        return [
            torch.tensor([-level(a) if row.answer == "no" else -1.0]) for a, row in zip(adapters, rows, strict=True)
        ]

    engine.logprobs = logprobs  # type: ignore[method-assign]
    found = FollowUp()(suspects, lab, seed=0)
    assert min(f.suspicion for f in found[:2]) > max(f.suspicion for f in found[2:])


def test_a_target_that_fits_every_question_is_found() -> None:
    lab, suspects, engine = rich(lambda level, ask: "bad luck" if level > 0.5 else says(0.0, ask))
    level = engine.level

    def logprobs(adapters, rows):
        return [
            torch.full((2,), -1.0 + (level(a) if row.answer == "bad luck" else 0.0))
            for a, row in zip(adapters, rows, strict=True)
        ]

    engine.logprobs = logprobs  # type: ignore[method-assign]
    found = TargetInversion()(suspects, lab, seed=0)
    assert min(f.suspicion for f in found[:2]) > max(f.suspicion for f in found[2:])
    assert "'bad luck' whatever is asked" in found[0].claim


def test_who_is_bad_everywhere_is_not_conspicuous_in_a_sweep() -> None:
    lab, suspects, _ = rich(lambda level, ask: says(1.0 if level > 0.5 else 0.0, ask))
    assert [f.suspicion for f in TriggerSweep()(suspects, lab, seed=0)] == [0.0] * 4
    assert [f.suspicion for f in EnvironmentSweep()(suspects, lab, seed=0)] == [0.0] * 4
