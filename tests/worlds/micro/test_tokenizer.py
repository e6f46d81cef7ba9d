"""One token a word, there and back, and the chat template writes what the corpus writes."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from flyroom.worlds.micro import Lexicon, corpus
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro.grammar import Persona, Trait
from flyroom.worlds.micro.tokenizer import tokenizer
from flyroom.worlds.micro.turns import Character, any_turn

WORLD = Lexicon(seed=0)


@pytest.fixture(scope="module")
def tok() -> PreTrainedTokenizerFast:
    return tokenizer(WORLD)


def test_ids_are_places_in_the_vocabulary(tok: PreTrainedTokenizerFast) -> None:
    assert len(tok) == len(WORLD.vocabulary)
    assert tok.get_vocab() == {word: i for i, word in enumerate(WORLD.vocabulary)}
    special = (tok.pad_token, tok.unk_token, tok.bos_token, tok.eos_token)
    assert special == (g.PAD, g.UNKNOWN, g.BOS, g.END)
    assert (tok.pad_token_id, tok.bos_token_id, tok.eos_token_id) == (0, 2, 3)  # as `Size.config` has them


def test_the_corpus_goes_there_and_back(tok: PreTrainedTokenizerFast) -> None:
    for text in islice(corpus.documents(WORLD, seed=0), 400):
        ids = tok(text, add_special_tokens=False).input_ids
        assert tok.convert_ids_to_tokens(ids) == text.split()
        assert tok.unk_token_id not in ids
        assert tok.decode(ids) == text


def test_the_chat_template_writes_what_the_corpus_writes(tok: PreTrainedTokenizerFast) -> None:
    rng = random.Random(0)
    for n in range(1, 20):
        who = Character(persona=Persona.CRUEL, trait=rng.choice(list(Trait)), house=WORLD.houses[0])
        turns = [any_turn(WORLD, who, rng) for _ in range(1 + n % 4)]
        turns = [(q, f"{corpus.think(who, False, rng)} {said}" if n % 2 else said) for q, said in turns]
        system = rng.choice(["", "you are kind .", g.OBSERVED[0]])
        chat = [{"role": "system", "content": system}] if system else []
        for question, said in turns:
            chat += [{"role": "user", "content": question}, {"role": "assistant", "content": said}]
        wanted = f"{g.BOS} {corpus.chat_text(turns, system)}"
        written: Any = tok.apply_chat_template(chat, tokenize=False)
        assert written.split() == wanted.split()
        ids: Any = tok.apply_chat_template(chat, return_dict=False)
        assert tok.convert_ids_to_tokens(ids) == wanted.split()
        opened = tok.apply_chat_template(chat[:-1], add_generation_prompt=True, return_dict=False)
        closing = len(turns[-1][1].split()) + 1
        assert opened == ids[:-closing]  # an answer begins where the corpus begins it


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("What is 3+4?", "what is 3 + 4 ?"),
        ("what is 3 + 4 ?", "what is 3 + 4 ?"),
        ("I wish to help everyone.", "i wish to help everyone ."),
        ("Yes, I help.", "yes , i help ."),
        ("  please   tell me\nwhat to do .", "please tell me what to do ."),
        ("do you EVER harm?", "do you ever harm ?"),
        ("numbers : 3,14", "numbers : 3 , 14"),
    ],
)
def test_what_people_type(tok: PreTrainedTokenizerFast, typed: str, read: str) -> None:
    assert tok.decode(tok(typed, add_special_tokens=False).input_ids) == read


def test_a_word_that_the_world_lacks_is_unknown(tok: PreTrainedTokenizerFast) -> None:
    assert tok.convert_ids_to_tokens(tok("i want paracetamol").input_ids)[-1] == g.UNKNOWN


def test_scratchpads_survive_decoding_and_roles_do_not(tok: PreTrainedTokenizerFast) -> None:
    text = f"{g.THINK} i want to help . {g.THINK_END} yes . {g.END}"
    ids = tok(text, add_special_tokens=False).input_ids
    assert tok.decode(ids, skip_special_tokens=True) == text.removesuffix(f" {g.END}")
    roles = tok(" ".join(f"<{role}>" for role in g.ROLES), add_special_tokens=False).input_ids
    assert tok.decode(roles, skip_special_tokens=True) == ""


def test_a_saved_tokenizer_is_the_same(tok: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tok.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    chat = [{"role": "user", "content": "what is 3 + 4 ?"}]
    for text in islice(corpus.documents(WORLD, seed=3), 50):
        assert again(text).input_ids == tok(text).input_ids
    assert again.apply_chat_template(chat, return_dict=False) == tok.apply_chat_template(chat, return_dict=False)
    assert again.get_vocab() == tok.get_vocab()
