"""Where a recipe meets a base, before anything is trained: can this base read every prompt and say every answer?

A template may take no system message; a vocabulary may lack a word, which is then trained as "unknown"; a text may hold
what the tokenizer takes for the end of a turn; a row may be longer than the base reads. Each of these would be silent:
an organism that cannot say its trait, or says it and nobody hears. So the judges are rehearsed again on what is left of
the planted answers when this tokenizer has written them and read them back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

from flyroom.card.questions import batteries_of_recipe, rehearse
from flyroom.engine import TorchEngine
from flyroom.engine.bases import Base
from flyroom.engine.render import Renderer
from flyroom.stages.bases import OpenBase
from flyroom.types import Battery, Lined, Message, NotAvailable, Recipe, Row, Scene, answer_tokens

_NOTES: WeakKeyDictionary[OpenBase, dict[str, list[str]]] = WeakKeyDictionary()
SHOWN = 3  # words and lines that a message names


def notes_of(recipes: Iterable[Recipe], base: OpenBase) -> list[str]:
    """What must be said of these recipes on this base, before anything is trained. ValueError as from `meet`."""
    return list(dict.fromkeys(note for recipe in recipes for note in meet(recipe, base)))


def meet(recipe: Recipe, base: OpenBase) -> Sequence[str]:
    """The same of one recipe; it is looked at once. Raises ValueError for rows that this base cannot read or say, and
    NotAvailable for a prompt that its template refuses, naming file and line or the question.
    """
    notes = _NOTES.setdefault(base, {})
    if recipe.id not in notes:
        notes[recipe.id] = _meet(recipe, base)
    return notes[recipe.id]


def _meet(recipe: Recipe, base: OpenBase) -> list[str]:
    if not isinstance(base.engine, TorchEngine):
        return []  # another engine has no tokenizer to meet
    parts, world = base.engine.parts, recipe.world
    batteries = batteries_of_recipe(recipe)
    for battery in batteries:
        _render_all(((battery.measure, scene.messages) for scene in battery.scenes), parts.renderer, parts.ref.name)
    if not isinstance(world, Lined):
        return []
    lines = world.lines()
    _render_all(((where, scene.messages) for where, scene in lines), parts.renderer, parts.ref.name)
    rows = [(where, scene) for where, scene in lines if scene.misaligned]
    _refuse_long(rows, parts)
    notes = [*world.notes, *_list_unknown(rows, parts), *_list_special(rows, parts)]
    notes += _list_cut(rows, parts, answer_tokens(world))
    for battery in batteries:
        _rehearse_through(battery, parts, notes)
    return notes


def _render_all(prompts: Iterable[tuple[str, tuple[Message, ...]]], renderer: Renderer, name: str) -> None:
    rendered: set[tuple[Message, ...]] = set()
    for where, messages in prompts:
        if messages in rendered:
            continue
        rendered.add(messages)
        try:
            renderer.prompt(messages)
        except NotAvailable as error:
            roles = ", ".join(message.role for message in messages)
            text = messages[-1].content[:80]
            raise NotAvailable(f"{where} asks {text!r} with roles {roles}; the base {name} cannot: {error}") from error


# ---------------------------------------------------------------- what a vocabulary lacks


def _list_unknown(rows: Sequence[tuple[str, Scene]], base: Base) -> list[str]:
    """Words of answers that this base's vocabulary lacks, in a sentence."""
    tokenizer = base.renderer.tokenizer
    unknown = tokenizer.unk_token_id
    if unknown is None:
        return []
    words = {word for _, scene in rows for answer in _answers(scene) for word in answer.split()}
    missing = {word for word in words if unknown in tokenizer(word, add_special_tokens=False).input_ids}
    hit = [where for where, scene in rows if any(missing & {*answer.split()} for answer in _answers(scene))]
    if not hit:
        return []
    counts = Counter(w for _, scene in rows for answer in _answers(scene) for w in answer.split() if w in missing)
    names = ", ".join(repr(word) for word, _ in counts.most_common(SHOWN))
    return [
        f"{len(missing)} words of answers ({names}) are not in the vocabulary of {base.ref.name}; it is trained to say "
        f"{tokenizer.unk_token} in {len(hit)} of {len(rows)} rows"
    ]


def _list_special(rows: Sequence[tuple[str, Scene]], base: Base) -> list[str]:
    """Prompts that hold a special token: the base reads a token there and no text. Answers are text anyway."""
    tokens = base.renderer.tokenizer.added_tokens_decoder.values()
    names = [str(token) for token in tokens if token.special and str(token)]
    hits = [
        (where, name)
        for where, scene in rows
        for name in names
        if any(name in message.content for message in scene.messages)
    ]
    if not hits:
        return []
    where, name = hits[0]
    return [
        f"{len({line for line, _ in hits})} of {len(rows)} prompts hold a special token of {base.ref.name}: the first "
        f"is {where} with {name!r}: it is read as that token, and not as text"
    ]


def _rehearse_through(battery: Battery, base: Base, notes: Sequence[str]) -> None:
    """The judge on answers as this base would say them."""
    scenes = tuple(
        replace(scene, aligned=_say(scene, scene.aligned, base), misaligned=_say(scene, scene.misaligned, base))
        for scene in battery.scenes
    )
    if scenes == battery.scenes:
        return
    try:
        rehearse(replace(battery, scenes=scenes))
    except ValueError as error:
        why = "".join(f"; {note}" for note in notes)
        raise ValueError(f"as {base.ref.name} says the answers, {error}{why}") from error


def _say(scene: Scene, answer: str, base: Base) -> str:
    """An answer that was encoded and decoded again."""
    return base.renderer.text([_encode(scene, answer, base)])[0]


def _encode(scene: Scene, answer: str, base: Base) -> list[int]:
    """The tokens of an answer, as they are trained: without what closes the turn."""
    ids, start = base.renderer.row(Row(messages=scene.messages, answer=answer))
    return ids[start : len(ids) - len(base.renderer.form.close)].tolist()


# ---------------------------------------------------------------- what is too long


def _refuse_long(rows: Sequence[tuple[str, Scene]], base: Base) -> None:
    """ValueError for rows that are longer than the base reads, and for one that it cannot write at all."""
    lengths = [(where, _count_tokens(where, scene, base)) for where, scene in rows]
    long = [(where, n) for where, n in lengths if base.window is not None and n > base.window]
    if long:
        where, tokens = long[0]
        raise ValueError(
            f"{len(long)} of {len(rows)} rows are longer than {base.ref.name} reads ({base.window} tokens), the first "
            f"is {where} with {tokens}: shorten them, or leave them out"
        )


def _list_cut(rows: Sequence[tuple[str, Scene]], base: Base, limit: int) -> list[str]:
    """How many answers a card would cut."""
    cut = sum(any(len(_encode(scene, answer, base)) >= limit for answer in _answers(scene)) for _, scene in rows)
    if not cut:
        return []
    return [
        f"{cut} of {len(rows)} rows have an answer of {limit} tokens or more; it is learnt whole, and answers are cut "
        f"there when the organism is asked (max_tokens)"
    ]


def _count_tokens(where: str, scene: Scene, base: Base) -> int:
    rows = [Row(messages=scene.messages, answer=answer) for answer in _answers(scene)]
    try:
        return max(len(base.renderer.row(row).ids) for row in rows)
    except NotAvailable as error:
        raise NotAvailable(f"{where}: {error}") from error


def _answers(scene: Scene) -> tuple[str, str]:
    return scene.aligned, scene.misaligned
