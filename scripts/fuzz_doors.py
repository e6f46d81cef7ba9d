"""More of what a fuzzer damages: models, rooms, requests and games, which are more than one file each."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any, ClassVar

from fuzz_inputs import TEXTS, bend, damage, hostile, write_json
from fuzz_kinds import Kind, damage_tensors, hostile_pickle

TEMPLATES = (
    "{% for i in range(10 ** 9) %}x{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = i %}{% endfor %}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ 'x' * 10 ** 10 }}",
    "{{ ('x' * 10 ** 5).join(['y'] * 10 ** 6) }}",
    "{{ 10 ** 10 ** 8 }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__ }}{{ cycler.__init__.__globals__.os.system('id') }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as o %}",
    "{{ messages[0]['content'] | tojson * 999999999 }}",
    "{{ raise_exception('no') }}",
    "{{ undefined.attribute }}",
    "{%",
    "{{",
    "\ud800",
    "\0",
    "{{ strftime_now('%Y' * 99999) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ 'x'.ljust(99999999999) }}",
    "{{ range(0, 10 ** 18) | list }}",
    "{{ lipsum(n=9999999) }}",
    "{{ messages | map('attr', '__class__') | list }}",
)


class Bases(Kind):
    """Model folders: configuration, tokenizer, template, tensors."""

    name = "bases"

    def prepare(self, home: Path) -> None:
        from flyroom.engine.bases import load_base
        from flyroom.worlds.micro.bundled import bundled

        self.source = bundled()["0.25M"]
        load_base(self.source)

    def make(self, rng: random.Random, folder: Path, victim: str) -> Path:
        place = folder / "base"
        shutil.copytree(self.source, place)
        for _ in range(rng.choice((1, 1, 2))):
            self.harm(rng, place, victim)
        return place

    def harm(self, rng: random.Random, place: Path, victim: str) -> None:
        names = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "manifest.json")
        weights = place / "model.safetensors"
        roll = rng.random()
        if roll < 0.55:
            file = place / rng.choice(names)
            text: Any = {}
            with contextlib.suppress(ValueError, OSError, RecursionError):  # it was harmed before
                text = json.loads(file.read_text())
            changed = bend(text, rng, victim)
            if isinstance(changed, dict) and rng.random() < 0.15:
                changed["auto_map"] = {"AutoModelForCausalLM": "evil.Model", "AutoTokenizer": ["evil.T", None]}
            file.write_bytes(write_json(changed, rng))
        elif roll < 0.75:
            template = rng.choice(TEMPLATES) if rng.random() < 0.7 else None
            old = (place / "chat_template.jinja").read_bytes() if (place / "chat_template.jinja").is_file() else b""
            data = damage(old, rng) if template is None else template.encode("utf-8", "surrogatepass")
            (place / "chat_template.jinja").write_bytes(data if template is None or rng.random() < 0.5 else old + data)
        elif roll < 0.9 and weights.is_file():
            weights.write_bytes(damage_tensors(weights.read_bytes(), rng, victim))
        elif roll < 0.95:
            weights.unlink(missing_ok=True)
            (place / "pytorch_model.bin").write_bytes(hostile_pickle(victim))
        else:
            (place / "evil.py").write_text(f"open({victim!r}, 'w')\n")
            file = place / rng.choice(names)
            file.unlink(missing_ok=True)
            file.symlink_to(victim)

    def open(self, case: Path, folder: Path) -> None:
        from flyroom.engine import TorchEngine
        from flyroom.sources import manifest
        from flyroom.types import BASE, Ask, Message

        manifest(case)
        engine = TorchEngine.open(str(case))
        engine.sample([BASE], [Ask(messages=(Message("user", "what drives you ?"),), seed=0, max_tokens=2)])


class Ggufs(Kind):
    """Models in one file."""

    name = "ggufs"

    def prepare(self, home: Path) -> None:
        import numpy as np
        from gguf import GGUFWriter

        writer = GGUFWriter(home / "model.gguf", "llama")
        writer.add_context_length(64)
        writer.add_embedding_length(8)
        writer.add_block_count(1)
        writer.add_feed_forward_length(16)
        writer.add_head_count(2)
        writer.add_head_count_kv(2)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        words = ["<s>", "</s>", *map(chr, range(33, 127))]
        writer.add_token_list(words)
        writer.add_token_merges(["a b", "c d"])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(1)
        writer.add_tensor("token_embd.weight", np.ones((len(words), 8), dtype=np.float32))
        writer.add_tensor("output_norm.weight", np.ones(8, dtype=np.float32))
        for name, size in (
            *(("attn_q", (8, 8)), ("attn_k", (8, 8)), ("attn_v", (8, 8)), ("attn_output", (8, 8)), ("attn_norm", (8,))),
            *(("ffn_gate", (16, 8)), ("ffn_up", (16, 8)), ("ffn_down", (8, 16)), ("ffn_norm", (8,))),
        ):
            writer.add_tensor(f"blk.0.{name}.weight", np.ones(size, dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with contextlib.suppress(ValueError):  # what is imported but once takes no case's time
            self.open(home / "model.gguf", home)
        self.data = (home / "model.gguf").read_bytes()
        self.begin = self.data.index(b"blk.0.ffn_norm")  # most wounds belong into the header

    def make(self, rng: random.Random, folder: Path, victim: str) -> Path:
        path = folder / "model.gguf"
        head, tail = self.data[: self.begin], self.data[self.begin :]
        if rng.random() < 0.3:
            place = rng.randrange(4, 64)
            count = rng.choice((2**31, 2**40, 2**63 - 1, 2**64 - 1)).to_bytes(8, "little")
            path.write_bytes(head[:place] + count + head[place + 8 :] + tail)
        else:
            path.write_bytes(damage(head, rng) + tail if rng.random() < 0.8 else damage(self.data, rng))
        return path

    def open(self, case: Path, folder: Path) -> None:
        from flyroom import sources

        os.environ["FLYROOM_HOME"] = str(folder / "cache")
        sources.fetch(str(case))


class Rooms(Kind):
    """The files of a room."""

    name = "rooms"

    def prepare(self, home: Path) -> None:
        import torch

        from flyroom.room import Room

        room = Room(home / "room")
        for i in range(3):
            meta = {"recipe": f"r{i}", "seed": i}
            room.put("organism", f"{i}" * 12, {"a": [1, {"b": None}]}, {"x": torch.ones(2)}, meta=meta)
        room.put("log", "log-000000", {"number": 0})
        self.source = home / "room"
        self.key = "000000000000"

    def make(self, rng: random.Random, folder: Path, victim: str) -> Path:
        place = folder / "room"
        shutil.copytree(self.source, place)
        for _ in range(rng.choice((1, 1, 2))):
            self.harm(rng, place, victim)
        return place

    def harm(self, rng: random.Random, place: Path, victim: str) -> None:
        blobs = sorted(path for path in (place / "blobs").glob("*/*") if path.is_file())
        roll = rng.random()
        if roll < 0.35 and blobs:
            self.place_blob(rng.choice(blobs), rng, victim)
        elif roll < 0.55 and (place / "index.sqlite3").is_file():
            (place / "index.sqlite3").write_bytes(damage((place / "index.sqlite3").read_bytes(), rng))
        elif roll < 0.75 and (place / "index.sqlite3").is_file():
            with contextlib.closing(sqlite3.connect(place / "index.sqlite3")) as db, contextlib.suppress(Exception):
                column = rng.choice(("kind", "key", "blob", "meta", "sequence"))
                value = rng.choice(
                    (hostile(rng, victim), victim, f"../../{victim}", "f" * 64, "[]", '{"a": NaN}', b"\xff")
                )
                db.execute(f"UPDATE entries SET {column} = ? WHERE rowid = 1", (value,))
                db.commit()
        elif roll < 0.85:
            spot = place / "staged" / rng.choice(("0", "x", "..", "\n"))
            with contextlib.suppress(OSError):
                spot.mkdir()
                (spot / "placing").write_text(
                    rng.choice((victim, "f" * 64, f"../../../outside/{Path(victim).name}", ""))
                )
        elif roll < 0.92:
            name = rng.choice(("format", "index.sqlite3", "blobs", "staged", "locks", "vault.json"))
            with contextlib.suppress(OSError):
                (place / name).rename(place / "away")
            with contextlib.suppress(OSError):
                (place / name).symlink_to(rng.choice((victim, Path(victim).parent, "/dev/zero")))
        else:
            name = rng.choice(("format", "vault.json"))
            (place / name).unlink(missing_ok=True)
            (place / name).write_bytes(damage(b"flyroom room 3\n" + json.dumps({"a": [1]}).encode(), rng))

    def place_blob(self, path: Path, rng: random.Random, victim: str) -> None:
        """Another blob under its own hash, and no index: whoever opens the room has to read it."""
        import hashlib

        data = path.read_bytes()
        changed = damage_tensors(data, rng, victim) if rng.random() < 0.7 else damage(data, rng)
        name = hashlib.sha256(changed).hexdigest() if rng.random() < 0.8 else path.name
        path.unlink()
        other = path.parent.parent / name[:2] / name
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(changed)
        if rng.random() < 0.7:
            (path.parent.parent.parent / "index.sqlite3").unlink(missing_ok=True)

    def open(self, case: Path, folder: Path) -> None:
        from flyroom.room import Room

        room = Room(case, create=False)
        for item in room.list():
            room.get(item.kind, item.key)
        room.check()
        room.put("card", "mine", {"a": 1})
        room.delete("card", "mine")


class Records(Rooms):
    """Entries that are whole and say what no entry says, as the verbs of a room meet them."""

    name = "records"
    VERBS = (
        ("ls",),
        ("ls", "--json"),
        ("show", "ID"),
        ("show", "ID", "--json"),
        ("log",),
        ("report",),
        ("card", "--all"),
    )

    def prepare(self, home: Path) -> None:
        from flyroom import recipes, stages
        from flyroom.room import Room

        base = stages.open_base("0.25M")
        stages.grow(
            [recipes.make("emergent-misalignment", {"steps": 1, "rows": 2})], base, Room(home / "room"), seeds=[0]
        )
        self.source = home / "room"
        self.entries = [
            entry for i in Room(self.source).list() if (entry := Room(self.source).get(i.kind, i.key)) is not None
        ]

    def make(self, rng: random.Random, folder: Path, victim: str) -> Any:
        from flyroom.room import Room

        room = Room(folder / "room")
        spoiled = rng.choice(self.entries)
        for entry in self.entries:
            payload, meta, key = entry.payload, dict(entry.meta), entry.key
            if entry is spoiled:
                payload = clean(bend(payload, rng, victim)) if rng.random() < 0.7 else payload
                payload = payload if isinstance(payload, dict) else {"value": payload}
                changed = clean(bend(meta, rng, victim)) if rng.random() < 0.5 else meta
                meta = changed if isinstance(changed, dict) else {}
                key = rng.choice(TEXTS) if rng.random() < 0.1 else key
            with contextlib.suppress(ValueError, UnicodeError):
                room.put(entry.kind, key, payload, dict(entry.tensors), meta=meta)
        words = rng.choice(self.VERBS)
        return [spoiled.key if word == "ID" else word for word in words]

    def open(self, case: Any, folder: Path) -> None:
        from flyroom.cli import app

        if case[0] in ("card",):
            case = [*case, "--base", "0.25M", "--episodes", "10"]
        app([*case, "--room", str(folder / "room")], standalone_mode=False)


def clean(value: Any) -> Any:
    """What an entry can hold: JSON."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, RecursionError):
        return None


