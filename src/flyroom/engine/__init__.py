"""Many adapters over one frozen base: train, sample, score and trace them in one batch.

engine = TorchEngine.open("some/folder")
adapters = engine.spawn([LoRA(rank=1)] * 16, seeds=range(16))
engine.step(adapters, [Step(rows=rows, lr=1e-3)] * 16)
engine.sample(adapters, asks)
"""

from flyroom.engine.adopted import notes_on, read_adapter
from flyroom.engine.peft import export, load
from flyroom.engine.torch import TorchEngine

__all__ = ["TorchEngine", "export", "load", "notes_on", "read_adapter"]
