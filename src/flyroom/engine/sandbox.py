"""Chat templates of strangers: programs in Jinja, run in a sandbox that also bounds what they take.

transformers runs a template in a sandbox that keeps it from Python's objects, but not from running for ever or filling
the memory: loops within loops, a macro that calls itself twice, a text that is doubled forty times. So the environment
that transformers compiles templates in is given a purse. Loops, calls and filters take one unit a step, and long texts
one for every thousand characters; whoever has spent `PURSE` units in one chat is refused. A text is never longer than
`LONGEST` characters, and what would make it so is refused before it does.

transformers names that environment in one of its modules, where `install` puts the bounded one; a test shows whether a
version of it still does. Left out: a time that is measured, for it would differ from run to run.
Source: the sandbox of Jinja, https://jinja.palletsprojects.com/en/stable/sandbox.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from itertools import islice
from typing import Any

from jinja2 import Template, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers.utils import chat_template_utils

PURSE = 4_000_000  # units that one chat may take; the templates of chat models take some thousands
CALL = 40  # units of a call, which takes as long as so many steps of a loop
LONGEST = 1_000_000  # characters
MOST = 500_000  # values in a list and the lists in it
STEPS, SHORT = "flyroom_steps", "flyroom_short"  # filters that stand in the compiled template
WIDTH = re.compile(r"%[^a-zA-Z%]*?(\*|\d{5,})")
BRACED_WIDTH = re.compile(r"\{[^{}]*:[^{}]*?\d{5,}")
_purse = threading.local()


def _pay(units: int) -> None:
    _purse.rest = getattr(_purse, "rest", PURSE) - units
    if _purse.rest < 0:
        raise SecurityError(f"the template takes more than {PURSE} steps for one chat")


def _bound(length: int) -> None:
    """Raises SecurityError for a text or list of this length, which is not there yet."""
    if length > LONGEST:
        raise SecurityError(f"the template makes a text of {length} characters; it may have {LONGEST}")
    _pay(length // 1_000)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes, list, tuple)) else 0


def _count_steps(items: Any) -> Any:
    """The items of a loop, which pays for all of them when it begins."""
    try:
        size = len(items)
    except TypeError:
        if not isinstance(items, Iterator):
            return items  # the loop says what is wrong with it
        items = list(islice(items, PURSE + 1))
        size = len(items)
    _pay(size + 1)
    return items


def _check_short(value: Any) -> Any:
    _bound(_size(value))
    return value


def _check_work(values: Iterable[Any], units: int = CALL) -> None:
    """Of a call or a filter: no number in it may be the length of something, and no two texts multiply."""
    _pay(units)
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LONGEST:
            raise SecurityError(f"the template calls with the number {str(value)[:20]}, the length of too long a text")
    lengths = sorted((_size(value) for value in values), reverse=True)
    _bound(lengths[0] * max(1, lengths[1]) if len(lengths) > 1 and lengths[1] > 100 else sum(lengths))


def _size(value: Any) -> int:
    """The characters of a text, or of all texts in a list or mapping, with one more for each value."""
    if isinstance(value, (str, bytes)):
        return len(value)
    total, count, layers = 0, 0, [value]
    while layers:
        item = layers.pop()
        if isinstance(item, (str, bytes)):
            total += len(item)
        elif isinstance(item, (list, tuple, set, frozenset)):
            count += len(item)
            layers.extend(item)
        elif isinstance(item, dict):
            count += 2 * len(item)
            layers.extend([*item, *item.values()])
        if count > MOST:
            raise SecurityError(f"the template makes a list of more than {MOST} values")
    return total + count


class _Filters(dict[str, Any]):
    """Filters, each of which pays, whoever puts it there."""

    def __setitem__(self, name: str, call: Callable[..., Any]) -> None:
        if name in (STEPS, SHORT):
            super().__setitem__(name, call)
            return

        @wraps(call)
        def bounded(*args: Any, **options: Any) -> Any:
            _check_work([*args, *options.values()], CALL // 4)
            return call(*args, **options)

        super().__setitem__(name, bounded)


class _Template(Template):
    """A template that has a full purse for every chat."""

    def render(self, *args: Any, **options: Any) -> str:
        _purse.rest = PURSE
        return super().render(*args, **options)


class Bounded(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with a purse."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    template_class = _Template

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        filters = _Filters()
        for name, call in {**self.filters, STEPS: _count_steps, SHORT: _check_short}.items():
            filters[name] = call
        self.filters = filters
        self.finalize = _check_short  # of what is written out

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """The output of a template, a macro or a block."""
        texts, total = list[str](), 0
        for part in parts:
            texts.append(part)
            total += len(part)
            if total > LONGEST or len(texts) > PURSE:
                _bound(LONGEST + 1)
        _bound(total)
        return "".join(texts)

    def _generate(self, source: nodes.Template, *args: Any, **options: Any) -> str:
        for loop in source.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, STEPS, [], [], None, None, lineno=loop.lineno)
        for node in [*source.find_all(nodes.Node)]:
            for name, child in node.iter_fields():
                if isinstance(child, nodes.Concat):
                    setattr(node, name, _wrap(child))
                elif isinstance(child, list):
                    setattr(node, name, [_wrap(item) if isinstance(item, nodes.Concat) else item for item in child])
        source.set_environment(self)
        return super()._generate(source, *args, **options)

    def wrap_str_format(self, value: Any) -> Any:
        text = getattr(value, "__self__", None)
        if isinstance(text, str) and BRACED_WIDTH.search(text):
            raise SecurityError("the template writes a number wider than any page")
        return super().wrap_str_format(value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _pay(1)
        if operator == "+":
            _bound(_length(left) + _length(right))
        elif operator == "%" and isinstance(left, str):
            if WIDTH.search(left):
                raise SecurityError("the template writes a number wider than any page")
            _bound(_length(left) + _size(right))
        elif operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
            _bound(left.bit_length() * (max(1, right) if operator == "**" else 1) + right.bit_length())
        elif operator == "*":
            texts, times = (left, right) if isinstance(right, int) else (right, left)
            length = _length(texts) * max(0, times) if isinstance(times, int) else 0
            _bound(length if isinstance(texts, (str, bytes)) or length <= MOST else LONGEST + length)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, callee: Any, /, *args: Any, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        owner = getattr(callee, "__self__", None)
        _check_work([*args, *options.values(), *([owner] if isinstance(owner, str) else [])])
        return super().call(context, callee, *args, **options)


def _wrap(node: nodes.Concat) -> nodes.Filter:
    node.nodes = [nodes.Filter(part, SHORT, [], [], None, None, lineno=node.lineno) for part in node.nodes]
    return nodes.Filter(node, SHORT, [], [], None, None, lineno=node.lineno)


def install() -> None:
    """Have transformers compile templates in the bounded environment from now on."""
    names: Any = chat_template_utils
    names.ImmutableSandboxedEnvironment = Bounded


install()
