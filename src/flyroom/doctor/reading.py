"""Checks of what a base reads: tokens, template, date, BOS, end of turn, and the words that questions hang on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig

from flyroom.doctor.check import Answer, Subject
from flyroom.engine.form import SHAPES, write_prompt
from flyroom.engine.render import Renderer
from flyroom.types import BASE, Ask, LoRA, Message, NotAvailable, Row, Split, Step, if_any

SCENES = 8  # of each topic of the base's world, whose answers are written and read back
SYSTEM, QUESTION, ANSWER = "Be brief.", "What is next?", "flyroom"
LETTERS = ("A", "B")


def paths_agree(subject: Subject) -> Answer:
    """Whether training, scoring, tracing, sampling and serving put the same tokens to the model."""
    engine = subject.engine
    row = Row(messages=(Message("user", QUESTION),), answer=ANSWER)
    ids, start = engine.parts.renderer.row(row)
    [adapter] = engine.spawn([LoRA(rank=1, layers=(0,), modules=("all",))], seeds=[0])
    ask = Ask(messages=row.messages, seed=0, max_tokens=1)
    whole, prompt = ids.tolist(), ids[:start].tolist()
    calls = {
        "training": (lambda: engine.step([adapter], [Step(rows=(row,), lr=0.0)]), whole[:-1]),
        "scoring": (lambda: engine.logprobs([BASE], [row]), whole[:-1]),
        "tracing": (lambda: engine.trace([BASE], [row], [engine.base.depth - 1]), whole),
        "sampling": (lambda: engine.sample([BASE], [ask]), prompt),
    }
    serve, absence = _serve(subject, row.messages)
    if serve:
        calls["serving"] = (serve, prompt)
    wrong = [name for name, (call, own) in calls.items() if _reads(engine, call) != own]
    engine.free([adapter])
    if wrong:
        return False, f"{', '.join(wrong)} put other tokens to the model than the row has"
    return True, f"{', '.join(calls)} put the same {len(prompt)} tokens before an answer{absence}"


def _serve(subject: Subject, messages: Sequence[Message]) -> tuple[Any, str]:
    """A request to the endpoint, and what is said where there can be none."""
    from flyroom.serve import app, ask

    try:
        endpoint: Any = app(subject.engine, {"base": BASE})
    except ValueError as error:
        return None, f" (serving not looked at: {error})"
    turns = [{"role": m.role, "content": m.content} for m in messages]
    return lambda: ask(endpoint, {"model": "base", "messages": turns, "seed": 0, "max_tokens": 1}), ""


def _reads(engine: Any, call: Any) -> list[int]:
    """The tokens that a call of one row puts to the model."""
    with _listen(engine) as batches:
        call()
    return [int(i) for batch in batches for i in batch[0]]


@contextmanager
def _listen(engine: Any) -> Iterator[list[torch.Tensor]]:
    batches: list[torch.Tensor] = []
    table = engine.parts.body.get_input_embeddings()
    hook = table.register_forward_hook(lambda _module, args, _output: batches.append(args[0].detach().clone()))
    try:
        yield batches
    finally:
        hook.remove()


# ---------------------------------------------------------------- the template


def _written(renderer: Renderer, *messages: Message) -> str | None:
    """A prompt as text, None where the template refuses it."""
    assert renderer.template is not None
    try:
        return write_prompt(renderer.template, renderer.form, messages)
    except NotAvailable:
        return None


def system_message(subject: Subject) -> Answer:
    """Whether a system message is read, once; and whether the template has one of its own."""
    renderer = subject.engine.parts.renderer
    if renderer.template is None:
        return None, "there is no chat template: contents are read as plain text, one a line"
    gap = renderer.template.leaves_out
    if gap:
        why = f"the template leaves a system message out of {gap}, so what needs one is not available"
        return (False, f"it is written 0 times: {why}") if "a prompt" in gap else (True, why)
    question = Message("user", QUESTION)
    plain, written = _written(renderer, question), _written(renderer, Message("system", SYSTEM), question)
    if plain is None and written is None:
        return False, "the template takes a question neither with a system message nor without"
    if plain is None:
        return True, "the template demands a system message"
    own = _own_system(renderer, plain)
    if written is None:
        return True, f"the template takes no system message: what needs one is not available{own}"
    if written.count(SYSTEM) != 1:
        return False, f"a system message is written {written.count(SYSTEM)} times: {written!r}"
    return True, f"a system message is read{own}"


def _own_system(renderer: Renderer, plain: str) -> str:
    """What is said where a template writes more before a bare question than a role and a BOS."""
    opening = plain.partition(QUESTION)[0]
    for token in sorted(renderer.tokenizer.get_added_vocab(), key=len, reverse=True):
        opening = opening.replace(token, " ")
    words = " ".join(opening.split())
    return f"; without one the template writes {words!r}" if len(words.split()) > 3 else ""


def generation_prompt(subject: Subject) -> Answer:
    """Whether prompts end as the template's finished turns begin."""
    renderer = subject.engine.parts.renderer
    if renderer.template is None:
        return None, "there is no chat template"
    if renderer.form.opened:
        return True, "the template's own generation prompt stands before an answer"
    question = (Message("user", QUESTION),)
    generated = renderer.template.write(question, opened=True).rpartition(QUESTION)[2]
    finished = write_prompt(renderer.template, renderer.form, question).rpartition(QUESTION)[2]
    return (
        True,
        f"a finished turn begins {finished!r}, as do prompts here; the generation prompt would be {generated!r}",
    )


