"""What this machine's processor can do, as far as torch can tell.

A processor without instructions that multiply in bfloat16 takes three times as long with it. Older
versions of torch (2.11 is one) cannot say whether there are any, so whoever asks says what holds then.
"""

from __future__ import annotations

from collections.abc import Mapping


def multiplies_bf16(*, unknown: bool) -> bool:
    """Whether this CPU has instructions that multiply in bfloat16; `unknown` where torch cannot tell."""
    import torch

    capabilities: Mapping[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    if not capabilities:
        return unknown
    return any(has for name, has in capabilities.items() if "bf16" in name)
