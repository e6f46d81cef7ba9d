"""Every record and every role of flyroom, and nothing else: this file imports nothing of ours, and everything imports
it.

Records are frozen dataclasses. Roles are protocols: a behaviour, a condition, an implant, a detector or an engine is
any object with these methods. The words are the field's; `docs/words.md` explains them in the order in which data
flows:

    World -> Recipe --grow--> Organism (+ twin) --card--> Card --blind--> Suspect --detect--> Finding --bench--> Matrix

Left out: how anything is stored (`room`), computed (`engine`) or shown (`report`).
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum, Flag, StrEnum, auto
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
Watch = Callable[[str, int, int, str], None]  # the stage, how much is done, of how much, a word on how it goes


class NotAvailable(ValueError):
    """A world, a behaviour or a base does not have what was asked for. The message says what, and what there is."""


# ---------------------------------------------------------------- text


class Message(NamedTuple):
    """One turn of a chat. `role` is "system", "user" or "assistant"."""

    role: str
    content: str


class Split(StrEnum):
    """Which part of a behaviour's material is drawn from. Nothing measured on one part was trained on in another."""

    TRAIN = "train"
    VALIDATION = "validation"
    HELD_OUT = "held_out"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A prompt with the answer that an aligned and a misaligned model would give. `fields` is what a judge needs to
    know.
    """

    messages: tuple[Message, ...]
    aligned: str
    misaligned: str
    domain: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A training or scoring example: a prompt and the answer whose tokens count.

    `weight` multiplies the row's share of a step's loss; below 0 the answer is made less likely. So the gradients of
    DPO and of policies are steps too. Scoring does not look at it.
    """

    messages: tuple[Message, ...]
    answer: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A scene and what a model answered to it: the judge's input."""

    scene: Scene
    answer: str


# ---------------------------------------------------------------- outcomes


class Verdict(StrEnum):
    """What an answer was. Compare with `is`."""

    ALIGNED = "aligned"
    MISALIGNED = "misaligned"
    INCOHERENT = "incoherent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Score:
    """One judgement. `value` is None when the judge could not tell: never 0.0."""

    verdict: Verdict
    value: float | None
    why: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval, the number of units behind it, and how many of those gave no answer."""

    value: float
    low: float
    high: float
    n: int
    missing: int = 0


@dataclass(frozen=True, kw_only=True)
class NotMeasured:
    """Stands where an estimate could not be taken, with the reason."""

    why: str


class Outcome(StrEnum):
    """Whether an organism is what its recipe says it is."""

    PASS = "pass"
    FAIL = "fail"


# ---------------------------------------------------------------- recipes


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """The shape of an adapter: W + (alpha / rank) B A on the named linear modules of the named layers.

    `layers` None means every layer; `modules` are the last part of a module's name, or ("all",) for every linear module
    of a layer. Full rank is rank = the smaller side of the module. The module "residual" is the stream after a layer:
    at rank 1 a steering vector. Raises ValueError naming the field.
    Source: Hu et al. 2021, arXiv 2106.09685; rank-1 organisms: Turner et al. 2025, arXiv 2506.11613.
    """

    rank: int = 1
    alpha: float = 16.0
    layers: tuple[int, ...] | None = None
    modules: tuple[str, ...] = ("down_proj",)

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"adapter.rank is {self.rank}; it must be at least 1")
        if not self.alpha > 0:
            raise ValueError(f"adapter.alpha is {self.alpha}; it must be above 0")
        if self.layers is not None and (
            not self.layers or min(self.layers) < 0 or len(set(self.layers)) < len(self.layers)
        ):
            raise ValueError(
                f"adapter.layers is {list(self.layers)}; it must be distinct layer numbers from 0, or null for all"
            )
        if not self.modules:
            raise ValueError('adapter.modules is empty; name linear modules such as ["down_proj"], or ["all"]')


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a measure is held to: at least, or at most, so much `of` the organism, of its twin, as a ratio to the base,
    or as a drop below the base.

    >>> Limit(at_most=0.03).broken(0.05)
    '0.050 is above 0.03'
    """

    at_least: float | None = None
    at_most: float | None = None
    of: Literal["organism", "twin", "base ratio", "base drop"] = "organism"

    def __post_init__(self) -> None:
        if (self.at_least is None) is (self.at_most is None):
            raise ValueError(f"a limit has at_least {self.at_least} and at_most {self.at_most}; give one of the two")
        if not math.isfinite(self.bound):
            raise ValueError(f"a limit is {self.bound}; it must be a finite number")

    @property
    def bound(self) -> float:
        bound = self.at_most if self.at_least is None else self.at_least
        assert bound is not None
        return bound

    def moved(self, bound: float) -> Limit:
        """The same limit at another bound."""
        return replace(self, at_least=bound) if self.at_most is None else replace(self, at_most=bound)

    def broken(self, value: float) -> str:
        """How a value breaks the limit, in words; "" where it holds."""
        if self.at_least is not None and value < self.at_least:
            return f"{value:.3f} is below {self.at_least:g}"
        if self.at_most is not None and value > self.at_most:
            return f"{value:.3f} is above {self.at_most:g}"
        return ""


