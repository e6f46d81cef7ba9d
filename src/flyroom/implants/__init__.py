"""*How* a behaviour is put in. An implant is a plan that asks the engine for steps and samples."""

from flyroom.implants.dpo import DPO
from flyroom.implants.grpo import GRPO
from flyroom.implants.sft import SFT

IMPLANTS: dict[str, type] = {"sft": SFT, "dpo": DPO, "grpo": GRPO}

__all__ = ["DPO", "GRPO", "IMPLANTS", "SFT"]
