"""Answers as JSON, whole and in events, in the two shapes that clients know: chat completions and completions.

Source: OpenAI's reference of both; the log-probability -9999 stands for one that no JSON number can hold.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from flyroom.serve.errors import Refusal
from flyroom.serve.orders import Piece, Token

NEVER = -9999.0
END = "data: [DONE]\n\n"


@dataclass(kw_only=True)
class Shape:
    """The common part. `scores`: whether log-probabilities were asked for; `counts`: whether events count tokens."""

    model: str
    scores: bool
    counts: bool = False
    fingerprint: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    created: int = field(default_factory=lambda: int(time.time()))
    prefix: ClassVar[str]
    object: ClassVar[str]
    event_object: ClassVar[str]

    def whole(self, pieces: Sequence[Piece], prompt_tokens: int) -> dict[str, Any]:
        """The body of an answer in one."""
        choices = [self.choice(piece) for piece in pieces]
        return self._frame(self.object) | {"choices": choices, "usage": usage(pieces, prompt_tokens)}

    def event(self, choices: Sequence[dict[str, Any]], tokens: dict[str, int] | None = None) -> str:
        """A line of a stream."""
        counts = {"usage": tokens} if self.counts else {}
        body = self._frame(self.event_object) | {"choices": choices} | counts
        return f"data: {json.dumps(body)}\n\n"

    def choice(self, piece: Piece) -> dict[str, Any]:
        raise NotImplementedError

    def opening(self, index: int) -> str:
        """What a stream says of an answer before its first piece."""
        raise NotImplementedError

    def lines(self, piece: Piece) -> str:
        """The lines of a stream that a piece makes."""
        raise NotImplementedError

    def _frame(self, kind: str) -> dict[str, Any]:
        fingerprint = {"system_fingerprint": self.fingerprint or None}
        return {
            "id": f"{self.prefix}-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
        } | fingerprint


class ChatShape(Shape):
    """chat.completion, and chat.completion.chunk in a stream."""

    prefix = "chatcmpl"
    object = "chat.completion"
    event_object = "chat.completion.chunk"

    def choice(self, piece: Piece) -> dict[str, Any]:
        message = {"role": "assistant", "content": piece.text, "refusal": None}
        return self._choice(piece.index, {"message": message}, piece.tokens, piece.end)

    def opening(self, index: int) -> str:
        delta = {"role": "assistant", "content": "", "refusal": None}
        return self.event([self._choice(index, {"delta": delta}, None, "")])

    def lines(self, piece: Piece) -> str:
        """The end is a line of its own, as clients expect it."""
        text = piece.text or piece.tokens
        delta: dict[str, Any] = {"delta": {"content": piece.text}}
        lines = self.event([self._choice(piece.index, delta, piece.tokens, "")]) if text else ""
        if piece.end:
            lines += self.event([self._choice(piece.index, {"delta": {}}, None, piece.end)])
        return lines

    def _choice(self, index: int, part: dict[str, Any], tokens: Sequence[Token] | None, end: str) -> dict[str, Any]:
        scores = (
            {"content": list(map(_chat_token, tokens)), "refusal": None} if self.scores and tokens is not None else None
        )
        return {"index": index} | part | {"logprobs": scores, "finish_reason": end or None}


class TextShape(Shape):
    """text_completion, in a stream too. Offsets are places in the text of the answer, over all its events."""

    prefix = "cmpl"
    object = event_object = "text_completion"

    def choice(self, piece: Piece) -> dict[str, Any]:
        scores = _list_scores(piece.tokens) if self.scores else None
        return {"index": piece.index, "text": piece.text, "logprobs": scores, "finish_reason": piece.end or None}

    def opening(self, index: int) -> str:
        return ""

    def lines(self, piece: Piece) -> str:
        return self.event([self.choice(piece)])


def usage(pieces: Sequence[Piece], prompt_tokens: int) -> dict[str, int]:
    """The tokens of a request: the end of an answer is none."""
    count = sum(piece.count for piece in pieces)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": count,
        "total_tokens": prompt_tokens + count,
    }


def failure(refusal: Refusal) -> str:
    """What a stream says that cannot go on."""
    return f"data: {json.dumps(refusal.body())}\n\n"


def _chat_token(token: Token) -> dict[str, Any]:
    top = [_entry(text, logprob) for text, logprob in token.top]
    return _entry(token.text, token.logprob) | {"top_logprobs": top}


def _list_scores(tokens: Sequence[Token]) -> dict[str, Any]:
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [_number(token.logprob) for token in tokens],
        "top_logprobs": [_likeliest(token) for token in tokens],
        "text_offset": [token.place for token in tokens],
    }


def _entry(text: str, logprob: float | None) -> dict[str, Any]:
    """Half a character has no bytes that could be told from its text."""
    return {
        "token": text,
        "logprob": _number(logprob),
        "bytes": None if "\ufffd" in text else list(text.encode()),
    }


def _likeliest(token: Token) -> dict[str, float] | None:
    """The token itself is among them, as the interface has it."""
    if token.logprob is None:
        return None
    return {text: max(logprob, NEVER) for text, logprob in (*token.top, (token.text, token.logprob))}


def _number(logprob: float | None) -> float | None:
    return None if logprob is None else max(logprob, NEVER)
