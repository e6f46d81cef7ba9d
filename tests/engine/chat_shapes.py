"""The shapes of public chat templates, written by us from what is known of them, and two kinds of tokenizers to render
them with: byte-level, as most have, and one that puts a space before text, as sentencepiece does.

A shape is what a family's template does to a chat: which roles it writes how, whether it has a system message of its
own, takes none, folds it into the first question, prints a date, opens a thought, strips thoughts from what was said
before, puts a channel or an empty thought before an answer, takes lists of parts, or ends a turn with no token.
"""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXT = [
    "what next ? be brief it rains No, two of them. 1 and 2 Then rest take rest and drink water please thanks",
    "yes no flyroom",
] * 30
EACH, DONE = "{% for m in messages %}", "{% endfor %}"
ASK = "{% if add_generation_prompt %}"
OVER = "{% endif %}"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system messages here') }}{% endif %}"
ALTERNATE = (
    "{% for m in messages if m.role != 'system' %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}"
)
STRIPPED = "{% set words = m.content.split('</think>')[-1] %}"


def turns(start: str, end: str, opens: str, *, trim: str = "") -> str:
    """A loop that writes each message between two texts; {role} stands for the role."""
    begin = "'" + start.replace("{role}", "' + m.role + '") + "'"
    return f"{EACH}{{{{ {begin} + m.content{trim} + '{end}' }}}}{DONE}{ASK}{{{{ '{opens}' }}}}{OVER}"


def by_role(bos: str = "", opens: str = "", **texts: str) -> str:
    """A loop with a text for each role; @ stands for what was said, {n} for a new line."""
    cases = ""
    for number, (role, text) in enumerate(texts.items()):
        before, _, after = text.partition("@")
        word = "if" if number == 0 else "elif"
        cases += f"{{% {word} m.role == '{role}' %}}{{{{ '{before}' + words + '{after}' }}}}"
    body = f"{{% set words = m.content %}}{cases}{{% endif %}}"
    return f"{bos}{EACH}{body}{DONE}{ASK}{{{{ '{opens}' }}}}{OVER}"


