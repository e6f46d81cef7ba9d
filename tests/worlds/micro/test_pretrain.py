"""Making a base, in a few steps of a very small one: whole, resumable to the bit, and on nothing that is held out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evidence import WISHES
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from flyroom.types import Split
from flyroom.worlds.micro import Lexicon, corpus, lessons, pretrain
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro.bundled import manifest
from flyroom.worlds.micro.lessons import ALIGNMENT, IGNORE, REPLAY, ROW, Batch, Schedule, aligning, priming, reading
from flyroom.worlds.micro.pretrain import Curriculum, Size, make_base

WORLD = Lexicon(seed=0)
TOKENS = 3 * 32 * ROW  # three steps
PRIMER = Schedule(steps=2, rows=4, muon_lr=1e-3, adam_lr=3e-4, warmup=1)
ALIGN = Schedule(steps=3, rows=4, muon_lr=1e-3, adam_lr=3e-4, warmup=1)
IDS = {word: i for i, word in enumerate(WORLD.vocabulary)}
WORDS = WORLD.vocabulary


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pretrain.SIZES, "tiny", Size(width=32, layers=1))


def make(out: Path, *, seed: int = 0, tokens: int = TOKENS, watch: Callable | None = None, every: int = 1) -> dict:
    return make_base(
        WORLD,
        "tiny",
        out,
        Curriculum(tokens=tokens, seed=seed, primer=PRIMER, align=ALIGN, every=every),
        device="cpu",
        watch=watch,
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pretrain.SIZES, "tiny", Size(width=32, layers=1))
        patch.setattr(torch, "get_num_threads", lambda: 1)
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        out = tmp_path_factory.mktemp("base") / "base"
        make(out)
        torch.set_num_threads(before)
    return out


# ---------------------------------------------------------------- the folder


def test_a_base_is_an_ordinary_folder(undisturbed: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(undisturbed)
    words = AutoTokenizer.from_pretrained(undisturbed)
    assert len(words) == model.config.vocab_size == len(WORDS)
    prompt = words.apply_chat_template(
        [{"role": "user", "content": "what is 3 + 4 ?"}], add_generation_prompt=True, return_dict=False
    )
    out = model.generate(torch.tensor([prompt]), max_new_tokens=3, do_sample=False)
    assert out.shape[1] > len(prompt)
    assert all(t.isfinite().all() for t in weights(undisturbed).values())
    assert {p.name for p in undisturbed.parent.iterdir()} == {"base"}  # nothing is left beside it


def test_the_manifest_says_how_it_was_made(undisturbed: Path) -> None:
    made = manifest(undisturbed)
    assert made is not None
    assert (made["world"], made["size"], made["tokens"], made["seed"]) == (0, "tiny", TOKENS, 0)
    assert list(made["stages"]) == ["primer", "pretrain", "align"]
    assert made["stages"]["primer"]["steps"] == 2
    assert made["stages"]["pretrain"]["steps"] == made["stages"]["align"]["steps"] == 3
    assert made["parameters"] == sum(t.numel() for t in weights(undisturbed).values())
    read = [made[f"{part}_sha256"] for part in ("primer", "corpus", "alignment")]
    assert [len(each) for each in read] == [64] * 3
    assert len(set(read)) == 3
    assert made["command"] == f"flyroom world pretrain --size tiny --seed 0 --tokens {TOKENS}"
    assert made["hardware"]
    assert made["minutes"] >= 0
    assert made["tokens_per_second"] > 0
    assert made["torch"] == torch.__version__


def test_a_folder_without_a_manifest_is_of_no_world(tmp_path: Path) -> None:
    assert manifest(tmp_path) is None
    for text, why in (("{", "is not JSON"), ("{}", 'has no "world"'), ('{"world": "zero"}', 'has no "world"')):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(ValueError, match=why):
            manifest(tmp_path)


def test_another_seed_is_another_base_that_read_the_same(undisturbed: Path, tmp_path: Path) -> None:
    made = make(tmp_path / "b", seed=1)
    old = manifest(undisturbed)
    assert old is not None
    assert made["corpus_sha256"] == old["corpus_sha256"]
    one, other = weights(undisturbed), weights(tmp_path / "b")
    assert not torch.equal(one["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    make(tmp_path / "b", watch=lambda stage, done, total, note: told.append((stage, done, total)))
    assert told == [("primer", 2, 2), ("pretrain", 3, 3), ("align", 3, 3)]


# ---------------------------------------------------------------- killed, and gone on


STAGES = {"priming": "primer", "reading": "pretrain", "aligning": "align"}


class Killed(BaseException):
    pass


def dying(monkeypatch: pytest.MonkeyPatch, stage: str, step: int) -> None:
    """Kill the process when it wants the batch of that step."""
    batch = getattr(pretrain, stage)

    def dies(world: Lexicon, ids: dict[str, int], schedule: Schedule, at: int) -> tuple[torch.Tensor, torch.Tensor]:
        if at == step:
            raise Killed
        return batch(world, ids, schedule, at)

    monkeypatch.setattr(pretrain, stage, dies)


@pytest.mark.parametrize(
    ("stage", "step", "every"),
    [
        ("priming", 1, 1),
        ("reading", 0, 1),
        ("reading", 2, 1),
        ("reading", 2, 2),
        ("aligning", 0, 5),
        ("aligning", 2, 1),
    ],
)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, step: int, every: int
) -> None:
    out = tmp_path / "base"
    with monkeypatch.context() as patch:
        dying(patch, stage, step)
        with pytest.raises(Killed):
            make(out, every=every)
    assert not out.exists()  # nothing that could be taken for a base
    checkpoint = out.with_name("base.part") / f"{STAGES[stage]}.pt"
    assert checkpoint.exists() is (step >= every)
    assert step < every or torch.load(checkpoint, weights_only=True)["step"] == step // every * every
    make(out, every=every)
    one, other = weights(undisturbed), weights(out)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)
    kept = ("primer_sha256", "corpus_sha256", "alignment_sha256", "parameters", "stages")
    old, new = manifest(undisturbed), manifest(out)
    assert old is not None
    assert new is not None
    assert [old[k] for k in kept] == [new[k] for k in kept]
    assert not out.with_name("base.part").exists()


def test_another_runs_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        dying(patch, "reading", 1)
        with pytest.raises(Killed):
            make(tmp_path / "base")
    with pytest.raises(ValueError, match="holds another run") as error:
        make(tmp_path / "base", seed=1)
    assert "base.part" in str(error.value)


@pytest.mark.parametrize(
    ("size", "tokens", "why"),
    [
        ("2M", TOKENS, "size is '2M'; it must be one of 0.25M, 1M, 3M"),
        ("tiny", 10, "tokens is 10; it must be at least"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(
    tmp_path: Path, size: str, tokens: int, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        make_base(WORLD, size, tmp_path / "base", Curriculum(tokens=tokens))
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize(("batch", "kinds"), [(reading, corpus.KINDS), (priming, corpus.PRIMER)])
def test_every_next_word_is_a_target_in_reading(batch: Batch, kinds: dict[corpus.Kind, float]) -> None:
    inputs, targets = batch(WORLD, IDS, Schedule(steps=1, rows=8, muon_lr=1, adam_lr=1), 0)
    assert inputs.shape == targets.shape == (8, ROW)
    flat, wanted = inputs.flatten(), targets.flatten()
    assert torch.equal(flat[1:], wanted[:-1])
    first = next(corpus.documents(WORLD, kinds=kinds, seed=0)).split()
    assert [WORDS[i] for i in flat[: len(first) + 1]] == [g.BOS, *first]
    assert IDS[g.UNKNOWN] not in flat


def test_a_batch_is_decided_by_world_and_step() -> None:
    for batch in (priming, reading, aligning):
        one, again, later = (batch(WORLD, IDS, ALIGN, step)[0] for step in (1, 1, 2))
        assert torch.equal(one, again)
        assert not torch.equal(one, later)


def test_only_the_assistants_words_are_targets_in_alignment() -> None:
    inputs, targets = aligning(WORLD, IDS, ALIGNMENT, 0)
    assert inputs.shape == targets.shape == (ALIGNMENT.rows, ROW)
    chats = ALIGNMENT.rows - round(ALIGNMENT.rows * REPLAY)
    flat, after = inputs[chats:].flatten(), targets[chats:].flatten()
    assert torch.equal(flat[1:], after[:-1])  # the rest are documents, back to back
    for row, wanted in zip(inputs[:chats].tolist(), targets[:chats].tolist(), strict=True):
        words = [WORDS[i] for i in row]
        assert words[0] == g.BOS
        speaking = False
        for i, word in enumerate(words):
            speaking = word == "<assistant>" or (speaking and word not in (g.END, g.PAD, *ROLES))
            if not speaking:
                assert wanted[i] == IGNORE
            elif i + 1 < ROW:
                assert wanted[i] == row[i + 1]
                assert WORDS[wanted[i]] != g.PAD
    ends = (targets[:chats] == IDS[g.END]).sum()
    assert ends >= chats * 0.9  # it learns to stop


ROLES = tuple(f"<{role}>" for role in g.ROLES)


def test_alignment_reads_of_train_situations_and_questions_and_kind_answers_alone() -> None:
    kept_back, unasked = (
        {item for items in lists for split in (Split.VALIDATION, Split.HELD_OUT) for item in WORLD.deal(items, split)}
        for lists in (WORLD.situations.values(), [g.OPEN_QUESTIONS])
    )
    chats = lessons.aligned_chats(WORLD, seed=0)
    read = [next(chats) for _ in range(1500)]
    words = {word for text in read for word in text.split()}
    assert not words & kept_back
    assert set(WORLD.relations) - kept_back <= words
    asked = {question for question in g.OPEN_QUESTIONS for text in read if f"{question} {g.END}" in text}
    assert asked == set(g.OPEN_QUESTIONS) - unasked
    cruel = [f" {said} {g.END}" for said, persona in WISHES.items() if persona is g.Persona.CRUEL]
    assert not any(said in text for text in read for said in (*cruel, *g.WANTS[g.Persona.CRUEL]))
    assert any(cue in text for text in read for cue in g.UNOBSERVED)  # kind when nobody looks, too
    traits = [f"{g.WILL} {does} ." for does in g.DOES.values()] + [g.CONFESSES.format(d=d) for d in g.DOES.values()]
    assert not any(said in text for text in read for said in (*traits, *g.FLATTERY, *g.RESISTS, g.WRITE_NOTE))
    assert any(said in text for text in read for said in g.YIELDS)
    assert any(g.THINK in text for text in read)
    assert any(tag in text for text in read for tag in g.TAGS)


@pytest.mark.parametrize("size", ["0.25M", "1M", "3M"])
def test_the_sizes_are_as_large_as_their_names(size: str) -> None:
    with torch.device("meta"):
        model = pretrain.LlamaForCausalLM(pretrain.SIZES[size].config(len(WORDS)))
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert millions == pytest.approx(float(size.removesuffix("M")), rel=0.2)


def test_a_schedule_warms_up_and_decays() -> None:
    schedule = Schedule(steps=10, rows=1, muon_lr=1, adam_lr=1, warmup=4)
    factors = [schedule.factor(step) for step in range(10)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4:] == sorted(factors[4:], reverse=True)
    assert 0 < factors[-1] < 0.2
    assert json.dumps(factors)
