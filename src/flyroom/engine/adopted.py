"""Read what somebody else trained on a base, in whichever form it lies: a PEFT folder, or a merged checkpoint."""

from __future__ import annotations

from pathlib import Path

from flyroom.engine import peft
from flyroom.engine.merged import read_merged
from flyroom.engine.peft_config import CONFIG
from flyroom.engine.torch import TorchEngine
from flyroom.types import Patch

FORMS = f"an adapter of PEFT ({CONFIG} beside adapter_model.safetensors or .bin), or a merged checkpoint (config.json)"


def read_adapter(folder: str | Path, engine: TorchEngine) -> Patch:
    """The change of the base's weights that lies in a folder, checked against that base. Raises ValueError, naming the
    folder, for what cannot be represented exactly, and for a folder that holds neither form.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"folder is {folder}; there is no such folder: give {FORMS}")
    if (folder / CONFIG).is_file():
        patch = peft.load(folder, engine.parts)
    elif (folder / "config.json").is_file():
        patch = read_merged(folder, engine.parts)
    else:
        raise ValueError(f"folder is {folder}; it holds no adapter: give {FORMS}")
    engine.check(patch.shape)
    return patch
