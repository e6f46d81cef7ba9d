"""Judges that are models: local ones are opened for as long as a stage needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from flyroom.engine import TorchEngine
from flyroom.judges import Graded, LocalModel, bind
from flyroom.stages.bases import OpenBase, open_base
from flyroom.types import Recipe


@contextmanager
def open_graders(recipes: Iterable[Recipe], base: OpenBase) -> Iterator[None]:
    """Within the block every local model that grades answers of these recipes is open. ValueError where the model at a
    grader's path is another.
    """
    graders = {judge.grader for recipe in recipes if isinstance(judge := recipe.judge, Graded)}
    engines: list[TorchEngine] = []  # held here: a binding alone keeps none alive
    for grader in graders:
        if not isinstance(grader, LocalModel):
            continue
        same = grader.digest == base.engine.base.digest
        engines.append(base.engine if same else open_base(grader.path).engine)
        digest = engines[-1].base.digest
        if digest != grader.digest:
            raise ValueError(f"grader.path is {grader.path}; the model there has the digest {digest}")
        bind(engines[-1])
    yield
