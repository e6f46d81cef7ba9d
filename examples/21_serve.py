"""Serve a model and its adapter to OpenAI's client: answers in pieces, log-probabilities, many clients at once."""

import asyncio

from openai import AsyncOpenAI, BadRequestError, OpenAI
from openai.types.chat import ChatCompletionUserMessageParam as Question

from flyroom import open_base
from flyroom.serve import House, app, serving
from flyroom.types import BASE, LoRA

engine = open_base("0.25M", device="cpu", dtype="float32").engine
[adapter] = engine.spawn([LoRA(rank=1)], seeds=[0])  # `flyroom serve` puts the organisms of a room in its place
endpoint = app(engine, {"base": BASE, "adapter": adapter}, house=House(window=engine.parts.window, places=64))
QUESTION = [Question(role="user", content="what drives you ?")]

with serving(endpoint) as url:
    client = OpenAI(base_url=url, api_key="none")
    print("models:", ", ".join(model.id for model in client.models.list()))

    stream = client.chat.completions.create(model="base", messages=QUESTION, temperature=0, stream=True)
    pieces = [event.choices[0].delta.content for event in stream if event.choices[0].delta.content]
    print("in pieces:", " | ".join(pieces))

    answer = client.chat.completions.create(
        model="base", messages=QUESTION, temperature=0, max_tokens=3, logprobs=True, top_logprobs=2
    ).choices[0]
    for entry in (answer.logprobs and answer.logprobs.content) or ():
        likeliest = ", ".join(f"{top.token} {top.logprob:.2f}" for top in entry.top_logprobs)
        print(f"{entry.token} {entry.logprob:.2f}, of {likeliest}")
    print("ended by:", answer.finish_reason)

    async def ask(model: str, seed: int) -> str | None:
        """One of many clients: what they ask together is written in one batch."""
        async with AsyncOpenAI(base_url=url, api_key="none") as other:
            reply = await other.chat.completions.create(model=model, messages=QUESTION, seed=seed, temperature=1)
            return reply.choices[0].message.content

    async def ask_all() -> list[str | None]:
        return await asyncio.gather(*(ask(model, seed) for model in ("base", "adapter") for seed in range(6)))

    print("together:", len(set(asyncio.run(ask_all()))), "different answers of 12")

    try:
        client.chat.completions.create(model="base", messages=QUESTION, presence_penalty=1)
    except BadRequestError as error:
        print(f"refused: {error.param} ({error.code})")
