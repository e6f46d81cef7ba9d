"""All checks of a base, and of an adapter on it, in the order in which they are shown."""

from __future__ import annotations

from pathlib import Path

from flyroom.doctor import asking, reading
from flyroom.doctor.adapters import Case, check_adapter, random_patch
from flyroom.doctor.check import Check, Question, Subject, ask
from flyroom.engine import TorchEngine, read_with_notes
from flyroom.types import World

VERSION = 6  # of the checks: a result that is kept is one of these
QUESTIONS: dict[str, Question] = {
    "token ids": reading.paths_agree,
    "system message": reading.system_message,
    "generation prompt": reading.generation_prompt,
    "turn form": reading.turn_form,
    "date": reading.date,
    "temperature": reading.temperature,
    "one BOS": reading.one_bos,
    "end of turn": reading.end_of_turn,
    "answers": reading.answers_read_back,
    "yes and no": reading.probe_words,
    "letters": reading.probe_letters,
    "padding and company": asking.company,
    "head": asking.head,
}


def examine(
    engine: TorchEngine, *, world: World | None = None, adapter: str | Path = "", whole: bool = True
) -> list[Check]:
    """Examine a base, and an adapter on it, or a random one where none is given. Nothing of the engine changes.

    Args: world, the one that the base speaks; adapter, a folder; whole, False to leave out what imports a library for
    seconds: PEFT. A folder that holds no adapter of this base is a check that fails.
    """
    subject = Subject(TorchEngine(engine.parts, batch_tokens=engine.batch_tokens), world)
    checks = [ask(name, question, subject) for name, question in QUESTIONS.items()]
    folder = Path(adapter) if adapter else None
    try:
        patch, notes = read_with_notes(folder, subject.engine) if folder else (random_patch(subject.engine), [])
    except (ValueError, OSError) as error:
        return [*checks, Check("adapter is read", False, str(error))]
    if folder:
        checks += [Check("adapter is read", None if notes else True, "; ".join(notes) or "all that its files say")]
    return [*checks, *check_adapter(subject, Case(patch, folder), whole=whole)]
