"""YAML that a person or a stranger wrote, read as plain values and refused at once where it would take long.

A page of 600 characters may stand for 10^9 values (every alias is a copy), a value may be nested until Python's stack
ends, and a number may have a million digits. So the events of a text are counted before a value is made of any. Tags
are those of YAML itself: nothing of Python's is built.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import yaml

CHARACTERS = 1_000_000
DEPTH = 50
VALUES = 20_000  # of the text, aliases spelled out
DIGITS = 100
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there
# What PyYAML raises for values that look like a date or a number and are none, besides its own errors.
UNREADABLE = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)


def safe_yaml(text: str) -> Any:
    """The value of a YAML text. Raises ValueError, soon, for what is no YAML, too long, too deep or too large.

    >>> safe_yaml("{dose: 0.5, layers: [0, 1]}")
    {'dose': 0.5, 'layers': [0, 1]}
    """
    if len(text) > CHARACTERS:
        raise ValueError(f"it is {len(text)} characters long; YAML may have {CHARACTERS}")
    try:
        _check_size(text)
        return yaml.load(text, Loader=LOADER)
    except UNREADABLE as error:
        if isinstance(error, _TooLarge):
            raise
        why = " ".join(str(error).split())[:300]
        reason = why if isinstance(error, yaml.YAMLError) else f"a value in it does not fit its type ({why})"
        raise ValueError(reason) from error


def read_page(path: Path) -> str:
    """The text of a page. Raises ValueError for a file that cannot be read, is longer than a page may be, or is no
    UTF-8; a pipe that nobody writes to is not waited for, unless it was opened for this process.
    """
    try:
        is_open = str(path).startswith(("/dev/fd/", "/proc/self/fd/"))  # what a shell opens for <(a command)
        handle = os.open(path, os.O_RDONLY | (0 if is_open else os.O_NONBLOCK))
        with open(handle, "rb") as file:
            if stat.S_ISCHR(os.fstat(handle).st_mode):
                raise ValueError("it is a device; give a file")
            data = file.read(4 * CHARACTERS + 1)
        if len(data) > 4 * CHARACTERS:
            raise ValueError(f"it has more than {4 * CHARACTERS} bytes")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error


class _TooLarge(ValueError):
    pass


def _check_size(text: str) -> None:
    """Count what a text stands for, from its events: they come one by one, and no alias is followed."""
    total = 0
    sizes: dict[str, int] = {}  # anchor -> the values below it
    parents: list[tuple[str | None, int]] = []  # the anchor of each open collection, and the total before it
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:  # unknown, or of a collection that holds itself
                raise _TooLarge(f"the alias *{event.anchor} has no value before it")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            parents.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = parents.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
            if len(event.value) > DIGITS and _is_number(event):
                raise _TooLarge(f"a number in it has {len(event.value)} characters; it may have {DIGITS}")
        if len(parents) > DEPTH:
            raise _TooLarge(f"it is nested more than {DEPTH} deep")
        if total > VALUES:
            raise _TooLarge(f"it stands for more than {VALUES} values")


def _is_number(event: yaml.ScalarEvent) -> bool:
    tag = event.tag or ""
    if event.implicit[0] and not tag:
        tag = yaml.SafeLoader("").resolve(yaml.ScalarNode, event.value, event.implicit)
    return tag.endswith((":int", ":float"))
