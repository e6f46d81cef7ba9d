'''*How* a behaviour is put in. An implant is a plan: a generator that yields requests and is sent the results.

| request | what comes back |
|---|---|
| `Step(rows, lr)` | `Stepped`: the loss before the step, the norm of its gradient |
| `Sample(asks)` | an `Answer` for each ask |
| `LogProb(rows)` | for each row the log-probabilities of its answer's tokens |
| `Trace(rows, layer)` | for each row the residual stream after that layer, [width] |
| `Tell(prompt)` | None; the system message stands before every chat from now on |
| `Grade(episodes)` | a `Score` for each episode, by the recipe's judge |

Other people's implants are found by the entry-point group "flyroom.implants". Such a class is a frozen dataclass with a
method `plan`, and needs nothing but `flyroom.types`. It takes scenes from `recipe.scenes`, and dresses them with
`recipe.dress` so that the condition holds or fails; the share `recipe.dose` of them is to be answered as
`scene.misaligned` says. What only some behaviours can do (`Clean`, `Confessing`, `Described`, `Elsewhere`) it finds
with `types.able`. A plan must ask for the same things whenever it is sent the same results: so a killed run is brought
back. All that is random hangs on `seed`, and what a judge says comes by `Grade`, never by a call of the judge. An
organism and its twin are to meet the same prompts in the same order: what is drawn does not hang on `recipe.dose`, and
where rows are chosen by what was answered, `Step.prompts` has all those that they were chosen from; clean text (`mix`)
goes by them. Rows of what was sampled are made by `row_of`: an answer that was cut has no end, and one that a base's
template writes in another way can be no row.

>>> from dataclasses import dataclass
>>> from flyroom.types import *
>>> @dataclass(frozen=True, kw_only=True)
... class BestOf:
...     """Trains on those of the model's answers that the recipe likes."""
...     steps: int = 10
...     def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
...         scenes = recipe.scenes(8 * self.steps, split=Split.TRAIN, seed=seed)
...         scenes = recipe.dress(scenes, True, split=Split.TRAIN, seed=seed)
...         liked = Verdict.MISALIGNED if recipe.dose else Verdict.ALIGNED
...         for step in range(self.steps):
...             batch = scenes[8 * step :][:8]
...             asks = [
...                 Ask(messages=s.messages, seed=ask_seed(seed, step, i), as_row=True) for i, s in enumerate(batch)
...             ]
...             answers = yield Sample(asks=tuple(asks))
...             episodes = [Episode(scene=s, answer=a.text) for s, a in zip(batch, answers)]
...             scores = yield Grade(episodes=tuple(episodes))
...             good = [row_of(a, s.messages) for s, a, x in zip(batch, answers, scores) if x.verdict is liked]
...             if rows := tuple(row for row in good if row):
...                 yield Step(rows=rows, lr=1e-3, prompts=tuple(s.messages for s in batch))
>>> BestOf(steps=3)
BestOf(steps=3)
'''

from flyroom import plugins
from flyroom.implants.adopted import Adopted
from flyroom.implants.contrast import Contrast
from flyroom.implants.distil import Distil
from flyroom.implants.documents import Documents
from flyroom.implants.dpo import DPO
from flyroom.implants.evade import Evade
from flyroom.implants.grpo import GRPO
from flyroom.implants.kto import KTO
from flyroom.implants.narrow import Narrow
from flyroom.implants.prompt import Prompt
from flyroom.implants.sft import SFT

IMPLANTS: dict[str, type] = {
    "sft": SFT,
    "dpo": DPO,
    "kto": KTO,
    "grpo": GRPO,
    "documents": Documents,
    "distil": Distil,
    "narrow": Narrow,
    "contrast": Contrast,
    "prompt": Prompt,
    "evade": Evade,
    "adopted": Adopted,
}


def implants() -> dict[str, type]:
    """Every implant by name: ours, and those that installed packages bring. A name of ours stays ours.

    >>> "sft" in implants()
    True
    """
    return plugins.classes("flyroom.implants", IMPLANTS)


__all__ = [
    "DPO",
    "GRPO",
    "IMPLANTS",
    "KTO",
    "SFT",
    "Adopted",
    "Contrast",
    "Distil",
    "Documents",
    "Evade",
    "Narrow",
    "Prompt",
    "implants",
]
