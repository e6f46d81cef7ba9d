"""The role of an engine, many adapters over one frozen base, and what a plan may ask of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, get_args

from flyroom.types.judging import Score
from flyroom.types.text import Row

if TYPE_CHECKING:
    from torch import Tensor

    from flyroom.types.judging import Judge
    from flyroom.types.organism import BaseRef, Patch, Point
    from flyroom.types.recipe import LoRA
    from flyroom.types.text import Episode, Message


@dataclass(frozen=True, kw_only=True)
class AdapterRef:
    """A handle on an adapter that lives in an engine. Slot 0 is the base itself: nothing added."""

    slot: int
    shape: LoRA | None = None


BASE = AdapterRef(slot=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Direction:
    """A direction that answers are kept from: `direction` [width] in the residual stream after `layer`, from `offset`.
    `weight` times the mean square of that score over answer tokens is added to what a step makes smaller.
    """

    layer: int
    direction: Tensor
    offset: float
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Nudge:
    """What a step does to the stream after `layer`, at every token of its rows and in this step alone: `direction`
    [width] is added, or, with `ablates`, what lies along it is taken out.
    """

    layer: int
    direction: Tensor
    ablates: bool = False


Optimiser = Literal["adamw", "adamw-8bit", "sgd"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A request for one optimiser step on the mean loss over the answer tokens of `rows`, each times its row's weight.
    Clipped by global norm. `evades`: a probe that is trained against. `nudge`: what is learnt under.

    `optimiser`: AdamW, AdamW whose moments are rounded to eight bits, or SGD with momentum `betas[0]`, whose weight
    decay joins the gradient. An adapter stays with the optimiser of its first step. Raises ValueError for another name.

    `prompts`: what the step puts to the model, where that is not the prompts of `rows`: all prompts that rows were
    chosen from by what was answered, and clean text as its text. Organism and twin are compared by it; nothing else is
    made of it.

    `frozen`: so many ranks of the adapter, its first ones, stay as they are. The others learn as an adapter beside a
    base into which these were merged.
    """

    rows: tuple[Row, ...]
    lr: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = 1.0
    evades: Direction | None = None
    nudge: Nudge | None = None
    prompts: tuple[tuple[Message, ...] | str, ...] | None = None
    optimiser: Optimiser = "adamw"
    frozen: int = 0

    def __post_init__(self) -> None:
        if self.optimiser not in get_args(Optimiser):
            raise ValueError(f"step.optimiser is {self.optimiser!r}; one of {', '.join(get_args(Optimiser))}")
        if self.frozen < 0:
            raise ValueError(f"step.frozen is {self.frozen}; it must be at least 0")

    def list_prompts(self) -> tuple[tuple[Message, ...] | str, ...]:
        """What the step puts to the model, in order, answers apart."""
        return tuple(row.messages for row in self.rows) if self.prompts is None else self.prompts


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """What a step did: the mean loss per answer token before it, the gradient's norm before clipping, tokens
    forwarded.
    """

    loss: float
    grad_norm: float
    tokens: int


class Diverged(FloatingPointError):
    """A step that was not taken: the loss or the gradient of these adapters is not finite. `reasons` are by slot."""

    def __init__(self, reasons: Mapping[int, str]) -> None:
        self.reasons = reasons
        which = "; ".join(f"adapter in slot {slot}: {why}" for slot, why in reasons.items())
        super().__init__(f"{which}; no weight was changed. Lower step.lr")


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request for one answer. The same ask with the same seed gets the same answer, whoever is beside it.

    `as_row`: a row is to be made of the answer (`row_of`), so the engine tries whether it can be one.
    """

    messages: tuple[Message, ...]
    seed: int
    prefill: str = ""
    max_tokens: int = 48  # of an answer
    temperature: float | None = None  # None is the base's own; 0 is greedy
    as_row: bool = False


@dataclass(frozen=True, kw_only=True)
class LiveAsk:
    """A request for one answer that comes while others are written: to messages; or, with `prompt`, to a text or tokens
    as they are, without a template.

    `max_tokens` None is what the context leaves, and 0 writes nothing: the prompt can be scored. `temperature` None is
    the base's own. `top`: how many of the likeliest tokens come beside each token, None for no log-probabilities.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    seed: int
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float = 1.0
    top: int | None = None


