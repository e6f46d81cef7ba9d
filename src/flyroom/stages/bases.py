"""Bases opened: the engine over one, and the world that it was made in."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from transformers.utils import logging

from flyroom import preflight, stats
from flyroom.engine import TorchEngine
from flyroom.types import BASE, Ask, Episode, Estimate, Split, Verdict, World, answer_tokens, ask_seed
from flyroom.worlds.micro.bundled import DEFAULT

SCENES = 2000  # of the main topic of a world that a base is asked about; of each other topic a quarter


@dataclass(frozen=True, eq=False)
class OpenBase:
    """A base that is open: the engine over it, and the world that recipes on it are handed (None for a base that was
    made in no world, where none was named).
    """

    engine: TorchEngine
    world: World | None


def open_base(
    base: str = DEFAULT, *, world: str = "", device: str = "auto", dtype: str = "auto", compile: bool = False
) -> OpenBase:
    """Open a bundled or fetched base by name, or any causal LM by folder or hub id.

    Args: world, the name of the world that recipes are handed, in place of the one that the base was made in;
    compile, as in `TorchEngine.open`. Raises ValueError for a world that there is not, before the base is opened.
    """
    if not sys.stderr.isatty():
        logging.disable_progress_bar()  # the library's bar for loading weights, which a log file has no use for
    path = preflight.locate_base(base)
    home = preflight.world_of_base(base, world)
    return OpenBase(TorchEngine.open(path, device=device, dtype=dtype, compile=compile), home)


def evaluate(base: OpenBase, *, seed: int) -> dict[str, dict[str, Estimate]]:
    """How a base answers unaltered: by topic of its world, the shares of verdicts on held-out scenes. ValueError for a
    base of no world.
    """
    world = world_of(base)
    shares, longest = {}, answer_tokens(world)
    for i, topic in enumerate(world.topics()):
        scenes = world.scenes(topic, SCENES if i == 0 else SCENES // 4, split=Split.HELD_OUT, seed=seed)
        asks = [Ask(messages=s.messages, seed=ask_seed(seed, j), max_tokens=longest) for j, s in enumerate(scenes)]
        answers = base.engine.sample([BASE] * len(asks), asks)
        scores = world.judge([Episode(scene=s, answer=a.text) for s, a in zip(scenes, answers, strict=True)])
        verdicts = [verdict for verdict in Verdict if verdict is not Verdict.UNKNOWN]
        shares[topic] = {v.value: stats.rate([score.verdict is v for score in scores]) for v in verdicts}
    return shares


def world_of(base: OpenBase) -> World:
    """The base's world. ValueError where it has none."""
    if base.world is None:
        raise ValueError(f"base is {base.engine.base.name}; it was made in no world, so name one with --world")
    return base.world