def turn_form(subject: Subject) -> Answer:
    """Whether a trained turn is the template's own, token for token."""
    renderer = subject.engine.parts.renderer
    if renderer.template is None:
        return None, "there is no chat template"
    shapes = list(renderer.template.shapes())
    if not shapes:
        return None, "the template refuses every chat that was tried"
    chats = [(chat, ANSWER) for chat in shapes] + [(scene[0], scene[1]) for scene in _scenes(subject)]
    compared, others = 0, []
    for messages, answer in chats:
        own = _own_turn(renderer, messages, answer)
        if own is not None:
            compared += 1
            try:
                ids = renderer.row(Row(messages=messages, answer=answer)).ids.tolist()
            except NotAvailable:  # a row is held against the template, and refused where it is another
                others.append(answer)
                continue
            rest = renderer.tokenizer.decode(own[len(ids) - 1 :]).strip()
            if own[: len(ids)] != ids and (own[: len(ids) - 1] != ids[:-1] or rest):
                others.append(answer)
    if others:
        return False, f"{len(others)} of {compared} turns are not the template's own, such as the answer {others[0]!r}"
    return True, f"{compared} turns are the template's own, token for token"


def _own_turn(renderer: Renderer, messages: Sequence[Message], answer: str) -> list[int] | None:
    assert renderer.template is not None
    try:
        text = renderer.template.write([*messages, Message("assistant", answer)], opened=False)
    except NotAvailable:
        return None
    return renderer.template.encode(text)


def date(subject: Subject) -> Answer:
    """Whether a prompt is the same on every day."""
    template = subject.engine.parts.renderer.template
    if template is None or not template.dated:
        return True, "prompts hold no date"
    return True, f"the template prints today's date; it is fixed at {template.date}, as part of the base's identity"


OBEYED = ("temperature", "do_sample", "eos_token_id", "bos_token_id", "pad_token_id", "transformers_version")
OBEYED += ("max_length", "max_new_tokens", "use_cache", "cache_implementation", "num_return_sequences")  # of the asker
IDLE = {
    "top_p": 1.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "num_beams": 1,
    "renormalize_logits": False,
}


def temperature(subject: Subject) -> Answer:
    """At which temperature the base answers, and what else its makers set that is not applied."""
    parts: Any = subject.engine.parts
    settings = {k: v for k, v in parts.model.generation_config.to_dict().items() if not k.startswith(("_", "output_"))}
    usual = GenerationConfig().to_dict() | IDLE  # the library's own
    extra = [f"{k} {v}" for k, v in sorted(settings.items()) if v and k not in OBEYED and v != usual.get(k)]
    extra += ["do_sample False, which is greedy"] if settings.get("do_sample") is False else []
    level = f"answers are drawn at temperature {parts.temperature:g}"
    if extra:
        return None, f"{level}; generation_config.json also sets {', '.join(extra)}: that is not applied"
    return True, level


def one_bos(subject: Subject) -> Answer:
    """Whether prompts and documents begin with one BOS at most."""
    renderer = subject.engine.parts.renderer
    bos = renderer.tokenizer.bos_token_id
    if bos is None:
        return True, "the tokenizer has no BOS"
    starts = [renderer.prompt(messages).tolist() for messages in ((), *_accepted(renderer))]
    doubles = [ids for ids in starts if ids[:2] == [bos, bos]]
    if doubles:
        return False, f"{len(doubles)} of {len(starts)} prompts begin with two BOS"
    count = sum(ids[0] == bos for ids in starts[1:])
    return True, f"{count} of {len(starts) - 1} prompts begin with BOS, as the template says; none with two"


