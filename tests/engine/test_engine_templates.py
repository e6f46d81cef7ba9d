"""Templates and tokenizers as public bug reports have them: a turn is the template's own, or it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chat_shapes
import pytest
import transformers
from chat_shapes import CHATML, IM
from tokenizers import AddedToken, processors

from flyroom.engine.form import fix_date
from flyroom.engine.render import Renderer
from flyroom.types import Message, NotAvailable, Row

DAY = "2026-01-01"
QUESTION, SYSTEM = Message("user", "take rest ?"), Message("system", "be brief")
CHATS = ((QUESTION,), (SYSTEM, QUESTION), (QUESTION, Message("assistant", "it rains"), Message("user", "what next ?")))
REASONING = (  # as Qwen3 has it: a thought of the last turn is kept, and stands in place of the empty one
    "{% for m in messages %}{% if m.role == 'assistant' %}{% set words = m.content %}{% set why = '' %}"
    "{% if '</think>' in words %}{% set why = words.split('</think>')[0].rstrip('\\n').split('<think>')[-1] %}"
    "{% set words = words.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
    "{{ '<|im_start|>assistant\\n' }}{% if loop.last or why %}"
    "{{ '<think>\\n' + why.strip('\\n') + '\\n</think>\\n\\n' }}{% endif %}{{ words + '<|im_end|>\\n' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
GENERATION = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}"
    "{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TRIMMED = CHATML.replace("m.content +", "(m.content | trim) +")
SKIPPED = "{% for m in messages %}{% if m.content == '-' %}{% continue %}{% endif %}"


def byte_level(template: Any, bos: str | None = None, eos: str = "<|im_end|>", *more: str) -> Any:
    tokenizer = chat_shapes.byte_level((CHATML, (*IM, *more), bos, eos))
    tokenizer.chat_template = template
    return tokenizer


def with_ends() -> Any:
    """A tokenizer that adds BOS and EOS to whatever it is given, with a template that writes BOS too."""
    tokenizer = byte_level("{{ bos_token }}" + CHATML, "<s>", "</s>", "<s>", "</s>")
    ends = [(t, tokenizer.convert_tokens_to_ids(t)) for t in ("<s>", "</s>")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=ends
    )
    return tokenizer


def greedy_tokens() -> Any:
    """Special tokens that swallow the white space about them."""
    tokenizer = byte_level(CHATML)
    tokens = [AddedToken(name, lstrip=True, rstrip=True, special=True) for name in IM]
    tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    return tokenizer


def bytes_alone() -> Any:
    """A tokenizer that is written in Python."""
    tokenizer = transformers.ByT5Tokenizer()
    tokenizer.chat_template = chat_shapes.by_role(
        opens="assistant: ", system="@</s>", user="user: @</s>", assistant="assistant: @</s>"
    )
    return tokenizer


WRITTEN: dict[str, Callable[[], Any]] = {
    "several, one is default": lambda: byte_level({"default": CHATML, "tool_use": "{{ tools }}"}),
    "a date by another name": lambda: byte_level("{% set f = strftime_now %}{{ f('%d %b') }}" + CHATML),
    "a date in a computed format": lambda: byte_level("{% set y = '%Y' %}{{ strftime_now(y + '-%m') }}" + CHATML),
    "a date in a macro": lambda: byte_level(
        '{% macro day(f) %}{{ strftime_now(f) }}{% endmacro %}{{ day("%Y") }}' + CHATML
    ),
    "a date if there is one": lambda: byte_level(
        "  {% if strftime_now is defined %}\n{{ strftime_now(format='%A %%') }}{% endif %}" + CHATML
    ),
    "generation marked": lambda: byte_level(GENERATION),
    "no generation prompt": lambda: byte_level(CHATML.split("{% if add_generation_prompt")[0]),
    "loops with controls": lambda: byte_level(CHATML.replace("{% for m in messages %}", SKIPPED)),
    "trimmed": lambda: byte_level(TRIMMED),
    "a BOS that the tokenizer adds too": with_ends,
    "no BOS to write": lambda: byte_level("{{ bos_token }}" + CHATML),
    "greedy special tokens": greedy_tokens,
    "one token for all": lambda: byte_level(CHATML, "<|endoftext|>", "<|endoftext|>", "<|endoftext|>"),
    "bytes alone": bytes_alone,
    "reasoning": lambda: byte_level(REASONING),
}


@pytest.mark.parametrize("make", WRITTEN.values(), ids=list(WRITTEN))
def test_a_turn_is_the_templates_own(make: Callable[[], Any]) -> None:
    tokenizer = make()
    renderer = Renderer(tokenizer)
    source = tokenizer.get_chat_template()
    template = fix_date(source, DAY) if renderer.dated else source
    for chat in CHATS:
        for answer in ("yes", " No, two of them.\n", "a\n\nb"):
            row = renderer.row(Row(messages=chat, answer=answer))
            turns = [{"role": m.role, "content": m.content} for m in (*chat, Message("assistant", answer))]
            own = list(tokenizer.apply_chat_template(turns, chat_template=template)["input_ids"])
            assert row.ids.tolist() == own[: len(row.ids)], tokenizer.decode(row.ids)
            assert renderer.text([row.ids[row.start : -1].tolist()]) == [answer.strip()]
            assert row.ids.tolist().count(tokenizer.bos_token_id) <= 1 or tokenizer.bos_token_id is None


BROKEN: dict[str, tuple[Callable[[], Any], str]] = {
    "several, none is default": (
        lambda: byte_level({"a": CHATML, "b": CHATML}),
        'a, b, and none of the name "default"',
    ),
    "no end of a loop": (lambda: byte_level("{% for m in messages %}"), "takes none of the chats .* Unexpected end"),
    "tools alone": (lambda: byte_level("{{ raise_exception('give tools') }}"), "takes none of the chats .* give tools"),
    "drawn at random": (lambda: byte_level("{{ range(99999) | random }}" + CHATML), "the same chat in several ways"),
}


@pytest.mark.parametrize(("make", "why"), BROKEN.values(), ids=list(BROKEN))
def test_a_template_that_cannot_be_relied_on_is_refused(make: Callable[[], Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Renderer(make())


def test_a_base_without_vectors_for_its_template_is_refused() -> None:
    tokenizer = byte_level(CHATML)
    with pytest.raises(ValueError, match=r"gives the token .* and the base has 300: it is not its own"):
        Renderer(tokenizer, vocabulary=300)
    assert Renderer(tokenizer, vocabulary=len(tokenizer), eos=[99_999]).end == tokenizer.eos_token_id


@pytest.mark.parametrize("answer", ["<think>\nwell\n</think>\n\nyes", "<think>well</think>yes", "well</think>yes"])
def test_a_thought_of_which_the_template_makes_something_else_is_refused(answer: str) -> None:
    row = Row(messages=(QUESTION,), answer=answer)
    for template in (REASONING, chat_shapes.QWEN3):
        with pytest.raises(NotAvailable, match=r"the chat template writes the answer .*leave it out of the answer"):
            Renderer(byte_level(template)).row(row)
    renderer = Renderer(byte_level(CHATML))  # which writes it as it is
    ids, start = renderer.row(row)
    assert renderer.text([ids[start:-1].tolist()]) == [answer]


def test_a_token_without_a_word_is_no_text() -> None:
    assert Renderer(bytes_alone()).text([[100, 9_999]]) == ["a"]
