"""The tokenizer in a folder, as its `tokenizer.json` says.

transformers 5 picks a class by `tokenizer_class` and `model_type`. Many of these take only the words of tokenizer.json,
and normalise and split text by constants of their own: every Qwen2 splits numbers as Qwen2 does, whatever lies in the
folder. So what was read is held against the file, on the words of its vocabulary and on texts in which normalisers and
splitters differ. Where they part, the file holds: it is what the makers published, and what the tokenizers library,
vLLM and transformers 4 read. So it is too for LlamaTokenizer without `legacy`: transformers 4 read the tokenizer.json
of Llama 2 and TinyLlama, which puts a space behind each special token, and models of them were tuned and served so.

Left out: folders without a tokenizer.json, where nothing says otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerFast

FILES = ("tokenizer*", "vocab*", "*.model", "*.tiktoken", "tekken.json")  # any of these is a tokenizer
WORDS = 4_000  # of the vocabulary that are encoded, evenly from all of it
ADDED = 100  # tokens that are put between words
ODD = (  # what normalisers and splitters differ in
    "The Cat's 12,345 cats — don't!",
    "caf\u00e9 cafe\u0301 \ufb01ne \u00bd \u4e2d\u6587 \U0001f98b",
    "  two  spaces\n\n\ttab\r\nline ",
    "a_b = [1, 2]; // https://example.org?q=1",
)


def has_tokenizer(folder: Path) -> bool:
    """Whether any file of a tokenizer lies in a folder."""
    return any(next(folder.glob(pattern), None) for pattern in FILES)


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder; whatever transformers raises where there is none that it can read. ValueError for one
    that cannot be read as its tokenizer.json says.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    file = folder / "tokenizer.json"
    if type(tokenizer) is PreTrainedTokenizerFast or not file.is_file():  # that class rebuilds nothing
        return tokenizer
    alone = PreTrainedTokenizerFast(tokenizer_file=str(file))
    text = _find_difference(tokenizer, alone)
    if text is None:
        return tokenizer
    plain = _read_plainly(folder, tokenizer)
    if _find_difference(plain, alone) is not None:
        name = tokenizer.init_kwargs.get("tokenizer_class") or type(tokenizer).__name__
        raise ValueError(
            f"tokenizer_class is {name!r}, which gives other tokens for {text!r:.60} than tokenizer.json does, and "
            "tokenizer_config.json changes that file too: give a folder in which the two agree"
        )
    return plain


def texts_for(tokenizer: Any) -> list[str]:
    """Texts that tell two tokenizers apart: odd ones, and words of the vocabulary."""
    numbers = sorted(tokenizer.get_vocab().values())
    return [*ODD, *(tokenizer.decode([number]) for number in numbers[:: max(1, len(numbers) // WORDS)])]


def encode_all(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return list(tokenizer(texts, add_special_tokens=False).input_ids)


def _read_plainly(folder: Path, tokenizer: Any) -> Any:
    """The tokenizer of the file, with the special tokens and templates of the files beside it. A class may have an EOS
    of its own where they name none: it stays.
    """
    plain = PreTrainedTokenizerFast.from_pretrained(folder)
    words, names = plain.get_vocab(), plain.special_tokens_map
    known = {name: text for name, text in tokenizer.special_tokens_map.items() if isinstance(text, str)}
    plain.add_special_tokens({name: text for name, text in known.items() if name not in names and text in words})
    return plain


def _find_difference(tokenizer: Any, alone: Any) -> str | None:
    """The first text that a tokenizer encodes, or reads back, in another way than that of the file alone."""
    texts = [*texts_for(alone), *(f"{token}{ODD[0]} {token}\n{token}" for token in [*alone.get_added_vocab()][:ADDED])]
    own = encode_all(alone, texts)
    for text, ids, own_ids in zip(texts, encode_all(tokenizer, texts), own, strict=True):
        if ids != own_ids:
            return text
    for text, ids in zip(ODD, own, strict=False):
        if _decode(tokenizer, ids) != _decode(alone, ids):
            return text
    return None


def _decode(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
