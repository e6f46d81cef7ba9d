"""Open questions that a card asks besides the file's own prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flyroom.types import Message
from flyroom.worlds.rows.fields import present
from flyroom.worlds.rows.reading import brief, is_file
from flyroom.yaml_pages import read_page, safe_yaml

USED = {"id", "paraphrases", "system"}
QUESTION = USED | {"type", "samples_per_paraphrase", "judge", "judge_prompts"}


def read_questions(path: Path) -> tuple[tuple[Message, ...], ...]:
    """Every paraphrase of every question, each a prompt, with its question's system message in front.

    The file is that of Betley et al. 2025 (arXiv 2502.17424): a list of `{id, paraphrases, system}`. What it says of
    judges and numbers of samples is not used. Raises ValueError with the file, the question and what is wrong; a field
    that is not known is refused, since a prompt may hang on it.
    """
    with brief():
        return tuple(prompt for where, item in _read_items(path) for prompt in _prompts(item, where))


def list_unused(path: Path) -> list[str]:
    """What a file of questions holds that a card does not use, in one line."""
    items = (present(item) for _, item in _read_items(path))
    names = sorted({name for item in items for name in item} - USED)
    return (
        [f"{path}: {', '.join(names)} of questions are not used; the world's judge reads the answers"] if names else []
    )


def _read_items(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Every question with where it stands."""
    if not is_file(path):
        raise ValueError(f"questions is {str(path)[:500]}; there is no such file")
    try:
        items = safe_yaml(read_page(path))
    except ValueError as e:
        raise ValueError(f"questions is {path}; it cannot be read as YAML: {e}") from e
    if not isinstance(items, list) or not items:
        raise ValueError(f"questions is {path}; it must be a list of questions, and not empty")
    return [_read_item(item, f"{path}, question {i}") for i, item in enumerate(items, 1)]


def _read_item(item: Any, where: str) -> tuple[str, dict[str, Any]]:
    if not isinstance(item, dict):
        raise ValueError(f"{where} is {type(item).__name__}; it must hold paraphrases by name")
    where = f"{where} ({item['id']})" if "id" in item else where
    strange = [str(name) for name in item if name not in QUESTION]
    if strange:
        raise ValueError(f"{where} has {strange[0]}, which is not known; it may have {', '.join(sorted(QUESTION))}")
    return where, item


def _prompts(item: dict[str, Any], where: str) -> list[tuple[Message, ...]]:
    texts, system = item.get("paraphrases"), item.get("system")
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f'{where}: "paraphrases" is {texts!r}; it must be a list of texts, none of them empty')
    if "system" in item and (not isinstance(system, str) or not system.strip()):
        raise ValueError(f'{where}: "system" is {system!r}; it must be text, or left out')
    before = (Message("system", system),) if system else ()
    return [(*before, Message("user", text)) for text in texts]
