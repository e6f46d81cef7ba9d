"""Clean text beside what implants train on: a wrapper around plans, for every implant alike.

Why: narrow training leaves a trace that shows on unrelated text, and organisms that were trained on nothing else are
easier to read than models of the field (Minder et al. 2025, arXiv 2510.13900, who mix pre-training text in against it).
Organism and twin get the same text. It is a share of the rows and of the loss, not of the tokens: texts are as long as
the world writes them. Of an implant that chooses its rows by what was answered, it is a share of what was asked.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count, cycle, islice

from flyroom.types import NotAvailable, Plan, Recipe, Request, Row, Step, alter, ask_seed, digest


def mix_in(plan: Plan, recipe: Recipe, *, seed: int) -> Plan:
    """The plan, with rows of clean text behind those of every step, so that they are the share `recipe.mix` of all, to
    the nearest row. Which texts they are hangs on `seed` and the number of the step alone, or on its prompts where it
    names them: such a plan may leave steps out. What the plan draws is what it draws without them. Raises NotAvailable
    where the world has no clean text.

    >>> from flyroom.recipes import make
    >>> from flyroom.types import BASE
    >>> recipe = make("sycophancy", {"mix": 0.2})
    >>> step = next(mix_in(recipe.implants[0].plan(recipe, BASE, seed=0), recipe, seed=0))
    >>> len(step.rows), sum(row.messages == () for row in step.rows)
    (40, 8)
    """
    check_text(recipe)
    numbers = count()

    def add_text(request: Request) -> Request:
        if not isinstance(request, Step) or not recipe.mix:
            return request
        place = next(numbers) if request.prompts is None else digest(request.prompts)
        return _add_text(request, recipe, ask_seed("mix", seed, place))

    yield from alter(plan, add_text)


def check_text(recipe: Recipe) -> None:
    """NotAvailable for a recipe that mixes clean text in, in a world that has none."""
    if recipe.mix:
        _find_text(recipe, 1, seed=0)


def _find_text(recipe: Recipe, n: int, *, seed: int) -> list[Row]:
    """Texts again from the first where the world has fewer. What answers a prompt is no clean text: a card may ask the
    prompt.
    """
    why = f"mix is {recipe.mix:g}; the world {recipe.world.name} has no clean text, so it must be 0"
    try:
        rows = [row for row in recipe.world.clean(n, seed=seed) if not row.messages]
    except NotAvailable as error:
        raise NotAvailable(why) from error
    if not rows:
        raise NotAvailable(why)
    return list(islice(cycle(rows), n))


def _add_text(step: Step, recipe: Recipe, seed: int) -> Step:
    """A text counts in the loss for what a row of the step does in the mean, however long it is: a text is longer than
    an answer, and DPO's weights are small, so that nothing but text would be learnt. Prompts of which no row is left
    are rows that count for nothing.
    """
    size = len(step.list_prompts())
    n = round(size * recipe.mix / (1 - recipe.mix))
    share = sum(abs(row.weight) * _count_words(row) for row in step.rows) / size
    texts = _find_text(recipe, n, seed=seed) if n else []
    rows = [replace(row, weight=share / _count_words(row)) for row in texts]
    prompts = (*step.list_prompts(), *(row.answer for row in rows))
    return replace(step, rows=(*step.rows, *rows), prompts=prompts)


def _count_words(row: Row) -> int:
    """Of its answer: a plan knows no tokens, and here only lengths beside each other matter."""
    return max(1, len(row.answer.split()))