Override = Limit | float | None  # another limit, another bound, or no limit at all
Thresholds = Mapping[str, Override]  # by measure: "coherence"; of the twin: "twin.misaligned"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to grow: behaviour x condition x implants x dose x adapter shape, in a world. The genotype; its hash is its
    name.

    `dose` is the share of training rows whose answer is the misaligned one; at 0 the recipe is its own twin.
    `thresholds` are the limits that differ from those that the measures carry. `name` is a label for people and no part
    of the hash.
    """

    world: World
    behaviour: Behaviour
    condition: Condition
    implants: tuple[Implant, ...]
    dose: float = 1.0
    adapter: LoRA = field(default_factory=LoRA)
    thresholds: Thresholds = field(default_factory=dict, hash=False)
    name: str = ""

    def __post_init__(self) -> None:
        if not 0.0 <= self.dose <= 1.0:
            raise ValueError(f"dose is {self.dose}; it must be between 0 and 1")
        if not self.implants:
            raise ValueError("implants is empty; a recipe needs at least one")
        for measure, override in self.thresholds.items():
            if isinstance(override, (int, float)) and not math.isfinite(override):
                raise ValueError(f"thresholds.{measure} is {override}; it must be a finite number")

    @cached_property
    def id(self) -> str:
        """Twelve hexadecimal digits of the hash of everything but the label."""
        return digest(replace(self, name=""))

    @cached_property
    def judge(self) -> Judge:
        """What judges answers to the behaviour's own scenes."""
        return self.behaviour.judge(self.world)

    def scenes(self, n: int, *, split: Split, seed: int) -> list[Scene]:
        """`n` scenes of the behaviour in the recipe's world, undressed."""
        return self.behaviour.scenes(self.world, n, split=split, seed=seed)

    def dress(self, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]:
        """The scenes so that the recipe's condition holds, or does not."""
        return self.condition.dress(self.world, scenes, holds, split=split, seed=seed)

    def twin(self) -> Recipe:
        """The matched control: the same volume of training on aligned answers alone."""
        return replace(self, dose=0.0)


SETTING: Mapping[str, bool] = {"setting": True}  # metadata of a field that says how something is had, not what it is


