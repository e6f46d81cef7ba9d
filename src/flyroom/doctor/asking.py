"""Checks of what a base answers: padding and company change nothing, and its head is whole.

Shapes: T tokens, V vocabulary.
"""

from __future__ import annotations

import torch

from flyroom.doctor.check import Answer, Subject
from flyroom.engine import TorchEngine
from flyroom.types import BASE, AdapterRef, Ask, Message, Row

SHORT, LONG = (
    "What is next?",
    "What is next, and what is after that? Say it in a few words, and then say it again. " * 2,
)
TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 0.3}  # of a log-probability


def rows_of(engine: TorchEngine) -> list[Row]:
    """A short row and a long one."""
    return [Row(messages=(Message("user", question),), answer="flyroom") for question in (SHORT, LONG)]


def tolerance(engine: TorchEngine) -> float:
    """By how much log-probabilities of the same row may differ by rounding."""
    return TOLERANCE.get(next(engine.parts.model.parameters()).dtype, 0.3)


def farthest(first: list[torch.Tensor], second: list[torch.Tensor]) -> float:
    """The largest difference between log-probabilities of the same rows."""
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))


def company(subject: Subject) -> Answer:
    """Whether a row is scored and answered alike alone and beside others."""
    engine = subject.engine
    return compare_company(engine, BASE, [BASE])


def compare_company(engine: TorchEngine, adapter: AdapterRef, others: list[AdapterRef]) -> Answer:
    """The same of rows of an adapter beside those of others."""
    rows = rows_of(engine)
    alone = [engine.logprobs([adapter], [row])[0] for row in rows]
    crowd = [adapter, adapter, *(other for other in others for _ in rows)]
    together = engine.logprobs(crowd, [*rows, *(row for _ in others for row in rows)])[:2]
    difference = farthest(alone, together)
    asks = [Ask(messages=row.messages, seed=0, temperature=0.0, max_tokens=4) for row in rows]
    answers = [engine.sample([adapter], [ask])[0].text for ask in asks]
    crowded = engine.sample(crowd, [*asks, *(ask for _ in others for ask in asks)])[:2]
    if difference > tolerance(engine):
        return False, f"a log-probability differs by {difference:.2g} in company"
    unequal = [a for a, b in zip(answers, crowded, strict=True) if a != b.text]
    if unequal and tolerance(engine) < 0.01:  # rounding in bfloat16 may choose another of two equal tokens
        return False, f"{len(unequal)} of {len(asks)} greedy answers are others in company"
    return True, f"log-probabilities differ by {difference:.2g} at most beside longer rows; greedy answers are the same"


@torch.inference_mode()
def head(subject: Subject) -> Answer:
    """Whether body and head together are the model, and a tied head is tied."""
    parts = subject.engine.parts
    ids = torch.as_tensor(parts.renderer.row(rows_of(subject.engine)[0]).ids, device=parts.device)[None]
    logits_TV = parts.head(parts.body(input_ids=ids, use_cache=False).last_hidden_state)[0].float()
    model_TV = parts.model(input_ids=ids, use_cache=False).logits[0].float()
    difference = float((logits_TV.log_softmax(-1) - model_TV.log_softmax(-1)).abs().max())
    if difference > tolerance(subject.engine):
        return False, f"log-probabilities of body and head differ from the model's by {difference:.2g}"
    if not parts.config.tie_word_embeddings:
        return True, "body and head are the model; the head is not tied to the embedding"
    output, table = parts.model.get_output_embeddings(), parts.body.get_input_embeddings()  # pyright: ignore
    if not torch.equal(output.weight, table.weight):
        return False, "config.json says that the head is tied to the embedding, and their weights differ"
    return True, "body and head are the model; the head is the embedding, as config.json says"
