"""The text of an answer as its tokens come: up to the first stop text, and in pieces that a client can append.

A piece holds only what no later token changes: not half a character, not the beginning of what may become a stop text,
and no trailing spaces of a chat's answer, which are stripped from its end. So the pieces of a stream are, put together,
the text that comes in one.

Left out: an answer's special tokens, which are no text; they stand among the log-probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

SPAN = 64  # tokens after which what lies before them need not be decoded again
TRIES = 8  # tokens among which a place is looked for where a text can be decoded in two
HALF = "\ufffd"  # what a decoder writes for the beginning of a character


class Writer:
    """Takes the tokens of one answer. `strips`: whether outer spaces are none of it. `keeps_up` is False where nobody
    reads before the end; then only a stop text makes it decode each token.
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        *,
        stops: Sequence[str] = (),
        strips: bool = True,
        keeps_up: bool = True,
    ) -> None:
        self._decode, self._stops, self._strips = decode, stops, strips
        self._looks = keeps_up or bool(stops)
        self._fixed, self._rest = "", list[int]()
        self._shown, self._ends = 0, list[int]()  # of each token, where its text ends
        self._listed = 0
        self.text, self.stopped = "", False

    def add(self, token: int) -> bool:
        """Returns whether the answer has come to a stop text, which is cut off.

        >>> letters = Writer(lambda ids: "".join(map(chr, ids)), stops=["lo"])
        >>> [letters.add(ord(letter)) for letter in "hello"], letters.text
        ([False, False, False, False, True], 'hel')
        """
        self._rest.append(token)
        if self._looks:
            self.text = self._decode_all()
            ends = [end for stop in self._stops if (end := self.text.find(stop, self._shown)) >= 0]
            self.text, self.stopped = (self.text[: min(ends)], True) if ends else (self.text, False)
        self._ends.append(len(self.text))
        return self.stopped

    @property
    def ends(self) -> list[int]:
        """Of each token, where its text ends."""
        return list(self._ends)

    def place(self, word: str) -> int:
        """Where in the text the token that was added last begins, whose own text is `word`: some tokenizers write a
        space before it that is none of it. A special token has the place between its neighbours.
        """
        end, start = self._ends[-1], self._ends[-2] if len(self._ends) > 1 else 0
        return find_word(self.text, word, min(start, end), end)

    def close(self) -> None:
        """The answer has ended: what was held back is its text too."""
        if not self.stopped:
            self.text = self._decode_all()
            if self._strips:
                self.text = self.text.rstrip()
        self._ends = [min(end, len(self.text)) for end in self._ends]

    def piece(self, *, last: bool = False) -> str:
        """What can be shown and was not yet."""
        end = len(self.text) if last or self.stopped else self._find_safe()
        start, self._shown = self._shown, max(end, self._shown)
        return self.text[start:end]

    def count(self, *, last: bool = False) -> int:
        """How many more tokens lie in what was shown: whole, or at the end those that begin in it."""
        before, total = self._listed, len(self._ends)
        if last:
            starts = [0, *self._ends[:-1]]
            self._listed = sum(start < self._shown for start in starts) if self.stopped else total
        else:
            while self._listed < total and self._ends[self._listed] <= self._shown:
                self._listed += 1
        return max(0, self._listed - before)

    def _find_safe(self) -> int:
        text = self.text.rstrip(HALF)  # half a character may go on as what a stop text has in its place
        heads = [n for stop in self._stops for n in range(1, len(stop)) if text.endswith(stop[:n])]
        visible = text.rstrip() if self._strips else text
        return min(len(visible), len(text) - max(heads, default=0))

    def _decode_all(self) -> str:
        """The text so far. Where a long one is the same when it is decoded in two, its beginning is decoded no more."""
        rest = self._decode(self._rest)
        if len(self._rest) % SPAN == 0:
            for n in range(len(self._rest) - TRIES, len(self._rest)):
                head, tail = self._decode(self._rest[:n]), self._decode(self._rest[n:])
                if head + tail == rest and not head.endswith(HALF):
                    self._fixed, self._rest, rest = self._fixed + head, self._rest[n:], tail
                    break
        text = self._fixed + rest
        return text.lstrip() if self._strips else text


def find_word(text: str, word: str, start: int, end: int) -> int:
    """Where a token begins whose text lies between two places: where it stands there as it is, else at the first.

    >>> find_word("who are", "are", 3, 7), find_word("who are", "<end>", 7, 7)
    (4, 7)
    """
    place = text.find(word, start, end)
    return start if place < 0 else place