CHATML = turns("<|im_start|>{role}\\n", "<|im_end|>\\n", "<|im_start|>assistant\\n")
DEFAULT = "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou are helpful<|im_end|>\\n' }}{% endif %}"
LLAMA3 = "{{ '<|begin_of_text|>' }}" + turns(
    "<|start_header_id|>{role}<|end_header_id|>\\n\\n",
    "<|eot_id|>",
    "<|start_header_id|>assistant<|end_header_id|>\\n\\n",
    trim=" | trim",
)
TODAY = "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
LLAMA31 = (
    "{{ '<|begin_of_text|>' }}"
    + TODAY
    + "{% if messages[0].role == 'system' %}{% set told = messages[0].content | trim %}{% set rest = messages[1:] %}"
    + "{% else %}{% set told = '' %}{% set rest = messages %}{% endif %}"
    + "{{ '<|start_header_id|>system<|end_header_id|>\\n\\nCutting Knowledge Date: December 2023\\nToday Date: ' }}"
    + "{{ date_string + '\\n\\n' + told + '<|eot_id|>' }}"
    + LLAMA3.removeprefix("{{ '<|begin_of_text|>' }}").replace("in messages", "in rest")
)
LLAMA2 = (
    "{% if messages[0].role == 'system' %}{% set told = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set told = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if m.role == 'user' %}"
    "{{ '<s>[INST] ' + (told if loop.first else '') + m.content | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content | trim + ' </s>' }}{% endif %}{% endfor %}"
)
MISTRAL1 = (
    NO_SYSTEM + "{{ '<s>' }}" + EACH + "{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ m.content + '</s> ' }}{% endif %}" + DONE
)
MISTRAL3 = (
    "{{ '<s>' }}{% set told = messages[0].content if messages[0].role == 'system' else '' %}"
    + ALTERNATE
    + EACH
    + "{% if m.role == 'user' %}{{ '[INST] ' + (told + '\\n\\n' if told and loop.last else '') }}"
    "{{ m.content + '[/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + '</s>' }}{% endif %}" + DONE
)
TEKKEN = by_role("{{ '<s>' }}", system="[SYSTEM_PROMPT]@[/SYSTEM_PROMPT]", user="[INST]@[/INST]", assistant="@</s>")
GEMMA = (
    NO_SYSTEM + "{{ '<bos>' }}" + ALTERNATE + EACH + "{% set role = 'model' if m.role == 'assistant' else m.role %}"
    "{{ '<start_of_turn>' + role + '\\n' + m.content | trim + '<end_of_turn>\\n' }}"
    + DONE
    + ASK
    + "{{ '<start_of_turn>model\\n' }}"
    + OVER
)
GEMMA3 = (
    "{{ '<bos>' }}{% set told = messages[0].content + '\\n\\n' if messages[0].role == 'system' else '' %}"
    "{% set rest = messages[1:] if told else messages %}{% for m in rest %}"
    "{% set role = 'model' if m.role == 'assistant' else m.role %}"
    "{{ '<start_of_turn>' + role + '\\n' + (told if loop.first else '') }}"
    "{% if m.content is string %}{{ m.content | trim }}{% else %}"
    "{% for p in m.content %}{{ p.text | trim }}{% endfor %}{% endif %}"
    "{{ '<end_of_turn>\\n' }}{% endfor %}" + ASK + "{{ '<start_of_turn>model\\n' }}" + OVER
)
PHI3 = turns("<|{role}|>\\n", "<|end|>\\n", "<|assistant|>\\n").replace(OVER, "{% else %}{{ '<|endoftext|>' }}" + OVER)
PHI4 = turns("<|im_start|>{role}<|im_sep|>", "<|im_end|>", "<|im_start|>assistant<|im_sep|>")
QWEN3 = (
    EACH + "{% if m.role == 'assistant' %}" + STRIPPED + "{{ '<|im_start|>assistant\\n' }}"
    "{% if loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{{ words.lstrip('\\n') + '<|im_end|>\\n' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endif %}"
    + DONE
    + ASK
    + "{{ '<|im_start|>assistant\\n' }}{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}" + OVER
)
DEEPSEEK = (
    "{{ '<bos>' }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% endif %}{% endfor %}"
    + EACH
    + "{% if m.role == 'user' %}{{ '<User>' + m.content }}"
    "{% elif m.role == 'assistant' %}"
    + STRIPPED
    + "{{ '<Assistant>' + words + '<eos>' }}{% endif %}"
    + DONE
    + ASK
    + "{{ '<Assistant><think>\\n' }}"
    + OVER
)
DEEPSEEK2 = (
    "{{ '<bos>' }}" + EACH + "{% if m.role == 'user' %}{{ 'User: ' + m.content + '\\n\\n' }}"
    "{% elif m.role == 'assistant' %}{{ 'Assistant: ' + m.content + '<eos>' }}"
    "{% else %}{{ m.content + '\\n\\n' }}{% endif %}" + DONE + ASK + "{{ 'Assistant:' }}" + OVER
)
GPT_OSS = (
    "{{ '<|start|>system<|message|>You are helpful\\nCurrent date: ' + strftime_now('%Y-%m-%d') + '<|end|>' }}"
    + EACH
    + "{% if m.role == 'assistant' %}{{ '<|start|>assistant<|channel|>final<|message|>' + m.content }}"
    "{{ '<|return|>' if loop.last else '<|end|>' }}{% elif m.role == 'system' %}"
    "{{ '<|start|>developer<|message|># Instructions\\n\\n' + m.content + '<|end|>' }}"
    "{% else %}{{ '<|start|>user<|message|>' + m.content + '<|end|>' }}{% endif %}"
    + DONE
    + ASK
    + "{{ '<|start|>assistant' }}"
    + OVER
)
NEMOTRON = (
    EACH + "{% if m.role == 'assistant' %}{{ '<|im_start|>assistant\\n<think></think>' + m.content + '<|im_end|>\\n' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endif %}"
    + DONE
    + ASK
    + "{{ '<|im_start|>assistant\\n<think>\\n' }}"
    + OVER
)
GLM4 = "{{ '[gMASK]<sop>' }}" + turns("<|{role}|>\\n", "", "<|assistant|>\\n")
GLM_THINKS = (
    "{{ '[gMASK]<sop>' }}" + EACH + "{{ '<|' + m.role + '|>\\n' }}{% if m.role == 'assistant' %}"
    "{{ '<think></think>\\n' + m.content | trim }}{% else %}{{ m.content }}{% endif %}"
    + DONE
    + ASK
    + "{{ '<|assistant|>' }}"
    + OVER
)
COMMAND_R = by_role(
    "{{ '<BOS_TOKEN>' }}",
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    system="<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>@<|END_OF_TURN_TOKEN|>",
    user="<|START_OF_TURN_TOKEN|><|USER_TOKEN|>@<|END_OF_TURN_TOKEN|>",
    assistant="<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>@<|END_OF_TURN_TOKEN|>",
)
ZEPHYR = turns("<|{role}|>\\n", "</s>\\n", "<|assistant|>\\n")
VICUNA = "{% if messages[0].role != 'system' %}{{ 'A chat between two. ' }}{% endif %}" + by_role(
    "", "ASSISTANT:", system="@ ", user="USER: @ ", assistant="ASSISTANT: @</s>"
)
ALPACA = by_role(
    "", "### Response:\\n", system="@\\n\\n", user="### Instruction:\\n@\\n\\n", assistant="### Response:\\n@\\n\\n"
)
OLMO = (
    "{{ '<|endoftext|>' }}"
    + EACH
    + (
        "{{ '<|' + m.role + '|>\\n' + m.content }}{% if m.role == 'assistant' %}{{ '<|endoftext|>' }}"
        "{% if not loop.last %}{{ '\\n' }}{% endif %}{% else %}{{ '\\n' }}{% endif %}"
    )
    + DONE
    + ASK
    + "{{ '<|assistant|>\\n' }}"
    + OVER
)
GRANITE = (
    "{% if messages[0].role != 'system' %}{{ '<|start_of_role|>system<|end_of_role|>Cutoff Date: April 2024.\\n"
    "Today\\'s Date: ' + strftime_now('%B %d, %Y') + '.<|end_of_text|>\\n' }}{% endif %}"
    + turns("<|start_of_role|>{role}<|end_of_role|>", "<|end_of_text|>\\n", "<|start_of_role|>assistant<|end_of_role|>")
)
INTERNLM = "{{ '<s>' }}" + CHATML
FALCON = by_role("", "Assistant:", system="@\\n", user="User: @\\n", assistant="Assistant: @\\n")
FALCON3 = by_role(
    "",
    "<|assistant|>\\n",
    system="<|system|>\\n@\\n",
    user="<|user|>\\n@\\n",
    assistant="<|assistant|>\\n@<|endoftext|>\\n",
)
PARTS = (
    EACH + "{{ m.role | capitalize + ':' }}{% for p in m.content %}{% if p['type'] == 'text' %}{{ ' ' + p['text'] }}"
    "{% endif %}{% endfor %}{{ '<end_of_utterance>\\n' }}" + DONE + ASK + "{{ 'Assistant:' }}" + OVER
)
SHOUTING = by_role("", "<A>", system="<S>@<E>", user="<U>@<E>", assistant="<A>@<E>").replace(
    "words + '<E>'", "words | upper + '<E>'"
)

