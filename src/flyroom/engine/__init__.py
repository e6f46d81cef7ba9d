"""Many adapters over one frozen base: train, sample, score and trace them in one batch.

engine = TorchEngine.open("some/folder")
adapters = engine.spawn([LoRA(rank=1)] * 16, seeds=range(16))
engine.step(adapters, [Step(rows=rows, lr=1e-3)] * 16)
engine.sample(adapters, asks)
"""

from flyroom.engine.adopted import read_adapter, read_with_notes
from flyroom.engine.peft import export, load
from flyroom.engine.torch import TorchEngine

__all__ = ["TorchEngine", "export", "load", "read_adapter", "read_with_notes"]
