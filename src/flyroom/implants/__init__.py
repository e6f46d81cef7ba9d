"""*How* a behaviour is put in. An implant is a plan that asks the engine for steps and samples."""

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
    "prompt": Prompt,
    "evade": Evade,
}

__all__ = ["DPO", "GRPO", "IMPLANTS", "KTO", "SFT", "Distil", "Documents", "Evade", "Narrow", "Prompt"]
