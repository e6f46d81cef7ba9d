"""Concurrent calls become one batch, and nobody's trouble is anybody else's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from flyroom.inspector.gather import Gather
from flyroom.types import Answer, Ask, Message


def ask(text: str, seed: int = 0) -> Ask:
    return Ask(messages=(Message("user", text),), seed=seed)


def echo(models: Sequence[Any], asks: Sequence[Ask]) -> list[Answer]:
    texts = [one.messages[0].content for one in asks]
    if "long" in texts:
        raise ValueError("a prompt is too long")
    if "crash" in texts:
        raise RuntimeError("out of memory")
    pairs = zip(models, texts, strict=True)
    return [Answer(text=f"{model}: {text}", tokens=1, prompt_tokens=1, finished=True) for model, text in pairs]


async def gathered(gather: Gather, texts: Sequence[tuple[str, str]]) -> list[str]:
    """What came of each call: the answer, or the error."""
    results = [""] * len(texts)

    async def call(i: int, model: str, text: str) -> None:
        try:
            (answer,) = await gather.ask(model, [ask(text)])
            results[i] = answer.text
        except (ValueError, RuntimeError) as error:
            results[i] = str(error)

    async with anyio.create_task_group() as work:
        for i, (model, text) in enumerate(texts):
            work.start_soon(call, i, model, text)
    return results


@pytest.mark.parametrize("threaded", [True, False])
def test_calls_of_many_models_are_one_batch(threaded: bool) -> None:
    gather = Gather(echo, threaded=threaded)
    texts = [(f"m{i % 3}", f"q{i}") for i in range(50)]
    assert anyio.run(gathered, gather, texts) == [f"{model}: {text}" for model, text in texts]
    assert gather.batches == [50]


def test_a_second_loop_goes_on_where_the_first_ended() -> None:
    gather = Gather(echo)
    for _ in range(2):
        assert anyio.run(gathered, gather, [("m", "q")]) == ["m: q"]
    assert gather.batches == [1, 1]


def test_who_comes_meanwhile_is_in_the_next_batch() -> None:
    gather = Gather(echo)

    async def waves() -> None:
        async with anyio.create_task_group() as work:
            for _ in range(2):
                work.start_soon(gathered, gather, [("m", "q")] * 4)
                await anyio.sleep(0.1)

    anyio.run(waves)
    assert gather.batches == [4, 4]


def test_an_ask_that_is_refused_fails_alone() -> None:
    texts = [("m", text) for text in ("a", "b", "long", "c", "d")]
    results = anyio.run(gathered, Gather(echo), texts)
    assert results == ["m: a", "m: b", "a prompt is too long", "m: c", "m: d"]


def test_a_fault_of_the_engine_is_everybodys() -> None:
    assert anyio.run(gathered, Gather(echo), [("m", "a"), ("m", "crash")]) == ["out of memory"] * 2


def test_who_goes_away_takes_nobody_along() -> None:
    gather = Gather(echo)

    async def leave() -> None:
        with anyio.move_on_after(0):
            await gather.ask("m", [ask("gone")])

    async def both() -> list[str]:
        async with anyio.create_task_group() as work:
            work.start_soon(leave)
            await anyio.sleep(0)
            return await gathered(gather, [("m", "stays")])

    assert anyio.run(both) == ["m: stays"]
    assert gather.batches == [1]
