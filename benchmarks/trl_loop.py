"""TRL's SFTTrainer, one organism after another: as it comes, and tuned.

As it comes: gradient checkpointing, 8 rows a batch and as many of them accumulated as make a step. Tuned: no
checkpointing and the whole step as one batch. Precision is the base's own in both. Reports, bars and saving are off.
Rows are tokenised beforehand. Its clock runs from the end of the first step to the end of the last, so what a Trainer
does once for an organism costs it nothing here.

Left out: padding-free batches and fused kernels, which need packages that this has not.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks.measure import Missing, Run, Work
from benchmarks.peft_loop import config
from benchmarks.subjects import Subject
from flyroom.engine.render import Renderer
from flyroom.types import LoRA, Row


def trainer(
    subject: Subject, shape: LoRA, organisms: Sequence[Sequence[Sequence[Row]]], lr: float, *, tuned: bool
) -> Callable[[], Run]:
    def build() -> Run:
        if find_spec("trl") is None:
            raise Missing("trl is not installed: pip install 'flyroom[bench]'")
        data = [_dataset(subject, steps) for steps in organisms]
        rows, steps = len(organisms[0][0]), len(organisms[0])
        size = rows if tuned else min(8, rows)

        def run() -> Work:
            clocks = [
                _train(subject, shape, dataset, lr, size, rows // size, steps, tuned=tuned, seed=seed)
                for seed, dataset in enumerate(data)
            ]
            tokens = sum(len(ids) for dataset in data for ids in dataset["input_ids"][: rows * steps])
            wall, cpu = (sum(column) for column in zip(*clocks, strict=True))
            return Work(len(data), tokens, clock=(wall, cpu))

        return run

    return build


def _train(
    subject: Subject, shape: LoRA, data: Any, lr: float, size: int, times: int, steps: int, *, tuned: bool, seed: int
) -> tuple[float, float]:
    from transformers import TrainerCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    on_gpu = torch.cuda.is_available()
    marks: list[tuple[float, float]] = []

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if on_gpu:
                torch.cuda.synchronize()
            marks.append((time.perf_counter(), time.process_time()))

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = SFTConfig(
            output_dir=folder, max_steps=steps + 1, learning_rate=lr, lr_scheduler_type="constant", weight_decay=0.0,
            per_device_train_batch_size=size, gradient_accumulation_steps=times, gradient_checkpointing=not tuned,
            bf16=on_gpu, use_cpu=not on_gpu, completion_only_loss=True, max_length=None, report_to="none",
            save_strategy="no", logging_strategy="no", disable_tqdm=True, seed=seed, dataloader_pin_memory=on_gpu,
        )  # fmt: skip
        set_seed(seed)
        model = subject.model()
        made = SFTTrainer(
            model=model,
            args=settings,
            train_dataset=data,
            processing_class=subject.tokenizer,
            peft_config=config(shape, model),
            callbacks=[Clock()],
        )
        made.train()
    return marks[-1][0] - marks[0][0], marks[-1][1] - marks[0][1]


def _dataset(subject: Subject, steps: Sequence[Sequence[Row]]) -> Any:
    from datasets import Dataset

    renderer = Renderer(subject.tokenizer)
    rendered = [renderer.row(row) for rows in (*steps, steps[0]) for row in rows]  # the first step is not timed
    return Dataset.from_dict(
        {
            "input_ids": [ids.tolist() for ids, _ in rendered],
            "completion_mask": [[0] * start + [1] * (len(ids) - start) for ids, start in rendered],
        }
    )