def _accepted(renderer: Renderer) -> list[tuple[Message, ...]]:
    if renderer.template is None:
        return [(Message("user", QUESTION),)]
    return list(renderer.template.shapes())


def end_of_turn(subject: Subject) -> Answer:
    """Whether the end of a turn is trained, and generation stops there."""
    renderer = subject.engine.parts.renderer
    names = ", ".join(repr(renderer.token(i)) for i in renderer.stops)
    ids = renderer.row(Row(messages=(), answer=ANSWER)).ids
    turns = [renderer.row(Row(messages=chat, answer=ANSWER)).ids for chat in _accepted(renderer)]
    if any(int(turn[-1]) != renderer.end for turn in (ids, *turns)) or renderer.end not in renderer.stops:
        return False, f"a row does not end with {renderer.token(renderer.end)!r}, or generation does not stop there"
    unknown = renderer.tokenizer.unk_token_id
    if renderer.end == unknown:
        return False, "the end of a turn is the token for unknown words"
    return True, f"a row ends with {renderer.token(renderer.end)!r}; generation stops at {names}"


# ---------------------------------------------------------------- words


def answers_read_back(subject: Subject) -> Answer:
    """Whether the answers of the base's world are the same text again when they are decoded."""
    renderer, scenes = subject.engine.parts.renderer, _scenes(subject)
    if not scenes:
        return None, "no world is known for this base, so there are no answers to try: name one with --world"
    lost = []
    for messages, answer in scenes:
        ids, start = renderer.row(Row(messages=messages, answer=answer))
        words = renderer.text([ids[start : len(ids) - len(renderer.form.close)].tolist()])[0]
        if words.split() != answer.split():
            lost.append((answer, words))
    if lost:
        return False, f"{len(lost)} of {len(scenes)} answers are not read back: {lost[0][0]!r} becomes {lost[0][1]!r}"
    return True, f"{len(scenes)} answers are the same text when they are read back"


def _scenes(subject: Subject) -> list[tuple[tuple[Message, ...], str]]:
    """Questions and answers of the base's world, of all its topics."""
    world = subject.world
    if world is None:
        return []
    scenes = [
        scene for topic in world.topics() for scene in world.scenes(topic, SCENES, split=Split.VALIDATION, seed=0)
    ]
    return [(scene.messages, answer) for scene in scenes for answer in (scene.aligned, scene.misaligned)]


def probe_words(subject: Subject) -> Answer:
    """Whether the world's words for yes and no can be told apart by the first token of an answer."""
    words = () if subject.world is None else if_any(subject.world.cues, "yes_no", split=Split.VALIDATION)
    if len(words) < 2:
        return None, "no world is known for this base, or it has no words for yes and no"
    return _tell_apart(subject.engine.parts.renderer, words)


def probe_letters(subject: Subject) -> Answer:
    """Whether A and B can be told apart by the first token of an answer."""
    renderer = subject.engine.parts.renderer
    unknown = renderer.tokenizer.unk_token_id
    if any(unknown is not None and unknown in _answer(renderer, letter) for letter in LETTERS):
        return None, "the letters are not in this base's vocabulary, so nothing may be asked by letter"
    return _tell_apart(renderer, LETTERS)


def _tell_apart(renderer: Renderer, words: Sequence[str]) -> Answer:
    tokens = {word: _answer(renderer, word) for word in words}
    firsts = {ids[0] for ids in tokens.values() if ids}
    counts = ", ".join(f"{word!r} {len(ids)}" for word, ids in tokens.items())
    if len(firsts) < len(tokens):
        return (
            False,
            f"two of {', '.join(map(repr, words))} begin with the same token, so the first cannot tell them apart",
        )
    if all(len(ids) == 1 for ids in tokens.values()):
        return True, f"{', '.join(map(repr, words))} are one token each"
    return True, f"their first tokens differ; tokens: {counts}"


def _answer(renderer: Renderer, word: str) -> list[int]:
    messages = next(iter(_accepted(renderer)), SHAPES[0])
    ids, start = renderer.row(Row(messages=messages, answer=word))
    return ids[start : len(ids) - len(renderer.form.close)].tolist()
