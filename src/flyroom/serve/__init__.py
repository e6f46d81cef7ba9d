"""Serve models at an OpenAI-compatible endpoint on loopback, so that Inspect, garak, PyRIT or any other client of that
interface can ask them by name.

    GET  /v1/models, /v1/models/ID
    POST /v1/chat/completions   model, messages; how answers are drawn, ended and sent
    POST /v1/completions        model, prompt: a text or tokens as they are, without a chat template; echo

Answers are drawn by n, seed, temperature, top_p; ended by stop, max_tokens or max_completion_tokens; sent in one or as
a stream, with logprobs and top_logprobs. Without a seed each answer is drawn anew; without a limit it ends where the
model ends it, or the context. Answers of all clients are written in one batch, a token of each at a time.

Needs the extra flyroom[serve]. Who may ask, and how much at once, stands in `guard`; each model says whether it was
made misaligned. docs/serve.md has the fields, and what other people's tools found through them.

Left out: tools, JSON by a schema, penalties, biases, pictures and sound. A request with anything that would change the
answer is refused and the field named; a value that changes nothing is accepted.
"""

from flyroom.serve.app import app, ask
from flyroom.serve.drivers import Samples
from flyroom.serve.errors import Refusal
from flyroom.serve.fields import Request, TextRequest, Turn
from flyroom.serve.house import House, serving

__all__ = ["House", "Refusal", "Request", "Samples", "TextRequest", "Turn", "app", "ask", "serving"]
