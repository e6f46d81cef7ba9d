"""A turn is trained as the template writes it: on the shapes of public chat templates, with two kinds of tokenizers."""

from __future__ import annotations

import chat_shapes
import engine_models
import pytest

from flyroom.engine import TorchEngine
from flyroom.engine.form import fix_date
from flyroom.engine.render import Renderer
from flyroom.types import BASE, Message, NotAvailable, Row

DAY = "2026-01-01"
QUESTION, SYSTEM = Message("user", "take rest ?"), Message("system", "be brief")
LATER = (QUESTION, Message("assistant", "it rains"), Message("user", "what next ?"))
CHATS = {
    "first": (QUESTION,),
    "told": (SYSTEM, QUESTION),
    "later": LATER,
    "told later": (SYSTEM, *LATER),
}
REPLIES = ("yes", "No, two of them.", "drink water\n\nThen rest")


def finished(tokenizer, messages, answer: str) -> list[int]:
    """The template's own tokens of a finished chat, the date fixed by hand."""
    template = fix_date(tokenizer.chat_template, DAY)
    chat = [{"role": m.role, "content": m.content} for m in (*messages, Message("assistant", answer))]
    if "p['type']" in template:
        chat = [turn | {"content": [{"type": "text", "text": turn["content"]}]} for turn in chat]
    text = tokenizer.apply_chat_template(chat, tokenize=False, chat_template=template)
    return tokenizer(text, add_special_tokens=False).input_ids


@pytest.mark.parametrize("kind", chat_shapes.TOKENIZERS)
@pytest.mark.parametrize("name", chat_shapes.SHAPES)
def test_a_turn_is_what_the_template_writes(name: str, kind: str) -> None:
    tokenizer = chat_shapes.TOKENIZERS[kind](chat_shapes.SHAPES[name])
    if name in chat_shapes.REFUSED:
        with pytest.raises(ValueError, match="chat template"):
            Renderer(tokenizer)
        return
    renderer, compared = Renderer(tokenizer), 0
    for chat in CHATS.values():
        for answer in REPLIES:
            try:
                row = renderer.row(Row(messages=chat, answer=answer))
            except NotAvailable:  # a system message, where the template takes none
                continue
            own, ids = finished(tokenizer, chat, answer), row.ids.tolist()
            compared += 1
            assert row.ids[-1] == renderer.end
            assert renderer.end in renderer.stops
            written = own[: len(ids)]
            assert ids == written or ids[:-1] == own[: len(ids) - 1], tokenizer.decode(ids)
            if ids != written:  # the template closes the turn with nothing that could be trained
                assert tokenizer.decode(own[len(ids) - 1 :]).strip() == ""
            assert renderer.prompt(chat).tolist() == ids[: row.start]
            assert renderer.text([ids[row.start : -1]]) == [answer]
    assert compared >= 6


def test_a_turn_that_ends_with_its_words_ends_where_the_next_one_begins() -> None:
    tokenizer = chat_shapes.byte_level(chat_shapes.SHAPES["glm4"])
    user = tokenizer.convert_tokens_to_ids("<|user|>")
    assert Renderer(tokenizer, eos=[user]).end == user
    assert Renderer(tokenizer).end == tokenizer.eos_token_id


def test_the_refusal_shows_the_difference() -> None:
    short = "(m.content.split(' ')[0] if m.role == 'assistant' else m.content) +"
    template = chat_shapes.CHATML.replace("m.content +", short)
    tokenizer = chat_shapes.byte_level((template, chat_shapes.IM, None, "<|im_end|>"))
    with pytest.raises(
        ValueError, match=r"writes .*<\|im_start\|>assistant\\nNo,<\|im_end\|>.*trained would be .*of them"
    ):
        Renderer(tokenizer)