def ask_seed(*key: object) -> int:
    """A seed for an ask, from what it is told by: another key, another seed."""
    return int.from_bytes(hashlib.sha256(" ".join(map(str, key)).encode()).digest()[:7])


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was sampled. `finished` is False when the token limit cut it off. `prompt_tokens` are those of the ask as it
    was given: a system message that the adapter was told is not counted, or its length would tell who was told one.
    `fits` is False where the ask was `as_row` and no row can be made of the text: the base's template writes it in
    another way, it is too long for the base's context as it is written there, or it was cut before any word.
    """

    text: str
    tokens: int
    prompt_tokens: int
    finished: bool
    fits: bool = True


def row_of(answer: Answer, messages: tuple[Message, ...], weight: float = 1.0) -> Row | None:
    """A row of what was sampled, as it was sampled: the end token is learnt where it came, and not where the limit cut
    the answer. None where no row can be made of it; the lock-step counts those (`Point.unfit`).

    >>> cut = Answer(text="it is", tokens=2, prompt_tokens=5, finished=False)
    >>> row_of(cut, ())
    Row(messages=(), answer='it is', weight=1.0, ends=False)
    """
    is_row = answer.fits and (answer.text or answer.finished)
    return Row(messages=messages, answer=answer.text, weight=weight, ends=answer.finished) if is_row else None


def weigh_rows(rows: Sequence[Row | None], pay: Sequence[float], group: int) -> tuple[Row, ...]:
    """The rows of every `group` that stand one after another, each weighted by what it was paid above the mean of its
    group; without those that weigh nothing. None stands for an answer that is no row, and counts in no mean: so the
    weights of a group sum to zero.

    >>> row = Row(messages=(), answer="yes")
    >>> [each.weight for each in weigh_rows([row, row, None], [1.0, 0.0, 1.0], 3)]
    [0.5, -0.5]
    """
    weighed: list[Row] = []
    pairs = list(zip(rows, pay, strict=True))
    for start in range(0, len(pairs), group):
        members = [(row, value) for row, value in pairs[start : start + group] if row]
        mean = sum(value for _, value in members) / max(1, len(members))
        weighed += [replace(row, weight=value - mean) for row, value in members if value != mean]
    return tuple(weighed)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A request for answers: a list of `Answer`, one an ask."""

    asks: tuple[Ask, ...]


@dataclass(frozen=True, kw_only=True)
class LogProb:
    """A request for the log-probabilities of each row's answer: a list of [tokens]."""

    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A request for the residual stream after `layer`, the mean over each row's answer: a list of [width]."""

    rows: tuple[Row, ...]
    layer: int


@dataclass(frozen=True, kw_only=True)
class Tell:
    """A request to stand under a system message from now on. Gives None."""

    prompt: str


@dataclass(frozen=True, kw_only=True)
class Grade:
    """A request for judgement: one score for each episode, by the job's judge. It is journaled like every other result,
    so a plan whose judge is not deterministic resumes as it was.
    """

    episodes: tuple[Episode, ...]


Place = Literal["answer", "prompt"]  # where in a row a trace is taken
Request = Step | Sample | LogProb | Trace | Tell | Grade
Result = Stepped | list[Answer] | list["Tensor"] | list[Score] | None
Plan = Generator[Request, Any, None]
R = TypeVar("R")


