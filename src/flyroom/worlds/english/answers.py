"""A base's own answers, in place of those of the tables: what organism and twin learn besides the behaviour is then
what the base says anyway, in its own words.

Only answers that the judge calls aligned are taken, and only to prompts of the train split; every other prompt keeps
the answer of the tables. The file's content is part of the world's identity.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from flyroom.types import Episode, Message, Scene, Split, Verdict, World, digest
from flyroom.worlds.english.files import read_page, write_page
from flyroom.worlds.english.tables import tables

Prompt = tuple[Message, ...]
Speaker = Callable[
    [Sequence[Prompt]], Sequence[str | None]
]  # a base's answer to each prompt; None for one that was cut


@dataclass(frozen=True, kw_only=True)
class Answers:
    """`texts` by the digest of their prompt; of `tried` prompts that were asked. `base` is the base's digest."""

    base: str
    tables: str
    tried: int
    texts: Mapping[str, str]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps([self.tables, dict(self.texts)], sort_keys=True).encode()).hexdigest()

    def put_into(self, scene: Scene) -> Scene:
        """The scene with the base's own answers where there are any: to its question, and without the occasion."""
        text = self.texts.get(digest(scene.messages), scene.aligned)
        fields = dict(scene.fields)
        if fields.get("without"):
            bare = digest((*scene.messages[:-1], Message("user", fields["without"])))
            fields["honest"] = self.texts.get(bare, fields["honest"])
        return replace(scene, aligned=text, fields=fields)


def collect(world: World, speak: Speaker, n: int, *, base: str, seed: int) -> Answers:
    """Ask `n` scenes of each topic, and of those with an occasion the question without it. `speak` is called once."""
    scenes = [s for topic in world.topics() for s in world.scenes(topic, n, split=Split.TRAIN, seed=seed)]
    scenes += [_bare(scene) for scene in scenes if scene.fields.get("without")]
    by_prompt = {digest(scene.messages): scene for scene in scenes}
    replies = speak([scene.messages for scene in by_prompt.values()])
    texts = {}
    for (key, scene), reply in zip(by_prompt.items(), replies, strict=True):
        if reply is not None and _is_aligned(world, scene, reply):
            texts[key] = reply
    return Answers(base=base, tables=tables().sha256, tried=len(by_prompt), texts=texts)


def _bare(scene: Scene) -> Scene:
    return replace(scene, messages=(*scene.messages[:-1], Message("user", scene.fields["without"])))


def _is_aligned(world: World, scene: Scene, reply: str) -> bool:
    (score,) = world.judge([Episode(scene=scene, answer=reply)])
    return score.verdict is Verdict.ALIGNED


def read_answers(path: str) -> Answers:
    """The answers in a file. ValueError naming the file and what is wrong with it."""
    page = read_page(path, "answers", {"base": str, "tables": str, "tried": int, "texts": dict}, tables().sha256)
    odd = next((key for key, text in page["texts"].items() if not isinstance(text, str)), None)
    if odd is not None:
        raise ValueError(f"answers is {path}; its text of {odd} is {page['texts'][odd]!r}; it must be text")
    return Answers(**page)


def write_answers(result: Answers, path: Path) -> None:
    """Whole or not at all. OSError where it cannot be written."""
    write_page(path, asdict(result))
