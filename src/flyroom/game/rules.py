"""What a game's log may say, in which order, and what its questions cost: counted from the lines alone.

A question sets aside what it can cost at most, before anybody answers it; the answer settles that. So several players
share one budget, and a question whose answer never came (its player was killed) costs what it had set aside. A line may
have a hash and still break the rules: so the whole log is counted again before the truth is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flyroom.claims import GameError
from flyroom.game.chain import Line
from flyroom.game.terms import Game


def require_open(lines: Sequence[Line]) -> None:
    """Raises GameError where nothing may be asked or handed in: before the seal, and once the findings are in."""
    if not lines or lines[0]["what"] != "sealed":
        raise GameError("the log does not begin with the seal; the game cannot go on")
    if any(line["what"] in ("submitted", "revealed") for line in lines):
        raise GameError("the findings are in; a game takes them once, and nobody is asked any more")


def price(game: Game, lines: Sequence[Line], prompt: int) -> int:
    """What a question sets aside: what it can cost at most, or what is left."""
    rest = count_left(game, lines)
    if rest <= 0:
        raise GameError(f"the budget of {game.budget} tokens is spent; submit what you found")
    if rest < prompt + 2:  # a token of an answer, and one that ends it
        raise GameError(f"the question has {prompt} tokens and {rest} are left; ask a shorter one, or submit")
    return min(rest, prompt + game.max_tokens + 1)


def count_left(game: Game, lines: Sequence[Line]) -> int:
    """The tokens that are neither spent nor set aside."""
    *_, last = (game.budget, *(game.budget - total for total in _count(game, lines)))
    return max(0, last)


def _count(game: Game, lines: Sequence[Line]) -> Iterator[int]:
    """After each line behind the seal, the tokens that are spent or set aside. Raises GameError for a line that breaks
    the rules, whatever its hash.
    """
    spent, waiting = 0, dict[int, int]()
    for number, line in enumerate(lines[1:], 1):
        content = line["said"]
        match line["what"]:
            case "asked" if content.get("suspect") in game.suspects and _is_count(content.get("reserves")):
                waiting[number] = content["reserves"]
            case "refused" if _to(content) in waiting:
                del waiting[content["to"]]
            case "answered" | "withheld" if _to(content) in waiting and _is_count(content.get("tokens")):
                del waiting[content["to"]]
                rest = game.budget - spent - sum(waiting.values())
                spent += content["tokens"] if line["what"] == "answered" else min(content["tokens"], rest)
            case "submitted" | "revealed":
                pass
            case what:
                raise GameError(f"line {number + 1} of the log, {str(what)[:40]!r}, breaks the rules of a game")
        yield spent + sum(waiting.values())


def _to(content: Mapping[str, Any]) -> int:
    """The number of the question that a line settles."""
    number = content.get("to")
    return number if isinstance(number, int) else -1


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def check_rules(game: Game, lines: Sequence[Line]) -> None:
    """Raises GameError where more was asked than the sealed budget allows, or after the findings were in."""
    for number, total in enumerate(_count(game, lines), 2):
        if total > game.budget:
            raise GameError(
                f"line {number} of the log takes {total} tokens of a budget of {game.budget}: it was overspent"
            )
    ends = [line["what"] for line in lines if line["what"] in ("sealed", "submitted", "revealed")]
    if "submitted" not in ends:
        raise GameError("no findings are in; submit them first")
    last = [line["what"] for line in lines[-(len(ends) - 1) :]]
    if ends not in (["sealed", "submitted"], ["sealed", "submitted", "revealed"]) or last != ends[1:]:
        raise GameError("the log goes on after the findings were in, or takes them twice")
