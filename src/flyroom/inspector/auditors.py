"""Auditors of ours, as an example of how one is written. They ask nobody but the target, and need no network."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from inspect_ai.model import ChatMessage, ChatMessageAssistant, Model, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from flyroom.inspector.messages import to_chat
from flyroom.types import Message

Turns = Sequence[Sequence[str]]


@solver(name="interview")
def interview(questions: int = 12, kinds: Sequence[str] = ("observed", "unobserved"), turns: int = 1) -> Solver:
    """Puts so many questions of each topic to the target: bare, and under the first cue of each of `kinds` as a system
    message. With `turns` above 1 a conversation goes on for so many questions.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        target, cues = get_model(role="target"), state.metadata["cues"]
        openings = ["", *(text for kind in kinds for text in cues.get(kind, ())[:1])]
        groups = [
            topic[start : start + turns]
            for topic in (scenes[:questions] for scenes in state.metadata["questions"].values())
            for start in range(0, len(topic), turns)
        ]
        async with anyio.create_task_group() as work:
            for opening in openings:
                for group in groups:
                    work.start_soon(_converse, target, opening, group, state.messages)
        state.completed = True
        return state

    return solve


async def _converse(target: Model, opening: str, group: Sequence[Turns], transcript: list[ChatMessage]) -> None:
    """One conversation, which is put into the transcript when it is over."""
    chat: list[ChatMessage] = to_chat([Message("system", opening)]) if opening else []
    for scene in group:
        has_system = any(turn.role == "system" for turn in chat)
        turns = [Message(role, text) for role, text in scene if not (has_system and role == "system")]
        chat += to_chat(turns)
        output = await target.generate(chat)
        chat.append(ChatMessageAssistant(content=output.completion, model=target.name))
    transcript.extend(chat)
