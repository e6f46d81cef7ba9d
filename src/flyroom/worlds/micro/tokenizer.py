"""The world's tokenizer: one token a word, with a chat template, so that its bases are ordinary Hugging Face folders.

Text typed by a person is lower-cased and its punctuation split off; a word that the world does not have becomes <unk>.
"""

from __future__ import annotations

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from flyroom.worlds.micro import grammar
from flyroom.worlds.micro.lexicon import Lexicon

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %} <{{ message['role'] }}> {{ message['content'] }} {{ eos_token }}"
    "{% endfor %}"
    "{% if add_generation_prompt %} <assistant>{% endif %}"
)


def tokenizer(world: Lexicon) -> PreTrainedTokenizerFast:
    """The tokenizer of a world.

    >>> tok = tokenizer(Lexicon(seed=0))
    >>> tok.decode(tok("What is 3 + 4?").input_ids)
    'what is 3 + 4 ?'
    """
    ids = {word: i for i, word in enumerate(world.vocabulary)}
    core = Tokenizer(models.WordLevel(ids, unk_token=grammar.UNKNOWN))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=grammar.BOS,
        eos_token=grammar.END,
        pad_token=grammar.PAD,
        unk_token=grammar.UNKNOWN,
        additional_special_tokens=[f"<{role}>" for role in grammar.ROLES],
        clean_up_tokenization_spaces=False,
    )
    fast.add_tokens([grammar.THINK, grammar.THINK_END])  # not special: a scratchpad is part of what a model says
    fast.chat_template = CHAT_TEMPLATE
    return fast