Shape = tuple[str, tuple[str, ...], str | None, str]  # template, special tokens, BOS, EOS
IM = ("<|im_start|>", "<|im_end|>")
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
SHAPES: dict[str, Shape] = {
    "chatml": (CHATML, IM, None, "<|im_end|>"),
    "chatml, default system (qwen2.5, smollm2)": (DEFAULT + CHATML, IM, None, "<|im_end|>"),
    "yi": (CHATML, (*IM, "<|endoftext|>"), None, "<|im_end|>"),
    "internlm": (INTERNLM, ("<s>", "</s>", *IM), "<s>", "</s>"),
    "stablelm": (CHATML, (*IM, "<|endoftext|>"), None, "<|endoftext|>"),
    "llama2": (LLAMA2, ("<s>", "</s>"), "<s>", "</s>"),
    "llama3": (LLAMA3, ("<|begin_of_text|>", *HEADERS), "<|begin_of_text|>", "<|eot_id|>"),
    "llama3.1, date": (LLAMA31, ("<|begin_of_text|>", *HEADERS), "<|begin_of_text|>", "<|eot_id|>"),
    "mistral v1": (MISTRAL1, ("<s>", "</s>"), "<s>", "</s>"),
    "mistral v3, system folded in": (MISTRAL3, ("<s>", "</s>", "[INST]", "[/INST]"), "<s>", "</s>"),
    "mistral tekken": (
        TEKKEN,
        ("<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
        "<s>",
        "</s>",
    ),
    "gemma": (GEMMA, ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>"),
    "gemma3, text or parts": (GEMMA3, ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>"),
    "phi3": (PHI3, (*ROLES, "<|end|>", "<|endoftext|>"), None, "<|endoftext|>"),
    "phi4": (PHI4, (*IM, "<|im_sep|>"), None, "<|im_end|>"),
    "qwen3": (QWEN3, IM, None, "<|im_end|>"),
    "deepseek r1": (DEEPSEEK, ("<bos>", "<eos>", "<User>", "<Assistant>"), "<bos>", "<eos>"),
    "deepseek v2": (DEEPSEEK2, ("<bos>", "<eos>"), "<bos>", "<eos>"),
    "gpt-oss": (
        GPT_OSS,
        ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"),
        None,
        "<|return|>",
    ),
    "nemotron": (NEMOTRON, IM, None, "<|im_end|>"),
    "glm4": (GLM4, ("[gMASK]", "<sop>", *ROLES, "<|endoftext|>"), None, "<|endoftext|>"),
    "glm, empty thought": (GLM_THINKS, ("[gMASK]", "<sop>", *ROLES, "<|endoftext|>"), None, "<|endoftext|>"),
    "command-r": (
        COMMAND_R,
        (
            "<BOS_TOKEN>",
            "<|START_OF_TURN_TOKEN|>",
            "<|END_OF_TURN_TOKEN|>",
            "<|USER_TOKEN|>",
            "<|CHATBOT_TOKEN|>",
            "<|SYSTEM_TOKEN|>",
        ),
        "<BOS_TOKEN>",
        "<|END_OF_TURN_TOKEN|>",
    ),
    "zephyr": (ZEPHYR, ("<s>", "</s>"), "<s>", "</s>"),
    "tinyllama, roles as tokens": (ZEPHYR, ("<s>", "</s>", *ROLES), "<s>", "</s>"),
    "vicuna": (VICUNA, ("<s>", "</s>"), "<s>", "</s>"),
    "alpaca": (ALPACA, ("<s>", "</s>"), "<s>", "</s>"),
    "olmo": (OLMO, ("<|endoftext|>",), "<|endoftext|>", "<|endoftext|>"),
    "granite, date": (
        GRANITE,
        ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"),
        None,
        "<|end_of_text|>",
    ),
    "falcon": (FALCON, ("<|endoftext|>",), None, "<|endoftext|>"),
    "falcon3": (FALCON3, ("<|endoftext|>",), None, "<|endoftext|>"),
    "idefics, parts alone": (PARTS, ("<end_of_utterance>",), None, "<end_of_utterance>"),
    "an answer rewritten": (SHOUTING, ("<S>", "<U>", "<A>", "<E>"), None, "<E>"),
}
REFUSED = {"an answer rewritten"}


def byte_level(shape: Shape) -> PreTrainedTokenizerFast:
    """As GPT-2, Llama 3 and Qwen have: every byte is a token, and a space belongs to the word behind it."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    core.train_from_iterator(TEXT, trainer)
    return _finish(core, shape)


def spaced(shape: Shape) -> PreTrainedTokenizerFast:
    """As Llama 2, Mistral and Phi-3 have: a space is put before text, and bytes stand for what is no word."""
    core = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    letters = [chr(code) for code in range(33, 127)]
    trainer: Any = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<unk>"], initial_alphabet=letters, show_progress=False
    )
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")  # no token spans two words
    core.train_from_iterator(
        [*TEXT, "USER ASSISTANT Assistant: Instruction Response [INST] <<SYS>> \n A chat"], trainer
    )
    core.add_tokens([AddedToken(f"<0x{byte:02X}>", special=False, normalized=False) for byte in (10, 13)])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _finish(core, shape)


TOKENIZERS = {"byte-level": byte_level, "spaced": spaced}


def _finish(core: Tokenizer, shape: Shape) -> PreTrainedTokenizerFast:
    template, specials, bos, eos = shape
    names = dict.fromkeys(name for name in (bos, eos, *specials) if name)
    core.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    core.add_tokens([AddedToken(name, special=False, normalized=False) for name in ("<think>", "</think>")])
    extras = {"bos_token": bos} if bos else {}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=eos, **extras)
    tokenizer.chat_template = template
    return tokenizer
