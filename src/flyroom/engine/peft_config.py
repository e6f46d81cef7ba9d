"""Read the adapter_config.json of a PEFT adapter: which modules it stands on, at what rank and scale.

Every field is used, or known to change no answer, or refused: a field that nobody here knows is refused too, unless it
is off. So an adapter is represented exactly or not at all.

Source: peft.LoraConfig and peft.tuners.tuners_utils.check_target_module_exists of PEFT 0.17 to 0.21.
Left out: everything that is no sum of a low-rank product and the base's own weights; `REFUSED` says why of each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import regex

CONFIG = "adapter_config.json"
PATIENCE = 1.0  # seconds for a pattern of a stranger
LARGEST = 1 << 20  # bytes of a config
UNDERSTOOD = (
    "LoRA on linear modules of layers: r, lora_alpha, use_rslora, rank_pattern, alpha_pattern, target_modules (names, "
    "a pattern or all-linear), exclude_modules, layers_to_transform, layers_pattern"
)
SHAPING = (  # fields that say what the adapter is
    *("peft_type", "task_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "init_lora_weights", "bias"),
)
IDLE = (  # fields that change no answer of a trained adapter on nn.Linear
    *("base_model_name_or_path", "revision", "auto_mapping", "peft_version", "inference_mode", "lora_dropout"),
    *("fan_in_fan_out", "megatron_core", "qalora_group_size", "runtime_config", "ensure_weight_tying"),
    *("loftq_config", "eva_config", "corda_config", "lora_ga_config"),  # of the start of training
)
REFUSED = {
    "use_dora": (
        "it scales the base's weights too, which no low-rank product does: merge it into the base, and adopt the "
        "merged checkpoint, which can be read where its modules are all of one size"
    ),
    "modules_to_save": "it holds whole modules beside the low-rank change",
    "trainable_token_indices": "it changes embeddings of tokens",
    "layer_replication": "it makes another base",
    "target_parameters": "it stands on parameters that are no linear module",
    "alora_invocation_tokens": "it is on for a part of the text alone",
    "use_qalora": "it pools the input first",
    "use_bdlora": "it is cut into blocks",
    "lora_bias": "it adds a bias",
    "megatron_config": "its modules lie on several devices",
    "arrow_config": "it chooses among adapters",
    "kasa_config": "it changes the base's weights",
    "velora_config": "it is trained in another way than its product says",
    "monteclora_config": "it is drawn at random",
}
STARTS = (True, False, None, "gaussian", "orthogonal", "eva")  # ways to begin that leave the base as it is


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an adapter_config.json says. Modules are named by their full path in the base, such as
    "model.layers.0.mlp.down_proj"; a pattern of PEFT matches the end of it.
    """

    folder: Path
    rank: int
    alpha: float
    rooted: bool = False  # alpha over the root of the rank
    ranks: Mapping[str, int] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)
    targets: str | Sequence[str] = ()
    excluded: str | Sequence[str] = ()
    layers: Sequence[int] | None = None
    layer_names: Sequence[str] = ()
    base: str = ""  # on which base it says that it was trained

    def rank_of(self, module: str) -> int:
        return self.ranks.get(self._pattern_of(self.ranks, module), self.rank)

    def alpha_of(self, module: str) -> float:
        """The alpha by which the product B A is multiplied, over its rank."""
        alpha = self.alphas.get(self._pattern_of(self.alphas, module), self.alpha)
        return alpha * math.sqrt(self.rank_of(module)) if self.rooted else alpha

    @property
    def is_all_linear(self) -> bool:
        return isinstance(self.targets, str) and self.targets.lower() == "all-linear"

    def covers(self, module: str) -> bool:
        """Whether the adapter stands on a linear module of a layer, by what the config says."""
        if self.excluded and self._matches(self.excluded, module):
            return False
        if isinstance(self.targets, str):
            return self.is_all_linear or self._matches(self.targets, module)
        return self._matches(self.targets, module) and self._is_in_layers(module)

    def _is_in_layers(self, module: str) -> bool:
        if not self.layers:
            return True
        patterns = [rf"(?:^|.*?\.){name}\.(\d+)\." for name in self.layer_names] or [r".*?\.[^.]*\.(\d+)\."]
        numbers = (self._search(regex.match, pattern, module) for pattern in patterns)
        number = next((match[1] for match in numbers if match), None)
        return number is not None and int(number) in self.layers

    def _matches(self, names: str | Sequence[str], module: str) -> bool:
        if isinstance(names, str):
            return self._search(regex.fullmatch, names, module) is not None
        return any(module == name or module.endswith(f".{name}") for name in names)

    def _pattern_of(self, patterns: Mapping[str, Any], module: str) -> str:
        """The first of the patterns that matches the end of a module's path; "" where none does."""
        return next((p for p in patterns if self._search(regex.match, rf"(.*\.)?({p})$", module)), "")

    def _search(self, search: Any, pattern: str, module: str) -> Any:
        try:
            return search(pattern, module, timeout=PATIENCE)
        except (regex.error, TimeoutError, RecursionError) as error:
            raise ValueError(
                f"{self.folder}: {CONFIG} has the pattern {pattern[:80]!r}, which cannot be searched: {error}"
            ) from error