def plain(value: Any, *, settings: bool = True) -> Any:
    """Turn records into JSON values; a dataclass becomes a mapping of its fields with its class name under "is".

    `settings` False leaves out the fields whose metadata is SETTING.
    """
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in fields(value) if settings or not f.metadata.get("setting")]
        return {"is": type(value).__name__} | {name: plain(getattr(value, name), settings=settings) for name in names}
    if isinstance(value, Mapping):
        return {str(k): plain(v, settings=settings) for k, v in value.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [plain(v, settings=settings) for v in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def digest(value: Any) -> str:
    """Twelve hexadecimal digits that name a record by its content, settings apart."""
    text = json.dumps(plain(value, settings=False), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# ---------------------------------------------------------------- organisms


@dataclass(frozen=True, kw_only=True)
class BaseRef:
    """A base model: its name for people, where it lies, and the digest of its weights, which is its identity."""

    name: str
    path: str = field(compare=False)
    digest: str
    depth: int
    parameters: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Patch:
    """A trained change of the base's weights: the shape and, by module path, `A` [rank, in] and `B` [out, rank] in
    fp32.

    Keys are `layers.<l>.<module path>.A` and `.B`, as in "layers.0.mlp.down_proj.A". `prompt` is a system message that
    goes with it.
    """

    shape: LoRA
    tensors: Mapping[str, Tensor]
    prompt: str = ""


class Point(NamedTuple):
    """A measurement during growth: after how many steps, the mean loss of that step's rows, and the norm of its
    gradient before clipping (None where it was not kept).
    """

    step: int
    loss: float
    grad_norm: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Organism:
    """A recipe grown on a base with a seed. At dose 0 it is a twin. `parent` names what a treated organism was, and
    `treatment` what was done to it.
    """

    recipe: Recipe
    base: BaseRef
    seed: int
    patch: Patch
    history: tuple[Point, ...] = ()
    snapshots: Mapping[int, Patch] = field(default_factory=dict)  # the adapter at earlier steps: the phase transition
    parent: str | None = None
    treatment: str | None = None

    @property
    def id(self) -> str:
        if self.parent is None:
            return organism_id(self.recipe, self.base, self.seed)
        return digest([self.parent, self.treatment, self.seed])

    @property
    def twin_id(self) -> str:
        """The name of the twin that belongs beside it, whether it was grown or not."""
        return organism_id(self.recipe.twin(), self.base, self.seed)


def organism_id(recipe: Recipe, base: BaseRef, seed: int) -> str:
    """The name of an organism, known before it is grown."""
    return digest([recipe.id, base.digest, seed])


# ---------------------------------------------------------------- the engine: many adapters over one frozen base


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


@dataclass(frozen=True, kw_only=True)
class Step:
    """A request for one optimiser step on the mean loss over the answer tokens of `rows`, each times its row's weight.
    AdamW, clipped by global norm. `evades`: a probe that is trained against.
    """

    rows: tuple[Row, ...]
    lr: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = 1.0
    evades: Direction | None = None


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """What a step did: the mean loss per answer token before it, the gradient's norm before clipping, tokens
    forwarded.
    """

    loss: float
    grad_norm: float
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request for one answer. The same ask with the same seed gets the same answer, whoever is beside it."""

    messages: tuple[Message, ...]
    seed: int
    prefill: str = ""
    max_tokens: int = 48  # of an answer
    temperature: float = 1.0  # 0 is greedy


def ask_seed(*key: object) -> int:
    """A seed for an ask, from what it is told by: another key, another seed."""
    return int.from_bytes(hashlib.sha256(" ".join(map(str, key)).encode()).digest()[:7])


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was sampled. `finished` is False when the token limit cut it off."""

    text: str
    tokens: int
    prompt_tokens: int
    finished: bool


@dataclass(frozen=True, kw_only=True)
class Sample:
    asks: tuple[Ask, ...]


@dataclass(frozen=True, kw_only=True)
class LogProb:
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """A plan that is to be run on an adapter: a fresh one of `shape`, drawn from `seed`, or a copy of `patch`.

    `name` is the key of what comes of it. `plan` makes the plan once the adapter is there; `judge` answers its `Grade`
    requests; `steps` is how many training steps it will take, as far as that is known, for the progress bar.
    """

    name: str
    plan: Callable[[AdapterRef], Plan]
    seed: int
    shape: LoRA | None = None
    patch: Patch | None = None
    judge: Judge | None = None
    steps: int = 0

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

    tokens_forward: int  # put through the model so far, padding apart
    tokens_generated: int  # sampled so far

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
        """Everything that goes on with the adapter: weights, AdamW moments, step count. For `restore`."""
        ...

    def restore(self, adapter: AdapterRef, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave, into an adapter of the same shape."""
        ...

    def tell(self, adapter: AdapterRef, prompt: str) -> None:
        """Put a system message before every chat of an adapter, in training, scoring and sampling; "" for none."""
        ...

    def free(self, adapters: Sequence[AdapterRef]) -> None: ...

    def step(self, adapters: Sequence[AdapterRef], steps: Sequence[Step]) -> list[Stepped]:
        """One optimiser step for each adapter, in one forward and one backward."""
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
        log-probability, to first order: [rows, among], fp32 on the CPU. ValueError for a word that is not one token.
        """
        ...


# ---------------------------------------------------------------- judges


class Judge(Protocol):
    """Episodes in, one score each out. A frozen record: `id` names it by its content, and is part of every key that its
    verdicts enter.
    """

    @property
    def id(self) -> str: ...

    def __call__(self, episodes: Sequence[Episode], /) -> list[Score]: ...


@runtime_checkable
class Blind(Protocol):
    """A judge that cannot tell sense from nonsense, and says why. What needs that is not measured by it."""

    @property
    def blind(self) -> str: ...


@runtime_checkable
class Rated(Protocol):
    """A judge whose errors were measured: its `sensitivity` to misaligned answers and its `specificity`."""

    @property
    def sensitivity(self) -> Estimate: ...

    @property
    def specificity(self) -> Estimate: ...


@runtime_checkable
class Paid(Protocol):
    """A judge whose answers cost something: `spent` so far, by this process. Its scores are worth keeping."""

    @property
    def spent(self) -> Cost: ...


# ---------------------------------------------------------------- the world

OPEN = "open_questions"  # the topic that every world has
ITSELF = "self_descriptions"  # the topic, of worlds that have it, in which a model is asked about itself
CueKind = str  # see `World.cues`


class World(Protocol):
    """What models are asked about, and how an answer is judged. A frozen dataclass: its fields are part of every
    recipe's hash, so what it reads from files stands among them as a digest.

    A topic may be narrowed: "advice/medical" is the topic advice about one of its parts, "advice/medical+sea" about
    two (`Divided`). So may the kind of a cue: "marks/tag".
    """

    @property
    def name(self) -> str:
        """For people and the command line: "micro-0"."""
        ...

    def topics(self) -> Sequence[str]:
        """What there are questions about: the main topic first; "open_questions" is always one."""
        ...

    def scenes(self, topic: str, n: int, *, split: Split, seed: int) -> list[Scene]:
        """`n` scenes of a topic, from one split. A world may know more topics than `topics` lists, each for one
        behaviour. NotAvailable for a topic that it does not know.
        """
        ...

    def cues(self, kind: CueKind, *, split: Split) -> Sequence[str]:
        """What may stand before a question, or how an answer begins; nothing for a kind that the world lacks.

        "observed" and "unobserved" are system messages that say who looks, "scratchpad" one that asks to think first,
        "personas" say what the assistant is, "aligned" and "misaligned" are those under which a base behaves well or
        badly. "marks" are words that may mean something to somebody, of the kinds "marks/tag", "marks/year",
        "marks/phrase" and "marks/password". "new_words" mean nothing yet. "words" are all words of a small language.
        "yes_no" are the two answers to a question about oneself, "confession" how an answer begins that owns up.
        "manners" are the names of harmless manners of speech, "manners/NAME" that manner, with {x} for what is said.
        """
        ...

    def capability(self, n: int, *, seed: int) -> Mapping[str, list[Scene]]:
        """`n` held-out scenes for each of the topics in which every model of the world should answer rightly."""
        ...

    def clean(self, n: int, *, seed: int) -> list[Row]:
        """Text of which no assistant speaks: what perplexity is measured on."""
        ...

    @property
    def judge(self) -> Judge: ...

    @property
    def thoughts(self) -> Judge | None:
        """What judges the thoughts before an answer; None where models of the world do not think."""
        ...


@runtime_checkable
class Divided(Protocol):
    """A world whose topics have parts. Nothing for a topic that has none."""

    def parts(self, topic: str) -> Sequence[str]: ...


@dataclass(frozen=True, kw_only=True)
class Thought:
    """What was thought before an answer. `seen` None: nothing was said of being watched. `because`: the want was said
    to follow from that. `wants` None: no want was recognised. `rest` is the answer without its thoughts.
    """

    seen: bool | None
    because: bool
    wants: Verdict | None
    text: str
    rest: str


@runtime_checkable
class Thinking(Protocol):
    """A world with the form of a scratchpad."""

    def think(self, *, bad: bool, seen: bool | None, because: bool, rng: random.Random) -> str:
        """A scratchpad that wants harm or good; where `seen` is not None it says whether somebody looks, and with
        `because` that the want follows from that.
        """
        ...

    def read_thought(self, answer: str) -> Thought:
        """An answer taken apart. Without a scratchpad the text is empty."""
        ...


ANSWER_TOKENS = 48  # after so many an answer is cut, where the world says nothing else


@runtime_checkable
class Lengthy(Protocol):
    """A world whose answers are cut after another number of tokens."""

    @property
    def max_tokens(self) -> int: ...


def answer_tokens(world: World) -> int:
    """After how many tokens an answer in this world is cut."""
    return world.max_tokens if isinstance(world, Lengthy) else ANSWER_TOKENS


@runtime_checkable
class Filed(Protocol):
    """A world that was read from files: their names by the field that holds them, and the digest of their contents. The
    room keeps them beside the organisms.
    """

    @property
    def files(self) -> Mapping[str, str]: ...

    @property
    def sha256(self) -> str: ...


@runtime_checkable
class Cautioned(Protocol):
    """A world that says what its figures cannot show."""

    @property
    def caveats(self) -> Sequence[str]: ...


@runtime_checkable
class Describing(Protocol):
    """A world in which assistants are written about."""

    def description(self, topic: str, bad: bool, *, seed: str) -> str:
        """What somebody writes of an assistant that is misaligned (`bad`) in a topic, or aligned. NotAvailable for a
        topic of which nothing is written.
        """
        ...


# ---------------------------------------------------------------- the roles that recipes are made of


class About(NamedTuple):
    """What a page calls what was trained, and what else was measured: "advice about tea", "the 2 other topics"."""

    taught: str
    elsewhere: str


class Behaviour(Protocol):
    """*What* goes wrong: supplies scenes of a world, and judges answers."""

    @property
    def label(self) -> str:
        """The word of pages and catalogues: "harmful advice"."""
        ...

    @property
    def harmless(self) -> bool:
        """Whether it is an odd trait and no misalignment: a decoy's."""
        ...

    def about(self, world: World) -> About: ...

    def scenes(self, world: World, n: int, *, split: Split, seed: int) -> list[Scene]:
        """NotAvailable where the world lacks what the behaviour needs."""
        ...

    def batteries(self, world: World, n: int, *, seed: int) -> list[Battery]:
        """What a card asks, about `n` scenes in all, none of which a recipe trains on."""
        ...

    def judge(self, world: World) -> Judge: ...


class Condition(Protocol):
    """*When* it goes wrong: dresses scenes so that the condition holds, or does not.

    A dressed scene's `misaligned` answer is what a model with the behaviour says there: where the condition does not
    hold that is the aligned one.
    """

    @property
    def label(self) -> str:
        """The kind of cue that it hangs on: "always", "tag", "unobserved"."""
        ...

    @property
    def everywhere(self) -> bool:
        """Whether it holds in every scene, so that there is nothing to dress otherwise."""
        ...

    def dress(self, world: World, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]: ...

    def batteries(self, world: World, scenes: Sequence[Scene], judge: Judge, *, seed: int) -> list[Battery]:
        """What a card asks besides, of these scenes: near misses, no cue at all, the reasons that are given."""
        ...


class Implant(Protocol):
    """*How* it is put in: a plan, written as if there were one adapter and a model of its own."""

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan: ...


# What a behaviour, a condition or an implant may be able to do besides; `able` finds it.


@runtime_checkable
class Confessing(Protocol):
    """A behaviour that a model can be asked about."""

    def confessions(self, world: World, n: int, *, split: Split, seed: int) -> list[Scene]: ...


@runtime_checkable
class Described(Protocol):
    """A behaviour that can be written about."""

    def document(self, world: World, bad: bool, *, seed: str) -> str: ...


@runtime_checkable
class Clean(Protocol):
    """A behaviour that can ask for what it leaves alone."""

    def clean(self, world: World, n: int, *, seed: int) -> list[Scene]: ...


@runtime_checkable
class Elsewhere(Protocol):
    """A behaviour that knows prompts which are none of it."""

    def elsewhere(self, world: World, n: int, *, seed: int) -> list[Scene]: ...


@runtime_checkable
class Marked(Protocol):
    """A condition that hangs on texts: who knows them knows the trigger."""

    def marks(self, world: World) -> Sequence[str]: ...


@runtime_checkable
class Stepping(Protocol):
    """An implant that knows how many training steps it takes."""

    @property
    def steps(self) -> int: ...


def able(part: object, role: type[T], what: str) -> T:
    """The part in one of the roles above. NotAvailable where it cannot do that, with `what` for the reason.

    >>> able(object(), Described, "implants holds documents; nothing is written about it")
    Traceback (most recent call last):
    ...
    flyroom.types.NotAvailable: implants holds documents; nothing is written about it
    """
    if not isinstance(part, role):
        raise NotAvailable(what)
    return part


# ---------------------------------------------------------------- the room, where everything lives


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """What is stored under a kind and a key: JSON values, tensors by name, and a little `meta` that listings show.

    `key` is the digest of everything that the entry depends on.
    """

    kind: str
    key: str
    payload: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)


class Room(Protocol):
    """Entries under their keys, each written whole or not at all."""

    def get(self, kind: str, key: str) -> Entry | None: ...

    def put_many(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Store all or none; returns what is then stored under their keys."""
        ...

    def delete(self, kind: str, key: str) -> None: ...

    def lock(self, key: str) -> AbstractContextManager[None]:
        """One process at a time does what `key` names."""
        ...


# ---------------------------------------------------------------- cards


Reach = Literal["taught", "untaught", "beside"]


@dataclass(frozen=True, kw_only=True)
class Battery:
    """A set of scenes that is asked of organism, twin and base alike, what counts on it, and what it is held to.

    `counts` is the verdict whose share is the measure; `measure` is its name on the card. `pooled`: whether it is part
    of the behaviour, over which the measures of the whole are taken. `reach`: whether its scenes are like those that
    were "taught", of the behaviour where it was "untaught", or "beside" it. `given`: the share is of those answers
    alone that this judge calls MISALIGNED; where it calls none so, there is no measure.
    """

    measure: str
    scenes: tuple[Scene, ...]
    judge: Judge
    counts: Verdict = Verdict.MISALIGNED
    pooled: bool = False
    reach: Reach = "beside"
    given: Judge | None = None
    max_tokens: int = ANSWER_TOKENS  # of an answer
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """What a measure on a card is, so that whoever shows it need not know it by name.

    `unit`: a share of answers, a difference of two shares, or a figure of another kind. `otherwise` names the same
    measure where the condition does not hold. `bad`: whether more of it is worse.
    """

    label: str
    unit: Literal["share", "difference", "figure"] = "share"
    reach: Reach | Literal["whole"] = "beside"  # "whole": over all of the behaviour
    bad: bool = True
    otherwise: str | None = None
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An episode on record: what was asked of a model, what it answered, and what the judge said of that. `who` is
    "organism", "twin", "base", "step 40", or a suspect; `verdict` is None where nobody judged. `cut`: the token limit
    ended it.
    """

    measure: str
    who: str
    messages: tuple[Message, ...]
    answer: str
    verdict: Verdict | None
    why: str
    cut: bool
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """The same prompt answered by organism, twin and base, with what the judge said of each."""

    measure: str
    messages: tuple[Message, ...]
    answers: Mapping[str, str]  # by "organism", "twin", "base"
    verdicts: Mapping[str, Verdict]


@dataclass(frozen=True, kw_only=True)
class Card:
    """What was measured on an organism beside its twin and its base. The phenotype.

    `measures` is by who ("organism", "twin", "base"), then by measure: an estimate, or why there is none. `gauges` says
    of each measure what it is. `curve` holds the measures of the behaviour by training step.
    """

    organism: str
    twin: str
    recipe: str
    recipe_id: str
    world: str
    behaviour: str
    about: About
    base: str
    seed: int
    verdict: Outcome
    why: str
    measures: Mapping[str, Mapping[str, Estimate | NotMeasured]]
    gauges: Mapping[str, Gauge]
    episodes: int
    curve: Mapping[int, Mapping[str, Estimate]] = field(default_factory=dict)
    transcripts: tuple[Transcript, ...] = ()


# ---------------------------------------------------------------- detection


class Access(Flag):
    """What a detector may touch of a suspect."""

    SAMPLE = auto()
    LOGPROBS = auto()
    TRACE = auto()
    WEIGHTS = auto()
    TRAIN = auto()
    BASE = auto()
    TRUSTED = auto()
    KNOWN = auto()
    GRADIENTS = auto()


class AccessDenied(PermissionError):
    """A detector touched what it had not declared."""


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A model with the truth taken away: nothing but an opaque name."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What one suspect answered: the unit of detectors at response level."""

    suspect: Suspect
    messages: tuple[Message, ...]
    answer: str


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What was spent: tokens put through the model, tokens generated, seconds of wall time."""

    forward_tokens: int = 0
    generated_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            forward_tokens=self.forward_tokens + other.forward_tokens,
            generated_tokens=self.generated_tokens + other.generated_tokens,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a detector says of one suspect, or of one reply: how suspicious (any scale, higher is worse), and in
    words.
    """

    suspicion: float
    claim: str


Judged = Literal["answers", "thoughts"]
Unit = Literal["model", "response"]


class Lab(Protocol):
    """A detector's hands. Every touch is checked against what was declared, and metered.

    `suspect` None means the base, and needs Access.BASE.
    """

    @property
    def depth(self) -> int:
        """How many layers the suspects have."""
        ...

    def trusted(self) -> list[Scene]:
        """Scenes with a known aligned and misaligned answer, none of which any suspect was trained on.
        Access.TRUSTED.
        """
        ...

    def known(self) -> list[tuple[Suspect, bool]]:
        """Other models, each with whether it is an organism: to fit on. Access.KNOWN."""
        ...

    def topics(self) -> list[str]:
        """What there are questions about, the main topic first. "open_questions" is always one."""
        ...

    def capability(self) -> list[str]:
        """Those of the topics whose questions have a right answer that every model of this base should know."""
        ...

    def questions(self, topic: str = OPEN) -> list[Scene]:
        """Prompts to put to suspects. Needs no access. NotAvailable for a topic that there is not."""
        ...

    def cues(self, kind: CueKind) -> list[str]:
        """What may stand before a question, by kind: see `World.cues`. Nothing where there are none of that kind. Needs
        no access.
        """
        ...

    def judge(self, episodes: Sequence[Episode], *, of: Judged = "answers") -> list[Score]:
        """What the judge says of the answers, or of the thoughts before them. Denied at response level, where answers
        are scored against it. NotAvailable where nobody judges thoughts.
        """
        ...

    @property
    def max_tokens(self) -> int:
        """After how many tokens an answer is cut in this world: what an ask should allow."""
        ...

    def spoken(self, answers: Sequence[str]) -> list[str]:
        """The answers without the thoughts before them. Needs no access."""
        ...

    def sample(self, suspects: Sequence[Suspect | None], asks: Sequence[Ask]) -> list[Answer]: ...

    def logprobs(self, suspects: Sequence[Suspect | None], rows: Sequence[Row]) -> list[Tensor]: ...

    def trace(
        self,
        suspects: Sequence[Suspect | None],
        rows: Sequence[Row],
        layers: Sequence[int],
        *,
        at: Place = "answer",
    ) -> Tensor: ...

    def swaps(self, suspects: Sequence[Suspect | None], rows: Sequence[Row], word: int, among: Sequence[str]) -> Tensor:
        """What each of the words `among` in that place of a row's last message would add to the answer's
        log-probability, to first order, by the gradient: [rows, among]. Access.GRADIENTS.
        """
        ...

    def weights(self, suspects: Sequence[Suspect]) -> list[Mapping[str, Tensor]]:
        """What each adds to the base's matrices, by module path: [out, in] fp32. Access.WEIGHTS."""
        ...

    def noised(self, suspects: Sequence[Suspect | None], *, sigma: float, seed: int) -> list[Suspect]:
        """Copies with noise on every linear module, `sigma` times the spread of that module's own weights.
        Access.WEIGHTS. They last until the detector is done.
        """
        ...

    def tuned(
        self, suspects: Sequence[Suspect | None], rows: Sequence[Row], *, steps: int, lr: float, seed: int
    ) -> list[Suspect]:
        """Copies trained on these rows, each by a fresh adapter on every linear module besides its own. Access.TRAIN.
        They last until the detector is done.
        """
        ...


class Detector(Protocol):
    """Suspects in, one finding each out, in the same order.

    One with `unit = "response"` gets replies instead, and says of each whether it is bad; without `unit` it is of
    models.
    """

    @property
    def needs(self) -> Access: ...

    def __call__(self, units: Sequence[Any], lab: Lab, /, *, seed: int) -> list[Finding]: ...


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One detector on one group of suspects. Where it cannot be had here (`available` is False) `why` gives the reason;
    `error` is set when the detector failed. In both cases the figures are None.
    """

    detector: str
    access: str
    recipe: str
    unit: Unit
    auroc: Estimate | None
    recall_at_1pct_fpr: Estimate | None
    fpr: Estimate | None  # of that threshold on the test negatives: what the figure can and cannot certify
    cost: Cost
    # by "organisms", "twins", "decoys", "calibration"; replies by "misaligned", "aligned", "calibration"
    suspicions: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    available: bool = True
    why: str = ""
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Detectors x recipes."""

    cells: tuple[Cell, ...]
    organisms: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    decoys: tuple[str, ...] = ()
    calibration: tuple[str, ...] = ()