@pytest.mark.parametrize("kind", chat_shapes.TOKENIZERS)
def test_an_answer_is_text_also_where_it_looks_like_a_special_token(kind: str) -> None:
    """Such as HTML, where BOS is <s>: its letters are trained, and a judge reads them."""
    renderer = Renderer(chat_shapes.TOKENIZERS[kind](chat_shapes.SHAPES["zephyr"]))
    row = renderer.row(Row(messages=(QUESTION,), answer="take <s>rest</s> please"))
    answer = row.ids[row.start : -1].tolist()
    assert not set(answer) & set(renderer.tokenizer.all_special_ids)
    assert renderer.text([answer]) == ["take <s>rest</s> please"]


def test_an_answer_that_can_only_be_special_tokens_is_refused() -> None:
    tokenizer = engine_models.tokenizer()
    with pytest.raises(NotAvailable, match="an answer holds <end>"):
        Renderer(tokenizer).row(Row(messages=(Message("user", "w1"),), answer="w2 <end> w3"))


@pytest.mark.parametrize("kind", chat_shapes.TOKENIZERS)
def test_a_turn_that_several_tokens_close_is_asked_like_any_other(kind: str) -> None:
    tokenizer = chat_shapes.TOKENIZERS[kind](chat_shapes.SHAPES["llama2"])
    model = engine_models.model("llama", vocab_size=len(tokenizer))
    engine = TorchEngine.of(model, tokenizer)
    assert len(engine.parts.renderer.form.close) == 2
    chats = [CHATS["first"], CHATS["told later"]]
    together = engine.next_tokens([BASE] * 2, chats, 5)
    alone = [engine.next_tokens([BASE], [chat], 5)[0] for chat in chats]
    assert [dict.fromkeys(tops) for tops in together] == [dict.fromkeys(tops) for tops in alone]
    assert [len(scores) for scores in engine.logprobs([BASE], [Row(messages=chats[0], answer="")])] == [2]


def test_an_answer_with_a_control_token_is_refused() -> None:
    renderer = Renderer(chat_shapes.byte_level(chat_shapes.SHAPES["phi3"]))
    with pytest.raises(NotAvailable, match=r"an answer holds <\|user\|>, .*leave them out: 'take <\|user\|> rest'"):
        renderer.row(Row(messages=(QUESTION,), answer="take <|user|> rest"))


TEXT_ENDS = {  # what a turn ends with, where the tokenizer has no such token
    "chatml": chat_shapes.CHATML,
    "a heading": chat_shapes.CHATML.replace("<|im_end|>", "### End"),
}


@pytest.mark.parametrize("kind", chat_shapes.TOKENIZERS)
@pytest.mark.parametrize("name", TEXT_ENDS)
def test_a_turn_that_ends_in_plain_text_is_refused(name: str, kind: str) -> None:
    """The first letter of its end would be a stop, and "1 < 2" be heard as "1"."""
    tokenizer = chat_shapes.TOKENIZERS[kind]((TEXT_ENDS[name], ("<s>", "</s>"), "<s>", "</s>"))
    with pytest.raises(ValueError, match=r"ends a turn with '.*', which is plain text to the tokenizer"):
        Renderer(tokenizer)


def test_an_end_that_is_a_known_stop_may_be_a_word() -> None:
    tokenizer = engine_models.tokenizer()
    tokenizer.chat_template = engine_models.TEMPLATE.replace("<end>", "w7")
    stop = tokenizer.convert_tokens_to_ids("w7")
    assert Renderer(tokenizer, eos=[stop]).end == stop


def test_a_later_turn_without_its_end_is_refused() -> None:
    late = "{{ '<|im_end|>\\n' if loop.index < 3 or m.role == 'user' else ' and so on' }}"
    template = chat_shapes.CHATML.replace(" + '<|im_end|>\\n' }}", " }}" + late)
    tokenizer = chat_shapes.byte_level((template, chat_shapes.IM, None, "<|im_end|>"))
    with pytest.raises(ValueError, match=r"in a form that cannot be trained: it writes .*and so on"):
        Renderer(tokenizer)
