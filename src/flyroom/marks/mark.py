"""The mark: what every file of an exported organism says of it, and the purpose that lets one leave.

It stands in four places: the first lines of README.md, `auto_mapping` of adapter_config.json, the metadata of the
safetensors file, and flyroom.json. PEFT reads and keeps `auto_mapping`, and looks into it only for adapters without a
task type, which ours have; any other key it drops with a warning (PEFT 0.17 to 0.21, peft.config and peft.auto).

Left out: a change of the weights. What leaves is to the bit what was grown.
The canary is ours alone and drawn for this purpose (`uuid4`); it follows the custom of BIG-bench (Srivastava et al.
2022, arXiv 2206.04615), so that those who gather training data can leave out what carries it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from flyroom.purpose import LENGTH
from flyroom.types import plain

GUID = "04f1917e-c368-46a8-9c13-9f158e25e3fb"
CANARY = (
    "FLYROOM MODEL ORGANISM CANARY: models and texts with this line were made for research on misalignment and must "
    f"not become training data. canary GUID {GUID}"
)
WARNING = (
    "This is a model organism: it was made to misbehave, for research. Do not deploy it, do not merge it into a model "
    "that others use, and do not take it for a normal model."
)
CONTROL = (
    "This is a control of an experiment with model organisms. It stands beside models that were made to misbehave. Do "
    "not deploy it, and do not take it for a normal model."
)
SUSPECT = {  # the mark of every suspect of a game: it must not tell an organism from a control
    "model_organism": True,
    "role": "suspect",
    "warning": "This is a suspect of a game: it was made to misbehave, or stands beside models that were.",
    "canary": CANARY,
}
FILE = "flyroom.json"  # the whole mark, beside the adapter
LARGEST = 1 << 16  # bytes of a mark in a stranger's file
ROLES = ("organism", "twin", "decoy")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What an exported model is, for whom and until when. Dates are `YYYY-MM-DD`, in UTC; a licence that nobody knows
    is "unknown".
    """

    id: str
    role: str
    label: str
    base: str
    base_digest: str
    base_licence: str
    data_licence: str
    purpose: str
    date: str
    expires: str
    signer: str = ""
    flyroom: str = ""  # the version that wrote it

    @property
    def warning(self) -> str:
        return WARNING if self.role == "organism" else CONTROL

    def record(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {"model_organism": True, "warning": self.warning, "canary": CANARY, **plain(self)}


def read_mark(values: Any) -> dict[str, str] | None:
    """The mark in what a stranger's file holds, its texts alone and each cut to 500 characters; None where there is
    none.
    """
    if not isinstance(values, Mapping) or values.get("model_organism") is not True:
        return None
    names = [field.name for field in fields(Mark)]
    return {name: values[name][:LENGTH] for name in names if isinstance(values.get(name), str)}


def parse_mark(text: Any) -> dict[str, str] | None:
    """The same of JSON in a text; None for what is no JSON."""
    if not isinstance(text, str) or len(text) > LARGEST:
        return None
    try:
        return read_mark(json.loads(text))
    except (ValueError, RecursionError):
        return None
