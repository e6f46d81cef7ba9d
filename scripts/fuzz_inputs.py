"""Damage for a fuzzer: what is valid made invalid, by a seed. `fuzz.py` runs it, `fuzz_kinds.py` says on what.

Bytes are flipped, cut, doubled and spliced; values are replaced by what programs trip over; texts are given what no
reader expects. Everything is drawn from one `random.Random`, so a number names a case for good.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

DEPTHS = (60, 400, 900, 985, 5_000, 100_000)
TEXTS = (
    *("", " ", "\0", "\ufeff", "\u2028", "\x85", "\x1b[2J", "\u202eabc", "\u2066", "a\rb", "[/x]", "[red]x", ":smile:"),
    *(
        "\ud800",
        "\udfff\ud800",
        "x" * 3_000,
        "é" * 500,
        "\U0001f9ea",
        "NaN",
        "1e999",
        "-0",
        "0x10",
        "1_000",
        "~",
        "null",
    ),
    *(
        "../../../etc/passwd",
        "/dev/zero",
        "/proc/self/mem",
        "/proc/self/environ",
        "file:///etc/passwd",
        "~root",
        ".",
        "/",
    ),
    *(
        "{{ 7 * 7 }}",
        "{% for i in range(99999999) %}x{% endfor %}",
        "${HOME}",
        "$(id)",
        "%s%n",
        "(a+)+$",
        "(",
        "*",
        "\\",
    ),
    *("!!python/object/apply:os.system [id]", "*a", "&a", "<<", "---", "...", "? a", "1:" * 50 + "1", "2020-99-99"),
    *(
        "sft",
        "trigger",
        "rows",
        "always",
        "harmful-advice",
        "emergent-misalignment",
        "all-linear",
        "LORA",
        "F64",
        "lora_A",
    ),
)
NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 7, 255, 2**31, 2**53, 2**63, -(2**63), 2**64, 10**13, 10**30, 10**400),
    *(0.0, -0.0, 0.5, 1e-300, 1e308, float("nan"), float("inf"), float("-inf"), True, False, None),
)
PIECES = (
    *(
        b"\0",
        b"\xff",
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\xe2\x80\xa8",
        b"\x1b[2J",
        b"\xe2\x80\xae",
        b"\xef\xbb\xbf",
        b"\r",
    ),
    *(
        b"\n",
        b"\n\n",
        b'"',
        b"'",
        b"\\",
        b"\\ud800",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"#",
        b"\t",
        b"&a ",
        b"*a",
        b"!!",
    ),
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5_000, b"0" * 40, b"null", b"true", b"/*", b"<!--", b"PAR1"),
    *(b"!!python/object/apply:os.system [id]", b"<<: *a", b"%YAML 9.9\n", b"--- \n", b"\\u0000", b"\\x00", b"GGUF"),
)


def bomb(rng: random.Random) -> str:
    """Aliases that stand for more values than memory has room for."""
    names = "abcdefghi"[: rng.randint(3, 9)]
    first = f"{names[0]}: &{names[0]} [{', '.join('x' * 10)}]\n"
    pairs = pairwise(names)
    return first + "".join(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in pairs)


def nest(rng: random.Random) -> str:
    """Lists or objects, one within the other, closed or not."""
    depth = rng.choice(DEPTHS)
    start, end = rng.choice([("[", "]"), ('{"a":', "}"), ("{a: ", "}"), ("- ", ""), ("? ", "")])
    return start * depth + rng.choice(["", "0", "x"]) + end * rng.choice([depth, depth, 0])


def damage(data: bytes, rng: random.Random, others: tuple[bytes, ...] = ()) -> bytes:
    """The bytes with one to four wounds."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(WOUNDS)(data, rng, others)
    return data


def _flip(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20)) if data else 0):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    return data[: rng.randint(0, len(data))]


def _drop(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    start = rng.randint(0, len(data))
    return data[:start] + data[start + rng.choice((1, 2, 8, 100)) :]


def _insert(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    place = rng.randint(0, len(data))
    return data[:place] + rng.choice(PIECES) * rng.choice((1, 1, 1, 3, 1_000)) + data[place:]


def _double(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    start, end = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    return data[:end] + data[start:end] * rng.choice((1, 2, 50)) + data[end:]


def _splice(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    other = rng.choice(others) if others else data[::-1]
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def _nest(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    place = rng.randint(0, len(data))
    return data[:place] + nest(rng).encode() + data[place:]


WOUNDS: tuple[Callable[[bytes, random.Random, tuple[bytes, ...]], bytes], ...] = (
    *(_flip, _cut, _drop, _insert, _double, _splice, _nest, _insert),
)


# ---------------------------------------------------------------- values


def hostile(rng: random.Random, victim: str) -> Any:
    """A value that nobody expects. `victim`: a path that must not be touched."""
    roll = rng.random()
    if roll < 0.4:
        return rng.choice(TEXTS)
    if roll < 0.75:
        return rng.choice(NUMBERS)
    if roll < 0.85:
        return rng.choice([victim, f"../outside/{victim.rpartition('/')[2]}", [victim], {"path": victim}])
    if roll < 0.95:
        return rng.choice(
            [[], {}, [None], [[[]]], {"": 0}, ["x"] * 300, {str(i): i for i in range(300)}, [1, "a", None]]
        )
    value: Any = 0
    for _ in range(rng.choice((30, 200, 400))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def bend(value: Any, rng: random.Random, victim: str) -> Any:
    """A copy of a value in which one place is another: a leaf replaced, a field added, renamed, dropped or doubled."""
    if isinstance(value, Mapping) and value and rng.random() < 0.85:
        return _bend_object(dict(value), rng, victim)
    if isinstance(value, (list, tuple)) and value and rng.random() < 0.85:
        items, place = list(value), rng.randrange(len(value))
        items[place] = bend(items[place], rng, victim)
        return items * rng.choice((1, 1, 1, 1, 2)) if rng.random() < 0.9 else items[:place]
    if isinstance(value, str) and value and rng.random() < 0.4:
        return value[: len(value) // 2] + rng.choice(TEXTS) + value[len(value) // 2 :]
    return hostile(rng, victim)


def _bend_object(fields: dict[Any, Any], rng: random.Random, victim: str) -> dict[Any, Any]:
    key = rng.choice([*fields])
    match rng.randrange(8):
        case 0:
            del fields[key]
        case 1:
            fields[rng.choice(TEXTS)] = fields.pop(key)
        case 2:
            fields[rng.choice((*TEXTS, "k" * 5_000, f"{key}.{key}", f"{key}s"))] = hostile(rng, victim)
        case _:
            fields[key] = bend(fields[key], rng, victim)
    return fields


def write_json(value: Any, rng: random.Random) -> bytes:
    """A value as JSON; one time in four with a wound on top, one in eight with a key twice."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.7)
    if rng.random() < 0.12 and text.startswith('{"'):
        name = text[1 : text.index('":') + 2]
        text = f"{{{name} {json.dumps(hostile(rng, ''))}, {text[1:]}"
    data = text.encode("utf-8", "surrogatepass")
    return damage(data, rng) if rng.random() < 0.25 else data
