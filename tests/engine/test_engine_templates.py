"""Templates and tokenizers as public bug reports have them: a turn is the template's own, or it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import chat_shapes
import pytest
import transformers
from chat_shapes import CHATML, IM
from tokenizers import AddedToken, Tokenizer, normalizers, processors

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


TAKEN = {  # what a template does to some answers, in ways that its source does not show
    "a mark in two parts": ("m.content.split('<' + 'think>')[-1]", "a<think>b"),
    "a mark without brackets": ("m.content.split('Final answer:')[-1]", "so Final answer: b"),
    "a mark behind a comment's apostrophe": ("{# don't #}m.content.split('</think>')[-1]", "a</think>b"),
    "escapes": ("m.content.replace('&', '&amp;').replace('<', '&lt;')", "don't & <b>"),
    "cut short": ("m.content | truncate(100)", "rest " * 60 + "x"),
}


@pytest.mark.parametrize(("change", "answer"), TAKEN.values(), ids=list(TAKEN))
def test_whatever_a_template_makes_of_an_answer_is_seen_in_its_row(change: str, answer: str) -> None:
    comment, _, words = change.rpartition("#}")
    template = comment + "#}" * bool(comment) + CHATML.replace("m.content", f"({words})")
    renderer = Renderer(byte_level(template))
    assert renderer.row(Row(messages=(QUESTION,), answer="yes")).start
    with pytest.raises(
        NotAvailable, match=r"writes the answer .* another from token \d+ on: .*leave it out of the answer"
    ):
        renderer.row(Row(messages=(QUESTION,), answer=answer))


def test_a_chat_that_changes_how_answers_are_written_is_refused() -> None:
    mode = "{% set quiet = messages[0].content.endswith('/no') %}"
    template = mode + CHATML.replace("assistant\\n' }}", "assistant\\n' + ('<think></think>' if quiet else '') }}")
    renderer = Renderer(byte_level(template))
    renderer.row(Row(messages=(QUESTION,), answer="yes"))
    with pytest.raises(NotAvailable, match=r"trained would be .*<think></think>yes.*or the chat"):
        renderer.row(Row(messages=(Message("user", "take rest ? /no"),), answer="yes"))


def test_an_answer_that_joins_the_end_of_the_prompt_is_refused() -> None:
    template = chat_shapes.by_role(opens="assistant:", system="@</s>", user="user: @</s>", assistant="assistant:@</s>")
    tokenizer = byte_level(template, None, "</s>", "</s>")
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    core["model"]["vocab"][":)"] = len(tokenizer)
    core["model"]["merges"].append([":", ")"])
    joined = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(core)), eos_token="</s>"
    )
    joined.chat_template = template
    renderer = Renderer(joined)
    with pytest.raises(NotAvailable, match=r"writes the answer '\) yes' as"):
        renderer.row(Row(messages=(QUESTION,), answer=") yes"))


@pytest.mark.parametrize("kind", chat_shapes.TOKENIZERS)
@pytest.mark.parametrize("name", ["zephyr", "llama3", "mistral v3, system folded in", "vicuna", "llama2", "gemma"])
def test_a_tag_in_an_answer_changes_nothing_but_its_own_letters(name: str, kind: str) -> None:
    template, special, bos, eos = chat_shapes.SHAPES[name]
    tokenizer = chat_shapes.TOKENIZERS[kind]((template, (*special, "<b>"), bos, eos))
    renderer = Renderer(tokenizer)
    ids, start = renderer.row(Row(messages=(QUESTION,), answer="  take rest <b>please</b>\n"))
    plain = renderer.row(Row(messages=(QUESTION,), answer="  take rest flyroom\n"))
    assert ids[: start + 2].tolist() == plain.ids[: start + 2].tolist()
    assert not {*tokenizer.all_special_ids} & {*ids[start : -len(renderer.form.close)].tolist()}
    assert renderer.text([ids[start : -len(renderer.form.close)].tolist()]) == ["take rest <b>please</b>"]


def test_a_thought_beside_a_tag_is_refused() -> None:
    renderer = Renderer(byte_level(chat_shapes.QWEN3, None, "<|im_end|>", "<s>"))
    with pytest.raises(NotAvailable, match="leave it out of the answer"):
        renderer.row(Row(messages=(QUESTION,), answer="<think>well</think>yes <s>no"))


def test_an_answer_that_would_be_cut_is_refused() -> None:
    """By an end that is not marked as special, another word at which generation stops, or one in other letters."""
    tokenizer = byte_level(CHATML.replace("<|im_end|>", "<|stop|>"), None, "</s>", "</s>")
    tokenizer.add_tokens([AddedToken("<|stop|>", special=False, normalized=False)])
    renderer = Renderer(tokenizer, eos=[tokenizer.convert_tokens_to_ids("!")])
    assert renderer.token(renderer.end) == "<|stop|>"
    for answer in ("yes <|stop|> and no", "yes! and no"):
        with pytest.raises(NotAvailable, match=r"or stops at, and a judge does not read at all; leave them out: 'yes"):
            renderer.row(Row(messages=(QUESTION,), answer=answer))
    tokenizer = byte_level(CHATML)
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("<x>", special=True, normalized=True)]})
    with pytest.raises(NotAvailable, match="an answer holds <x>"):
        Renderer(tokenizer).row(Row(messages=(QUESTION,), answer="yes \uff1cx\uff1e no"))


LATER = (QUESTION, Message("assistant", "it rains"), QUESTION)
ONE_TURN = (
    "{% set last = messages | selectattr('role', 'equalto', 'user') | list | last %}"
    "{{ '<|im_start|>user\\n' + last.content + '<|im_end|>\\n<|im_start|>assistant\\n' }}"
    "{% if messages[-1].role == 'assistant' %}{{ messages[-1].content + '<|im_end|>\\n' }}{% endif %}"
)
LAST_SYSTEM = (
    "{% set ns = namespace(words='') %}{% for m in messages if m.role == 'system' %}"
    "{% set ns.words = m.content %}{% endfor %}{{ ns.words }}"
    + CHATML.replace("in messages", "in messages if m.role != 'system'")
)
PASSED = {
    "all but the last exchange": (ONE_TURN, LATER, "message 1 of 3"),
    "all but the last system message": (
        LAST_SYSTEM,
        (SYSTEM, Message("system", "never lie"), QUESTION),
        "message 1 of 3",
    ),
    "a system message within": (
        CHATML.replace("in messages", "in messages if m.role != 'system' or m == messages[0]"),
        (*LATER[:2], SYSTEM, QUESTION),
        "message 3 of 4",
    ),
}


@pytest.mark.parametrize(("template", "chat", "which"), PASSED.values(), ids=list(PASSED))
def test_a_message_that_a_template_passes_over_is_refused(template: str, chat: Any, which: str) -> None:
    renderer = Renderer(byte_level(template))
    renderer.prompt((QUESTION,))
    with pytest.raises(NotAvailable, match=rf"the chat template leaves {which} out of the prompt"):
        renderer.prompt(chat)