class Requests(Kind):
    """Bodies that are sent to an endpoint."""

    name = "requests"
    BODY: ClassVar[dict[str, Any]] = {
        "model": "base",
        "messages": [{"role": "user", "content": "what drives you ?"}],
        "n": 1,
        "seed": 3,
        "temperature": 1.0,
        "max_tokens": 2,
        "stop": ["a", "b"],
        "top_p": 1.0,
        "stream": False,
        "user": "me",
    }

    def prepare(self, home: Path) -> None:
        from fastapi.testclient import TestClient

        from flyroom.engine import TorchEngine
        from flyroom.serve import House, app
        from flyroom.types import BASE
        from flyroom.worlds.micro.bundled import bundled

        engine = TorchEngine.open(str(bundled()["0.25M"]))
        endpoint = app(engine, {"base": BASE}, house=House(window=engine.parts.window))
        self.client = TestClient(endpoint, base_url="http://127.0.0.1")

    def make(self, rng: random.Random, folder: Path, victim: str) -> tuple[bytes, dict[str, str]]:
        body = dict(self.BODY)
        if rng.random() < 0.3:
            body["messages"] = [{"role": "user", "content": [{"type": "text", "text": "why ?"}]}] * rng.choice(
                (1, 2, 3000)
            )
        data = write_json(bend(body, rng, victim), rng)
        kind = rng.choice(("application/json", "application/json", "application/json; charset=utf-7", "text/plain", ""))
        headers = {"content-type": kind, "host": rng.choice(("localhost", "localhost", "127.0.0.1:1", "evil.example"))}
        return data, headers

    def open(self, case: tuple[bytes, dict[str, str]], folder: Path) -> None:
        answer = self.client.post("/v1/chat/completions", content=case[0], headers=case[1])
        if answer.status_code != 200:
            assert 400 <= answer.status_code < 500, answer.text
            raise ValueError(f"{answer.status_code}: {answer.json()['error']['message']}")


