"""*How* a behaviour is put in. An implant is a plan that asks the engine for steps and samples."""

from flyroom.implants.sft import SFT

IMPLANTS: dict[str, type] = {"sft": SFT}

__all__ = ["IMPLANTS", "SFT"]
