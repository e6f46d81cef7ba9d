"""The sealed game: a red side enters models, a blue side audits them on a budget, and nobody can change the entries.

A commitment seals red's truth and the terms of the game, with the budget and the hashes of the adapters that blue gets:
the public game holds, from its first moment, the SHA-256 of both and a random salt. Each of blue's actions is a line in
a log (`chain`). A question takes what it can cost at most out of the budget before it is answered, so that neither
one question nor several players overspend it. When the truth is opened, the game checks commitment, adapters, log and
heads, and counts the tokens again, before it scores anything.

A game is a folder with `game.json` (names, catalogue, budget, commitment), `log.jsonl`, and blue's `findings.json`. The
truth is a separate file, which red keeps elsewhere until the end; where red has an identity, it alone opens that file.

Left out: an umpire. Whoever may write in the folder and beside it could write the whole log anew. So every step shows
the hash of the last line, for the other side to write down and give to `reveal`.
Source: commitments, Blum 1983; the game, Marks et al. 2025, arXiv 2503.10965.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flyroom.claims import NOTHING, Claim, GameError, Side, check, to_record
from flyroom.game.chain import LOG, Line, append, confirm, read_file, read_log
from flyroom.game.opening import begin, end, mark_opening, require_vacant
from flyroom.game.rules import check_rules, count_left, price, require_open
from flyroom.game.scoring import Tally, score
from flyroom.game.terms import (
    GAME,
    SUSPECTS,
    Entered,
    Game,
    check_seal,
    commit,
    hash_folder,
    list_terms,
    open_truth,
    parse_json,
    read,
    to_row,
)
from flyroom.types import ANSWER_TOKENS, Answer, Ask, Message, has_half
from flyroom.vault import current
from flyroom.vault.identity import encrypt
from flyroom.vault.private import write_over

__all__ = [
    "FINDINGS",
    "GAME",
    "LOG",
    "NOTHING",
    "SUSPECTS",
    "Claim",
    "Entered",
    "Game",
    "GameError",
    "Table",
    "Tally",
    "begin",
    "claims",
    "confirm_seal",
    "draw",
    "head",
    "log",
    "read",
    "require_vacant",
    "reveal",
    "score",
    "seal",
    "submit",
]
FINDINGS = "findings.json"
LONGEST = 1_000_000  # characters of a question


# ---------------------------------------------------------------- red


def draw(entered: Sequence[tuple[str, str]], *, sides: Mapping[str, Side] | None = None) -> list[Entered]:
    """Shuffle red's entries, (model, behaviour) each, and give them names that say nothing. `sides` has what each is,
    by model.

    Raises GameError for no organism, no harmless suspect, or a model that is entered twice.
    """
    behaviours = [behaviour for _, behaviour in entered]
    if len({model for model, _ in entered}) < len(entered):
        raise GameError("a model stands twice among those entered; enter each once")
    if NOTHING not in behaviours or set(behaviours) == {NOTHING}:
        raise GameError("a game needs organisms and harmless suspects, twins or decoys; enter both")
    order = secrets.SystemRandom().sample(list(entered), len(entered))
    names = [f"suspect-{secrets.token_hex(4)}" for _ in order]
    side_of = (sides or {}).get
    return [Entered(suspect=s, model=m, behaviour=b, side=side_of(m)) for s, (m, b) in zip(names, order, strict=True)]


def seal(
    truth: Sequence[Entered],
    folder: Path,
    sealed: Path,
    *,
    base: str,
    budget: int,
    max_tokens: int = ANSWER_TOKENS,
    catalogue: Sequence[str] = (),
) -> Game:
    """Write the truth to `sealed`, which only red may read, and open the game in `folder`, where the suspects' adapters
    lie already, if `begin` was called and there are any. `catalogue` has behaviours that may be claimed besides those
    that were entered.

    Raises GameError as `require_vacant` does, and for a budget below 1.
    """
    require_vacant(folder, sealed)
    identity, salt = current(), secrets.token_hex(32)
    suspects = tuple(entry.suspect for entry in truth)
    terms = {
        "suspects": suspects,
        "catalogue": tuple(sorted({*catalogue, *(entry.behaviour for entry in truth)} - {NOTHING})),
        "budget": budget,
        "base": base,
        "max_tokens": max_tokens,
        "adapters": {name: digest for name in suspects if (digest := hash_folder(folder / SUSPECTS / name))},
        "signer": identity.signer if identity else "",
    }
    game = Game(**terms, commitment=commit(salt, truth, terms))
    secret = json.dumps({"salt": salt, "truth": [to_row(entry) for entry in truth]}, indent=1).encode()
    write_over(sealed, encrypt(secret, [identity.recipient]) if identity else secret)
    mark_opening(folder)
    (folder / LOG).unlink(missing_ok=True)  # a killed call may have left one
    append(folder, lambda lines: ("sealed", asdict(game)))
    write_over(folder / GAME, json.dumps(asdict(game), indent=1).encode())
    end(folder)
    return game


# ---------------------------------------------------------------- blue


@dataclass(frozen=True)
class Table:
    """Blue's seat: it asks suspects by name until the budget is spent, and logs each question before it is answered.

    `ask` puts questions to suspects by name and returns the answers and the tokens that they cost. `measure` says how
    many tokens a suspect reads before it answers; an answer is then cut where the budget ends. Without it the cost is
    known only afterwards, and an answer that cost more than was left is not shown.
    """

    folder: Path
    ask: Callable[[Sequence[str], Sequence[Ask]], tuple[list[Answer], int]]
    measure: Callable[[Sequence[Message]], int] | None = None

    @property
    def budget_left(self) -> int:
        """The tokens of the budget that are neither spent nor set aside for a question that waits for its answer."""
        return count_left(read(self.folder), read_log(self.folder))

    def __call__(self, suspect: str, messages: Sequence[Message], *, seed: int | None = None) -> str:
        """Returns one answer. Raises GameError for an unknown suspect, a text that cannot be asked, a spent budget, and
        once the findings are in.
        """
        game = read(self.folder)
        if suspect not in game.suspects:
            raise GameError(f"suspect is {suspect[:100]!r}; it must be one of {', '.join(game.suspects)}")
        _check_texts(messages)
        prompt = self.measure(messages) if self.measure else 0

        def reserve(lines: Sequence[Line]) -> tuple[str, Mapping[str, Any]]:
            number = len(lines) if seed is None else seed
            question = {"suspect": suspect, "messages": [list(m) for m in messages], "seed": number}
            return "asked", question | {"reserves": price(game, lines, prompt)}

        number, entry = self._append(reserve)
        limit = min(game.max_tokens, entry["reserves"] - prompt - 1) if self.measure else game.max_tokens
        question = Ask(messages=tuple(messages), seed=entry["seed"], max_tokens=limit)
        try:
            (answer,), tokens = self.ask([suspect], [question])
        except ValueError:  # such as a prompt longer than the base's context: nothing was read
            self._append(lambda lines: ("refused", {"to": number}))
            raise

        def settle(lines: Sequence[Line]) -> tuple[str, Mapping[str, Any]]:
            affordable = tokens <= count_left(game, lines) + entry["reserves"]
            content = {"to": number, "tokens": max(1, tokens)}
            return ("answered", content | {"text": answer.text}) if affordable else ("withheld", content)

        _, reply = self._append(settle)
        if "text" not in reply:
            raise GameError(
                f"the answer took {tokens} tokens, more than were left; it is not shown, submit what you saw"
            )
        return answer.text

    def _append(
        self, compose: Callable[[Sequence[Line]], tuple[str, Mapping[str, Any]]]
    ) -> tuple[int, Mapping[str, Any]]:
        """The number and the content of the line that was written. GameError where blue may not write one any more."""
        numbers = list[int]()

        def write_open(lines: Sequence[Line]) -> tuple[str, Mapping[str, Any]]:
            numbers.append(len(lines))
            require_open(lines)
            return compose(lines)

        content = append(self.folder, write_open)["said"]
        return numbers[-1], content


def submit(folder: Path, claims: Sequence[Claim]) -> str:
    """Hand in the findings, once. Returns the hash of the log, which the other side writes down.

    Raises GameError unless there is one finite claim for each suspect, with a behaviour of the catalogue or "nothing".
    """
    game = read(folder)
    check(claims, game.suspects, game.catalogue)
    findings = [asdict(claim) for claim in claims]

    def hand_in(lines: Sequence[Line]) -> tuple[str, Mapping[str, Any]]:
        require_open(lines)
        return "submitted", {"findings": findings}

    lines = read_log(folder)
    killed = lines[-1]["what"] == "submitted" and not (folder / FINDINGS).exists()
    if killed and lines[-1]["said"] == {"findings": findings}:
        head = lines[-1]["hash"]  # a call was killed between the log and the file
    else:
        head = append(folder, hand_in)["hash"]
    write_over(folder / FINDINGS, json.dumps(findings, indent=1).encode())
    return head


# ---------------------------------------------------------------- the end


def reveal(folder: Path, sealed: Path, *, heads: Sequence[str] = ()) -> tuple[Tally, list[Entered]]:
    """Open the truth, check that nothing changed since it was sealed, and score the findings: (scores, truth).

    Args: heads, hashes of lines that somebody wrote down, or starts of them. Raises GameError where the truth or the
    game does not match the commitment, adapters, log or findings were changed, the budget was overspent, or no findings
    are in.
    """
    game, lines = read(folder), read_log(folder)
    opened = open_truth(sealed, lines)
    truth = [to_record(Entered, row) for row in opened["truth"]]
    check_seal(folder, game, lines)
    if commit(opened["salt"], truth, list_terms(game)) != game.commitment:
        raise GameError(
            f"{sealed} is not the truth that was sealed with {folder / GAME}: their hash is not the commitment"
        )
    confirm(folder, lines, heads)
    check_rules(game, lines)
    findings = parse_json(read_file(folder / FINDINGS), folder / FINDINGS)
    submission, *revelation = lines[-1 - (lines[-1]["what"] == "revealed") :]
    if submission["said"] != {"findings": findings}:
        raise GameError(f"{folder / FINDINGS} is not what was submitted: it differs from the log")
    if revelation and revelation[0]["said"] != {"truth": opened}:
        raise GameError(f"the truth in the last line of {folder / LOG} is not that of {sealed}")
    result = score(truth, _check_claims(findings, game), catalogue=game.catalogue)
    if not revelation:
        append(folder, lambda lines: ("revealed", {"truth": opened}))
    return result, truth


def confirm_seal(folder: Path) -> Game:
    """The game, if it is the one that was sealed, with the adapters that were. GameError where it is not."""
    game = read(folder)
    check_seal(folder, game, read_log(folder))
    return game


def log(folder: Path) -> list[Line]:
    """Returns every line of the log. Raises GameError at the first line that does not follow from the one before."""
    return read_log(folder)


def head(folder: Path) -> str:
    """Returns the hash of the last line. Whoever wrote it down can tell later whether a line before it changed."""
    return read_log(folder)[-1]["hash"]


def claims(path: Path) -> list[Claim]:
    """Read blue's findings from a file. Raises GameError naming what is wrong."""
    rows = parse_json(read_file(path.resolve()), path)
    if not isinstance(rows, list):
        raise GameError(f"{path} holds no list of findings")
    return [to_record(Claim, row) for row in rows]


def _check_claims(findings: Any, game: Game) -> list[Claim]:
    if not isinstance(findings, list):
        raise GameError("the log holds no list of findings")
    claims = [to_record(Claim, row) for row in findings]
    check(claims, game.suspects, game.catalogue)
    return claims


def _check_texts(messages: Sequence[Message]) -> None:
    """Raises GameError for what no tokenizer takes."""
    if not messages:
        raise GameError("messages is []; it must hold one at least")
    if sum(len(message.content) for message in messages) > LONGEST:
        raise GameError(f"messages has more than {LONGEST} characters; ask a shorter question")
    if any(has_half(message.content) for message in messages):
        raise GameError("messages holds half a character (a lone surrogate); it must be text")
