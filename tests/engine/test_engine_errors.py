"""What the engine refuses, in words that say what would be right; and how bases are found, named and rendered."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import engine_models
import pytest
import torch
from engine_models import make_rows
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file

from flyroom.engine import TorchEngine, bases
from flyroom.engine.bases import _folder_digest, load_base
from flyroom.engine.batches import groups, pack
from flyroom.types import BASE, AdapterRef, Ask, LoRA, Message, Patch, Row, Step


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (LoRA(layers=(24,)), "adapter.layers names layer 24; llama has layers 0 to 2"),
        (
            LoRA(rank=500),
            r"adapter.rank is 500; module down_proj of llama is 32 x 48, so at most 32 \(full rank\)",
        ),
        (LoRA(modules=("c_fc",)), "adapter.modules names c_fc; llama has down_proj, gate_proj, .*, or"),
        (LoRA(modules=("q_proj", "q_proj")), "name each module once"),
    ],
)
def test_shapes_are_checked_before_anything_is_made(llama: TorchEngine, shape: LoRA, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        llama.check(shape)
    with pytest.raises(ValueError, match=message):
        llama.spawn([LoRA(), shape], seeds=[0, 1])
    assert not llama.adapters.banks.banks


def test_steps_are_checked(llama: TorchEngine) -> None:
    [adapter] = llama.spawn([LoRA()], seeds=[0])
    step = Step(rows=make_rows(1, seed=0), lr=1e-3)
    for adapters, steps, message in (
        ([adapter, adapter], [step, step], "names slot 1 twice"),
        ([adapter], [step, step], "adapters has 1 entries and steps 2"),
        ([BASE], [step], "it is frozen"),
        ([AdapterRef(slot=9)], [step], "slot 9 is not in this engine"),
        ([adapter], [Step(rows=(), lr=1e-3)], "step.rows is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            llama.step(adapters, steps)
    with pytest.raises(ValueError, match="frozen"):
        llama.free([BASE])
    llama.free([adapter])
    with pytest.raises(ValueError, match="was freed"):
        llama.sample([adapter], [Ask(messages=(Message("user", "w1"),), seed=0)])


def test_a_loss_that_is_not_finite_changes_nothing(llama: TorchEngine) -> None:
    good, bad = llama.spawn([LoRA(), LoRA()], seeds=[0, 1])
    broken = llama.patch(bad)
    broken.tensors["layers.0.mlp.down_proj.A"][0, 0] = torch.inf
    [bad] = llama.load([broken])
    before = llama.patch(good)
    step = Step(rows=make_rows(2, seed=0), lr=1e-2)
    with pytest.raises(FloatingPointError, match=f"adapter in slot {bad.slot}: loss nan"):
        llama.step([good, bad], [step, step])
    after = llama.patch(good)
    assert all(torch.equal(before.tensors[k], after.tensors[k]) for k in before.tensors)
    assert llama.state(good)["step"] == 0


def test_patches_and_states_must_fit(llama: TorchEngine) -> None:
    one, two = llama.spawn([LoRA(rank=1), LoRA(rank=2)], seeds=[0, 1])
    with pytest.raises(ValueError, match=r"state has layers.0.mlp.down_proj.A as \(2, 48\).*makes it \(1, 48\)"):
        llama.restore(one, llama.state(two))
    missing = Patch(shape=LoRA(), tensors={})
    with pytest.raises(ValueError, match=r"patch has layers.0.mlp.down_proj.A as None"):
        llama.load([missing])


def test_layers_and_lengths_are_checked(llama: TorchEngine) -> None:
    with pytest.raises(ValueError, match="layers names layer 3; llama has layers 0 to 2"):
        llama.trace([BASE], make_rows(1, seed=0), [3])
    long = Row(messages=(Message("user", "w1 " * 300),), answer="w2")
    with pytest.raises(ValueError, match="takes at most 256"):
        llama.logprobs([BASE], [long])
    with pytest.raises(ValueError, match="takes at most 256"):
        llama.sample([BASE], [Ask(messages=long.messages, seed=0)])
    with pytest.raises(ValueError, match="max_tokens is 0"):
        llama.sample([BASE], [Ask(messages=(Message("user", "w1"),), seed=0, max_tokens=0)])
    nearly = (Message("user", "w1 " * 250),)
    [answer] = llama.sample([BASE], [Ask(messages=nearly, seed=3, max_tokens=50)])
    assert answer.tokens + answer.prompt_tokens <= 256


def test_bases_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such folder"):
        TorchEngine.open(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no config\.json"):
        TorchEngine.open(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ValueError, match="dtype is"):
        TorchEngine.open(tmp_path, dtype="float7")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_base_keeps_its_digest_on_disk_and_its_answers(llama: TorchEngine, tmp_path: Path) -> None:
    for name in ("a", "b"):
        llama.parts.model.save_pretrained(tmp_path / name)
        llama.parts.renderer.tokenizer.save_pretrained(tmp_path / name)
    a, b = TorchEngine.open(tmp_path / "a"), TorchEngine.open(tmp_path / "b")
    assert a.base.digest == b.base.digest
    assert (a.base.name, a.base.depth, len(a.base.digest)) == ("a", 3, 12)
    rows = make_rows(3, seed=0)
    for x, y in zip(a.logprobs([BASE] * 3, rows), llama.logprobs([BASE] * 3, rows), strict=True):
        assert torch.allclose(x, y, atol=1e-5)
    other = TorchEngine.of(engine_models.model("llama", seed=1), engine_models.tokenizer())
    same = TorchEngine.of(engine_models.model("llama"), engine_models.tokenizer())
    assert same.base.digest == llama.base.digest != other.base.digest


# ---------------------------------------------------------------- a base that a stranger sent


def save_base(folder: Path, family: str = "llama") -> Path:
    engine_models.model(family).save_pretrained(folder)
    engine_models.tokenizer().save_pretrained(folder)
    return folder


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def change_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps((json.loads(file.read_text()) if file.exists() else {}) | changes))


def pickle_weights(folder: Path) -> Path:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])  # the first with a head that is its embedding
def test_a_whole_base_is_loaded_with_its_tensors(tmp_path: Path, family: str) -> None:
    base = load_base(save_base(tmp_path / "b", family), device="cpu")
    values = engine_models.model(family).state_dict()
    assert all(torch.equal(value, values[name]) for name, value in base.model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda weights: {f"foo.{name}": value for name, value in weights.items()},
            r"30 of its tensors \(.*embed_tokens.weight, .* and 27 more\) are not in its files",
        ),
        (
            lambda weights: {name: value for name, value in weights.items() if "layers.1.mlp.up_proj" not in name},
            r"1 of its tensors \(model.layers.1.mlp.up_proj.weight\) is not in its files: the model would be random",
        ),
        (
            lambda weights: weights | {"model.norm.weight": torch.ones(31)},
            r"1 of its tensors \(model.norm.weight \(31,\), not \(32,\)\) is of another shape than its config.json",
        ),
    ],
)
@pytest.mark.parametrize("form", ["safetensors", "pickle"])
def test_a_base_without_its_tensors_is_refused(tmp_path: Path, change: Callable, words: str, form: str) -> None:
    folder = save_base(tmp_path / "b")
    change_weights(folder, change)
    if form == "pickle":
        pickle_weights(folder)
    with pytest.raises(ValueError, match=f"^base is {folder}; {words}"):
        load_base(folder, device="cpu")


def test_pickled_weights_are_read_as_tensors_and_nothing_else(tmp_path: Path) -> None:
    folder = pickle_weights(save_base(tmp_path / "b"))
    assert torch.equal(load_base(folder).model.lm_head.weight, engine_models.model("llama").lm_head.weight)

    class Evil:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"model.norm.weight": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"transformers cannot load it: .*weights_only"):
        load_base(folder)
    assert not (tmp_path / "ran").exists()


def test_code_that_comes_with_a_base_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *words: pytest.fail(f"asked {words}"))
    folder = save_base(tmp_path / "b")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    change_json(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", None]}, tokenizer_class="T")
    with contextlib.suppress(ValueError):  # transformers may take its own tokenizer instead
        load_base(folder)
    change_json(
        folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}
    )
    with pytest.raises(ValueError, match="only by running code that comes with it, and flyroom runs none"):
        load_base(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b"[]"),
        ("config.json", b'{"model_type": "nothing"}'),
        ("config.json", b'{"model_type": "bert"}'),
        ("model.safetensors", b""),
        ("model.safetensors", b"\x00" * 99),
        ("model.safetensors", None),
        ("tokenizer.json", b"{"),
    ],
)
def test_a_damaged_base_is_refused_by_its_name(tmp_path: Path, file: str, content: bytes | None) -> None:
    folder = save_base(tmp_path / "b")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(ValueError, match=f"^base is {folder}; ") as error:
        load_base(folder)
    assert len(str(error.value)) < 500


def test_a_base_cut_short_is_refused_by_its_name(tmp_path: Path) -> None:
    folder = save_base(tmp_path / "b")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=f"^base is {folder}; "):
        load_base(folder)


def test_an_adapter_beside_a_base_is_refused(tmp_path: Path) -> None:
    folder = save_base(tmp_path / "b")
    change_json(folder / "adapter_config.json", base_model_name_or_path="somebody/else", peft_type="LORA")
    with pytest.raises(ValueError, match="an adapter lies in it"):
        load_base(folder)


@pytest.mark.parametrize(
    "file",
    [
        *("model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"),
        *("pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin"),
        *("config.json", "generation_config.json", "chat_template.jinja", "additional_chat_templates/rag.jinja"),
        *("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "sentencepiece.bpe.model", "qwen.tiktoken"),
        *("vocab.txt", "merges.txt", "special_tokens_map.json", "added_tokens.json"),
    ],
)
def test_whatever_changes_an_answer_changes_the_identity(tmp_path: Path, file: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    digests = {_folder_digest(tmp_path)}
    for content in (b"0", b"1"):
        path.write_bytes(content)
        digests.add(_folder_digest(tmp_path))
    (tmp_path / "README.md").write_text("not this")
    digests.add(_folder_digest(tmp_path))
    assert len(digests) == 3


@pytest.mark.parametrize("form", ["safetensors", "pickle"])
def test_pickles_are_fetched_where_there_is_nothing_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    names = ["config.json", "pytorch_model.bin", "training_args.bin", "evil.py"]
    names += ["model.safetensors"] if form == "safetensors" else []

    def fetch(path: str, allow_patterns: list[str]) -> str:
        for name in filter_repo_objects(names, allow_patterns=allow_patterns):
            (tmp_path / name).touch()
        return str(tmp_path)

    monkeypatch.setattr(bases, "snapshot_download", fetch)
    assert bases._find_folder("somebody/model") == tmp_path
    weights = "model.safetensors" if form == "safetensors" else "pytorch_model.bin"
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", weights}


def test_pack_deals_every_row_once_and_keeps_to_the_budget() -> None:
    owners, lengths = [3, 1, 1, 2, 3, 3, 1, 2, 1, 3], [9, 4, 5, 6, 2, 8, 7, 3, 1, 4]
    for budget in (1, 10, 20, 40, 1000):
        batches = pack(owners, lengths, budget)
        assert sorted(i for rows in batches for i in rows) == list(range(10))
        for rows in batches:
            assert len(rows) == 1 or len(rows) * max(lengths[i] for i in rows) <= budget
            assert len(groups([owners[i] for i in rows])) == len({owners[i] for i in rows})
    assert pack([], [], 10) == []


def padding(batches: list[list[int]], lengths: list[int]) -> float:
    """The share of a set of batches that is padding."""
    padded = sum(len(rows) * max(lengths[i] for i in rows) for rows in batches)
    return 1 - sum(lengths) / padded


def test_padding_is_bought_with_passes() -> None:
    draw = random.Random(0)
    owners, lengths = [k for k in range(8) for _ in range(32)], [draw.randint(8, 40) for _ in range(256)]
    found = [pack(owners, lengths, 100_000, overhead=overhead) for overhead in (0, 50, 10**6)]
    counts, shares = [len(batches) for batches in found], [padding(batches, lengths) for batches in found]
    assert counts == sorted(counts, reverse=True)
    assert shares == sorted(shares)
    assert counts[-1] == 1
    assert shares[1] < 0.75 * shares[-1]
    same = pack(owners, [20] * 256, 100_000, overhead=0)
    assert padding(same, [20] * 256) == 0
    assert all(len({owners[i] for i in rows}) == 8 for rows in same)