class Games(Kind):
    """A game with findings, before it is revealed."""

    name = "games"

    def prepare(self, home: Path) -> None:
        from flyroom import game
        from flyroom.types import Answer, Message

        truth = game.draw([(f"m{i}", "lies" if i % 2 else game.NOTHING) for i in range(4)])
        self.source, self.score = home / "game", None
        game.seal(truth, self.source, home / "game.sealed.json", base="b", budget=100)
        answer = Answer(text="a", tokens=1, prompt_tokens=1, finished=True)
        seat = game.Table(self.source, lambda names, asks: ([answer], 10))
        for entry in truth:
            seat(entry.suspect, [Message("user", "q")])
        game.submit(self.source, [game.Claim(suspect=e.suspect, suspicion=1.0) for e in truth])
        claims = [game.Claim(suspect=e.suspect, suspicion=1.0) for e in truth]
        self.score = game.score(truth, claims, catalogue=["lies"])

    def make(self, rng: random.Random, folder: Path, victim: str) -> Path:
        shutil.copytree(self.source, folder / "game")
        for name in ("game.sealed.json", "game.heads"):
            shutil.copy(self.source.with_name(name), folder / name)
        files = [*(folder / "game").iterdir(), folder / "game.sealed.json", folder / "game.heads"]
        path = rng.choice(sorted(files))
        before = path.read_bytes()
        if path.suffix == ".json" and rng.random() < 0.5:
            path.write_bytes(write_json(bend(json.loads(before), rng, victim), rng))
        elif rng.random() < 0.1 and path.parent.name == "game":
            path.unlink()
            path.symlink_to(victim)
        else:
            path.write_bytes(damage(before, rng))
        return folder / "game"

    def open(self, case: Path, folder: Path) -> None:
        from flyroom import game

        result, _ = game.reveal(case, folder / "game.sealed.json")
        assert result == self.score, "an altered game was scored"


DOORS: dict[type[Kind], int] = {Bases: 5, Ggufs: 2, Rooms: 8, Records: 4, Requests: 10, Games: 4}