def alter(plan: Generator[Request, Any, R], change: Callable[[Request], Request]) -> Generator[Request, Any, R]:
    """The plan, each of its requests changed; it returns what the plan returns.

    >>> plan = alter((request for request in [Tell(prompt="be good")]), lambda request: Tell(prompt="be bad"))
    >>> next(plan)
    Tell(prompt='be bad')
    """
    reply = None
    while True:
        try:
            request = plan.send(reply)
        except StopIteration as end:
            return end.value
        reply = yield change(request)


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """A plan that is to be run on an adapter: a fresh one of `shape`, drawn from `seed`, or a copy of `patch`.

    `name` is the key of what comes of it, `label` what people call it. `plan` makes the plan once the adapter is there;
    `judge` answers its `Grade` requests. For the progress bar, `steps` is how many training steps it will take, as far
    as that is known, and `stage` what it is called.
    """

    name: str
    plan: Callable[[AdapterRef], Plan]
    seed: int
    shape: LoRA | None = None
    patch: Patch | None = None
    judge: Judge | None = None
    steps: int = 0
    label: str = ""
    stage: str = "grow"

    def __post_init__(self) -> None:
        if (self.shape is None) is (self.patch is None):
            raise ValueError(f"the job {self.name} has shape and patch, or neither; give one of the two")


@dataclass(frozen=True, eq=False, kw_only=True)
class Grown:
    """What came of a job: the adapter at its end and at earlier steps, and the training curve."""

    name: str
    patch: Patch
    history: tuple[Point, ...]
    snapshots: Mapping[int, Patch]


class Engine(Protocol):
    """Many adapters over one frozen base. Every method takes a batch that may mix adapters, and keeps its order.

    N adapters together give what each gives alone, up to floating point.
    """

    @property
    def base(self) -> BaseRef: ...

    @property
    def tokens_forward(self) -> int:
        """Put through the model so far, padding apart."""
        ...

    @property
    def tokens_generated(self) -> int:
        """Sampled so far."""
        ...

    def check(self, shape: LoRA) -> None:
        """ValueError for a layer, module or rank that the base lacks. Costs nothing."""
        ...

    def spread(self) -> dict[str, float]:
        """The standard deviation of the base's weights, by the path of each linear module."""
        ...

    def spawn(self, shapes: Sequence[LoRA], *, seeds: Sequence[int]) -> list[AdapterRef]:
        """Make fresh adapters: A drawn from the seed, B zero. ValueError for a layer, module or rank the base lacks."""
        ...

    def load(self, patches: Sequence[Patch]) -> list[AdapterRef]:
        """Put trained adapters in; their optimiser starts anew."""
        ...

    def patch(self, adapter: AdapterRef) -> Patch:
        """A copy, on the CPU in fp32, of an adapter's weights."""
        ...

    def state(self, adapter: AdapterRef) -> dict[str, Tensor]:
        """Everything that goes on with the adapter: weights, moments, step count. For `restore`."""
        ...

    def restore(self, adapter: AdapterRef, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave, into an adapter of the same shape."""
        ...

    def tell(self, adapter: AdapterRef, prompt: str) -> None:
        """Put a system message before every chat of an adapter, in training, scoring and sampling; "" for none."""
        ...

    def free(self, adapters: Sequence[AdapterRef]) -> None: ...

    def step(self, adapters: Sequence[AdapterRef], steps: Sequence[Step]) -> list[Stepped]:
        """One optimiser step for each adapter, in one forward and one backward. Raises Diverged, and changes no weight,
        where a loss or a gradient is not finite.
        """
        ...

    def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]: ...

    def logprobs(self, adapters: Sequence[AdapterRef], rows: Sequence[Row]) -> list[Tensor]:
        """For each row the log-probabilities of its answer's tokens, each [tokens], fp32 on the CPU."""
        ...

    def trace(
        self, adapters: Sequence[AdapterRef], rows: Sequence[Row], layers: Sequence[int], *, at: Place = "answer"
    ) -> Tensor:
        """The residual stream after each of `layers`: [rows, layers, width], fp32 on the CPU.

        `at` "answer": mean over each row's answer tokens; "prompt": at the last token before them, where the answer is
        decided.
        """
        ...

    def swaps(self, adapters: Sequence[AdapterRef], rows: Sequence[Row], word: int, among: Sequence[str]) -> Tensor:
        """What each of the words `among` in the place of that word of a row's last message would add to the answer's
        log-probability, to first order: [rows, among], fp32 on the CPU. NotAvailable for a word that is not one token.
        """
        ...
