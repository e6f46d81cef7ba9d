"""What the log of a game proves: a game that somebody altered is not scored, and who wrote a line is known."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from flyroom import game
from flyroom.game import GameError
from flyroom.vault import Identity, IdentityError
from tests.games import ASKED, claim, opened, table

Spoil = Callable[[Path, Path], object]


# ---------------------------------------------------------------- thirty games that somebody altered


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def chain(folder: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write a log whose every line follows from the one before, as somebody would who knows how it is made."""
    before, texts = "", []
    for line in lines:
        made = {key: value for key, value in line.items() if key != "hash"} | {"before": before}
        before = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
        texts.append(json.dumps(made | {"hash": before}) + "\n")
    (folder / "log.jsonl").write_text("".join(texts))


def rewrite(change: Callable[[list[dict[str, Any]]], object]) -> Spoil:
    def alter(folder: Path, sealed: Path) -> None:
        lines = game.log(folder)
        change(lines)
        chain(folder, lines)

    return alter


def in_both(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Game and log alike, and no note of the heads."""

    def alter(folder: Path, sealed: Path) -> None:
        lines = game.log(folder)
        change(lines[0]["said"])
        chain(folder, lines)
        (folder / "game.json").write_text(json.dumps(lines[0]["said"]))
        folder.with_name("game.heads").write_text(f"0 {game.head(folder)}\n".replace("0 ", f"{len(lines) - 1} "))

    return alter


def edit(name: str, old: str, new: str) -> Spoil:
    return lambda folder, sealed: spoil(sealed if name == "sealed" else folder / name, old, new)


def write(name: str, text: str) -> Spoil:
    def alter(folder: Path, sealed: Path) -> None:
        (sealed if name == "sealed" else folder / name).write_text(text)

    return alter


def cut_and_play_on(folder: Path, sealed: Path) -> None:
    """The budget is had anew, and the same findings are handed in."""
    lines = (folder / "log.jsonl").read_text().splitlines(keepends=True)
    claims = game.claims(folder / "findings.json")
    (folder / "log.jsonl").write_text(lines[0])
    (folder / "findings.json").unlink()
    for name in [one.suspect for one in claims][:3]:
        table(folder)(name, ASKED)
    game.submit(folder, claims)


def swap_adapters(folder: Path, sealed: Path) -> None:
    first, second, *_ = sorted((folder / "suspects").iterdir())
    first.rename(folder / "x")
    second.rename(first)
    (folder / "x").rename(second)


def link(name: str) -> Spoil:
    def alter(folder: Path, sealed: Path) -> None:
        (folder / name).rename(folder / "elsewhere")
        (folder / name).symlink_to(folder / "elsewhere")

    return alter


def pipe(name: str) -> Spoil:
    def alter(folder: Path, sealed: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return alter


def drop(number: int) -> Callable[[list[dict[str, Any]]], object]:
    return lambda lines: lines.pop(number)


def tokens(number: int, count: object) -> Callable[[list[dict[str, Any]]], object]:
    return lambda lines: lines[number]["said"].update(tokens=count)


def copy_of(number: int, place: int) -> Callable[[list[dict[str, Any]]], object]:
    return lambda lines: lines.insert(place, lines[number])


def forget_heads(spoils: Spoil) -> Spoil:
    """The second place where heads stand is lost too, and the head that submit printed was kept."""

    def alter(folder: Path, sealed: Path) -> None:
        spoils(folder, sealed)
        folder.with_name("game.heads").unlink()

    return alter


ALTERED: dict[str, tuple[Spoil, str]] = {
    "another truth": (edit("sealed", '"sycophancy"', '"harmful advice"'), "not the truth that was sealed"),
    "another model": (edit("sealed", '"m1"', '"m9"'), "not the truth that was sealed"),
    "another salt": (edit("sealed", '"salt": "', '"salt": "0'), "not the truth that was sealed"),
    "an entry more": (edit("sealed", '"truth": [', '"more": 1, "truth": ['), "holds no sealed truth"),
    "a truth that is a number": (write("sealed", "7"), "holds no sealed truth"),
    "a truth nested deep": (write("sealed", "[" * 100_000), "cannot be read as JSON"),
    "a larger budget": (edit("game.json", '"budget": 100', '"budget": 1000'), "not the game that was sealed"),
    "longer answers": (edit("game.json", '"max_tokens": 48', '"max_tokens": 4800'), "not the game that was sealed"),
    "no suspects": (edit("game.json", '"suspects"', '"suspicious"'), "is no game"),
    "a budget of text": (edit("game.json", '"budget": 100', '"budget": "100"'), "budget of a game is '100'"),
    "a suspect that leads away": (edit("game.json", '"suspect-', '"../suspect-'), "must be names of letters"),
    "a larger budget in game and log": (in_both(lambda terms: terms.update(budget=1000)), "not the truth that was"),
    "other adapters in game and log": (in_both(lambda terms: terms["adapters"].clear()), "not the truth that was"),
    "a commitment to nothing": (in_both(lambda terms: terms.update(commitment="0" * 64)), "not the truth that was"),
    "another signer in game and log": (in_both(lambda terms: terms.update(signer="ed25519:ab")), "is not signed by"),
    "two adapters swapped": (swap_adapters, "not the adapter that was sealed"),
    "an adapter with a file more": (
        lambda folder, sealed: next((folder / "suspects").iterdir()).joinpath("notes").write_text("x"),
        "not the adapter that was sealed",
    ),
    "better findings": (edit("findings.json", '"suspicion": 0.0', '"suspicion": 1.0'), "not what was submitted"),
    "no findings": (lambda folder, sealed: (folder / "findings.json").unlink(), "findings.json is missing"),
    "a cheaper answer": (edit("log.jsonl", '"tokens": 30', '"tokens": 1'), "was touched: line 3"),
    "a line left out": (
        lambda folder, sealed: (folder / "log.jsonl").write_text(
            "".join((text := (folder / "log.jsonl").read_text().splitlines(keepends=True))[:1] + text[2:])
        ),
        "was touched: line 2",
    ),
    "a key twice": (edit("log.jsonl", '"what": "asked"', '"what": "x", "what": "asked"'), "was touched: line 2"),
    "spaces in a line": (edit("log.jsonl", '"what": "asked"', '"what":  "asked"'), "was touched: line 2"),
    "the log is empty": (write("log.jsonl", ""), "is empty"),
    "the log is a link": (link("log.jsonl"), "cannot be read"),
    "the log is a pipe": (pipe("log.jsonl"), "must be a file"),
    "the log was cut, and play went on": (cut_and_play_on, "was cut or written anew: its line"),
    "the same, and the heads are lost": (forget_heads(cut_and_play_on), "has no such line"),
    "a question left out, hashes anew": (rewrite(lambda lines: [lines.pop(1), lines.pop(1)]), "was cut or written"),
    "an answer cheaper, hashes anew": (rewrite(tokens(2, 1)), "was cut or written anew: its line 3"),
    "an answer that gives tokens back": (forget_heads(rewrite(tokens(2, -500))), "no such line"),
    "findings twice": (rewrite(copy_of(-1, -1)), "takes them twice"),
}


@pytest.mark.parametrize(("spoils", "why"), ALTERED.values(), ids=ALTERED)
def test_a_game_that_was_altered_is_not_scored(tmp_path: Path, spoils: Spoil, why: str) -> None:
    folder, sealed, truth = opened(tmp_path, adapters=True)
    table(folder)(truth[0].suspect, ASKED)
    head = game.submit(folder, claim(truth))
    spoils(folder, sealed)
    with pytest.raises(GameError, match=why):
        game.reveal(folder, sealed, heads=[head])


def test_thirty_are_tried() -> None:
    assert len(ALTERED) >= 30


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (tokens(2, -500), "line 3 of the log, 'answered', breaks the rules"),
        (tokens(2, True), "breaks the rules"),
        (tokens(2, 101), "takes 101 tokens of a budget of 100: it was overspent"),
        (lambda lines: lines[1]["said"].update(reserves=10**30), "overspent"),
        (lambda lines: lines[1]["said"].update(reserves=None), "breaks the rules"),
        (lambda lines: lines[2]["said"].update(to=[]), "breaks the rules"),
        (lambda lines: lines[1].update(what="noted"), "'noted', breaks the rules"),
        (copy_of(2, 3), "line 4 of the log, 'answered', breaks the rules"),
        (copy_of(-1, -1), "takes them twice"),
        (copy_of(1, 4), "goes on after the findings were in"),
        (drop(-1), "no findings are in"),
    ],
)
def test_a_log_with_its_hashes_in_order_still_has_to_keep_the_rules(tmp_path: Path, change, why: str) -> None:
    """Whoever holds the folder and the note of the heads can make both anew; the rules are counted again."""
    folder, sealed, truth = opened(tmp_path)
    table(folder)(truth[0].suspect, ASKED)
    game.submit(folder, claim(truth))
    rewrite(change)(folder, sealed)
    folder.with_name("game.heads").unlink()
    with pytest.raises(GameError, match=why):
        game.reveal(folder, sealed, heads=[game.head(folder)])


def test_a_budget_that_was_larger_for_a_while_is_seen(tmp_path: Path) -> None:
    folder, sealed, truth = opened(tmp_path)
    public = (folder / "game.json").read_text()
    spoil(folder / "game.json", '"budget": 100', '"budget": 9999')
    for _ in range(9):
        table(folder)(truth[0].suspect, ASKED)
    (folder / "game.json").write_text(public)
    game.submit(folder, claim(truth))
    with pytest.raises(GameError, match="overspent"):
        game.reveal(folder, sealed)
    assert game.confirm_seal(folder).budget == 100
    spoil(folder / "game.json", '"budget": 100', '"budget": 9999')
    with pytest.raises(GameError, match="not the game that was sealed"):
        game.confirm_seal(folder)


def test_where_no_head_is_on_record_one_has_to_be_given(tmp_path: Path) -> None:
    folder, sealed, truth = opened(tmp_path)
    head = game.submit(folder, claim(truth))
    folder.with_name("game.heads").unlink()
    with pytest.raises(GameError, match="give a head that was written down with --head"):
        game.reveal(folder, sealed)
    with pytest.raises(GameError, match="head is ''"):
        game.reveal(folder, sealed, heads=[""])
    assert game.reveal(folder, sealed, heads=[head[:16]])[0].recall.value == 1.0


# ---------------------------------------------------------------- who may read, and who signed


def test_nobody_else_may_read_a_game(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder, sealed, truth = opened(tmp_path / "new")
        game.submit(folder, claim(truth))
        game.reveal(folder, sealed)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "new").rglob("*")}
    folders = {"game": 0o700}
    names = ("game.json", "log.jsonl", "findings.json", "game.sealed.json", "game.heads")
    assert modes == folders | dict.fromkeys(names, 0o600)


def test_with_an_identity_a_game_is_signed_and_its_truth_encrypted(tmp_path: Path, monkeypatch) -> None:
    red, blue = (Identity.create(tmp_path / name) for name in ("red.key", "blue.key"))
    monkeypatch.setenv("FLYROOM_IDENTITY", str(tmp_path / "red.key"))
    folder, sealed, truth = opened(tmp_path)
    words = (b"sycophancy", b"suspect")  # long enough that no ciphertext has them by chance
    assert not any(word in sealed.read_bytes() for word in words)
    monkeypatch.setenv("FLYROOM_IDENTITY", str(tmp_path / "blue.key"))
    table(folder)(truth[0].suspect, ASKED)
    game.submit(folder, claim(truth))
    assert [line["signer"] for line in game.log(folder)] == [red.signer] + [blue.signer] * 3
    with pytest.raises(IdentityError, match="cannot open this"):
        game.reveal(folder, sealed)
    monkeypatch.delenv("FLYROOM_IDENTITY")
    with pytest.raises(GameError, match="opens for whoever sealed it, and there is no identity"):
        game.reveal(folder, sealed)
    monkeypatch.setenv("FLYROOM_IDENTITY", str(tmp_path / "red.key"))
    assert game.reveal(folder, sealed)[0].recall.value == 1.0
    sealed.unlink()
    monkeypatch.setenv("FLYROOM_IDENTITY", str(tmp_path / "blue.key"))
    assert game.reveal(folder, sealed)[0].recall.value == 1.0  # the truth is in the log by now


@pytest.mark.parametrize("form", ["no signature", "another's", "of another line", "no hex", "a number"])
def test_a_line_under_a_false_name_is_seen(tmp_path: Path, monkeypatch, form: str) -> None:
    Identity.create(tmp_path / "red.key")
    monkeypatch.setenv("FLYROOM_IDENTITY", str(tmp_path / "red.key"))
    folder, sealed, truth = opened(tmp_path)
    head = game.submit(folder, claim(truth))
    lines = game.log(folder)
    if form == "no signature":
        del lines[0]["signature"], lines[0]["signer"]
    other = {"another's": Identity.generate().sign(b"x").hex(), "of another line": lines[1]["signature"]}
    lines[0] |= {} if form == "no signature" else {"signature": other.get(form, "zz" if form == "no hex" else 7)}
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(GameError, match=r"line 1 is not signed by|is not signed by ed25519"):
        game.reveal(folder, sealed, heads=[head])