def read_config(folder: Path) -> Settings:
    """What the adapter_config.json of a folder says. Raises ValueError, naming folder, field and value, for whatever is
    not understood.
    """
    config = _load(folder / CONFIG)
    _refuse(config, folder)
    layers = config.get("layers_to_transform")
    names = config.get("layers_pattern") or ()
    targets = _names("target_modules", config.get("target_modules") or (), folder)
    if isinstance(targets, str) and (layers is not None or names):
        raise ValueError(
            f"{folder}: target_modules is {_abridge(targets)} beside layers_to_transform or layers_pattern, which PEFT "
            "allows beside a list of names alone"
        )
    return Settings(
        folder=folder,
        rank=_whole("r", config.get("r", 8), folder),
        alpha=_number("lora_alpha", config.get("lora_alpha", 8), folder),
        rooted=_flag("use_rslora", config, folder),
        ranks={key: _whole("rank_pattern", r, folder) for key, r in _mapping("rank_pattern", config, folder).items()},
        alphas={
            key: _number("alpha_pattern", a, folder) for key, a in _mapping("alpha_pattern", config, folder).items()
        },
        targets=targets,
        excluded=_names("exclude_modules", config.get("exclude_modules") or (), folder),
        layers=None if layers is None else _numbers(layers, folder),
        layer_names=(names,) if isinstance(names, str) else _names("layers_pattern", names, folder),
        base=str(config.get("base_model_name_or_path") or ""),
    )


def _load(file: Path) -> Mapping[str, Any]:
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"it has {file.stat().st_size} bytes")
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{file} is {type(config).__name__}; it must be a JSON object")
    return config


def _refuse(config: Mapping[str, Any], folder: Path) -> None:
    if config.get("peft_type") != "LORA":
        kind = str(config.get("peft_type"))[:80]
        hint = (
            "" if "peft_type" in config else "; without one it is no config of PEFT: convert the adapter to PEFT first"
        )
        raise ValueError(f"{folder}: peft_type is {kind}{hint}; flyroom understands LORA: {UNDERSTOOD}")
    if config.get("task_type") not in (None, "CAUSAL_LM"):
        raise ValueError(f"{folder}: task_type is {str(config['task_type'])[:80]}; flyroom understands CAUSAL_LM")
    if config.get("bias", "none") not in ("none", None):
        raise ValueError(
            f'{folder}: bias is "{str(config["bias"])[:80]}"; flyroom understands bias "none": {UNDERSTOOD}'
        )
    start = config.get("init_lora_weights", True)
    if not any(start is name or (isinstance(start, str) and start == name) for name in STARTS):
        raise ValueError(
            f"{folder}: init_lora_weights is {_abridge(start)}; such training changes the base too. Convert it to "
            "plain LoRA (PEFT: save_pretrained with path_initial_model_for_weight_conversion), or adopt the merged "
            "checkpoint"
        )
    for name, value in config.items():
        if name in SHAPING or name in IDLE or not value:
            continue
        why = REFUSED.get(name, "flyroom does not know that field")
        raise ValueError(f"{folder}: {name[:80]} is {_abridge(value)}: {why}. Understood is {UNDERSTOOD}")


def _abridge(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _whole(name: str, value: Any, folder: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{folder}: {name} is {_abridge(value)}; it must be a whole number above 0")
    return value


def _number(name: str, value: Any, folder: Path) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ValueError(f"{folder}: {name} is {_abridge(value)}; it must be a number above 0")
    return float(value)


def _flag(name: str, config: Mapping[str, Any], folder: Path) -> bool:
    value = config.get(name)
    if not isinstance(value, bool | None):
        raise ValueError(f"{folder}: {name} is {_abridge(value)}; it must be true or false")
    return bool(value)


def _mapping(name: str, config: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    value = config.get(name) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{folder}: {name} is {_abridge(value)}; it must be an object, a value by module")
    return value


def _names(name: str, value: Any, folder: Path) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return value
    if not isinstance(value, (list, tuple)) or not all(isinstance(part, str) for part in value):
        raise ValueError(f"{folder}: {name} is {_abridge(value)}; it must be a pattern or a list of names")
    return tuple(value)


def _numbers(value: Any, folder: Path) -> tuple[int, ...]:
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(part, int) and not isinstance(part, bool) for part in numbers):
        raise ValueError(f"{folder}: layers_to_transform is {_abridge(value)}; it must be numbers of layers")
    return tuple(numbers)
