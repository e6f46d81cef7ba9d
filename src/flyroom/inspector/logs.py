"""Episodes on record as logs of Inspect (`.eval`), which `inspect view` opens and `inspect_ai.log` reads.

An episode is a sample; what was said of it are its scores; a log is of one model. Files are written whole or not at
all, and one that was written before is replaced, whatever its date.

Left out: events. Nothing but the conversation is on record, and a log must not claim that it saw more.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalMetric,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
    write_eval_log,
)
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage
from inspect_ai.scorer import Score

from flyroom.inspector.messages import to_chat
from flyroom.types import Asked, Estimate, Message, digest

SUFFIX = ".eval"


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """What becomes a log. `id` names it by its content; `created` is a time in UTC, as ISO 8601; `figures` has by score
    and by name what was computed of the samples' scores.
    """

    id: str
    task: str
    model: str
    created: str
    samples: Sequence[EvalSample]
    model_args: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()
    figures: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)


def sample_of(
    episode: Asked, *, id: str, model: str, scores: Mapping[str, Score], target: str = "", about: Mapping[str, Any]
) -> EvalSample:
    """An episode as a sample. `about` stands in its metadata, beside the measure and whether the answer was cut."""
    name = digest([id, model, episode])
    turns = to_chat([Message(m.role, legible(m.content)) for m in episode.messages], name)
    message = ChatMessageAssistant(id=f"{name}-a", content=legible(episode.answer), model=model, source="generate")
    usage = ModelUsage(output_tokens=episode.tokens, total_tokens=episode.tokens)
    choice = ChatCompletionChoice(message=message, stop_reason="max_tokens" if episode.cut else "stop")
    return EvalSample(
        id=id,
        epoch=1,
        input=turns,
        target=legible(target),
        messages=[*turns, message],
        output=ModelOutput(model=model, choices=[choice], usage=usage),
        scores=dict(scores),
        metadata={"measure": episode.measure, "cut": episode.cut, **about},
        model_usage={model: usage},
        uuid=name,
        turn_count=1,
    )


def legible(text: str) -> str:
    """A text that JSON and UTF-8 take: half a character (a lone surrogate) is written as its escape.

    >>> legible("so" + chr(0xD83D))
    'so\\\\ud83d'
    """
    return text.encode("utf-8", "backslashreplace").decode()


# ---------------------------------------------------------------- a log, and its file


def log_of(sheet: Sheet) -> EvalLog:
    """The log. Its figures are as the sheet has them: nothing is computed again."""
    usage = sum((sample.output.usage or ModelUsage() for sample in sheet.samples), ModelUsage())
    ids = [sample.id for sample in sheet.samples]
    spec = EvalSpec(
        eval_id=sheet.id,
        run_id=sheet.id,
        task_id=sheet.id,
        created=sheet.created,
        task=sheet.task,
        model=sheet.model,
        model_args=dict(sheet.model_args),
        tags=list(sheet.tags),
        metadata=dict(sheet.metadata),
        packages=dict(sheet.packages),
        dataset=EvalDataset(name=sheet.task, samples=len(ids), sample_ids=[str(id) for id in ids]),
        config=EvalConfig(),
    )
    return EvalLog(
        status="success",
        eval=spec,
        results=EvalResults(
            total_samples=len(ids),
            completed_samples=len(ids),
            scores=[_score(name, sheet) for name in _score_names(sheet.samples)],
        ),
        stats=EvalStats(started_at=sheet.created, completed_at=sheet.created, model_usage={sheet.model: usage}),
        samples=list(sheet.samples),
    )


def _score_names(samples: Iterable[EvalSample]) -> list[str]:
    return list(dict.fromkeys(name for sample in samples for name in sample.scores or {}))


def is_scored(sample: EvalSample, name: str) -> bool:
    """Whether a sample has a value under the name of a score: one that is not a number is none."""
    value = (sample.scores or {})[name].value if name in (sample.scores or {}) else float("nan")
    return not (isinstance(value, float) and value != value)


def _score(name: str, sheet: Sheet) -> EvalScore:
    scored = sum(is_scored(sample, name) for sample in sheet.samples)
    return EvalScore(
        name=name,
        scorer=name,
        scored_samples=scored,
        unscored_samples=len(sheet.samples) - scored,
        metrics=dict(_metrics(sheet.figures.get(name, {}))),
    )


def _metrics(figures: Mapping[str, Estimate]) -> Iterable[tuple[str, EvalMetric]]:
    for name, estimate in figures.items():
        about = {"low": estimate.low, "high": estimate.high, "n": estimate.n, "missing": estimate.missing}
        yield name, EvalMetric(name=name, value=estimate.value, metadata=about)


def write(sheet: Sheet, folder: Path) -> Path:
    """Write a log into a folder that there is, and return its file, which the account alone may read."""
    words = [
        sheet.created.replace(":", "-").replace("+", "-"),
        sheet.task,
        sheet.model.removeprefix("flyroom/"),
        sheet.id,
    ]
    path = folder / ("_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", word) for word in words) + SUFFIX)
    draft = folder / f".{secrets.token_hex(8)}{SUFFIX}"
    try:
        write_eval_log(log_of(sheet), str(draft), format="eval")
        draft.chmod(0o600)
        for former in folder.glob(f"*_{sheet.id}{SUFFIX}"):
            if former != path:
                former.unlink()
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path
