"""A CUDA graph: a piece of work that is always the same, recorded once and then replayed. Launching small kernels one
by one takes the host longer than the GPU takes to run them.

The work must not wait for the host, must change tensors in place, and must keep their shapes. On devices other than
CUDA it runs unrecorded.

Source: torch's notes on CUDA semantics, "CUDA Graphs".
"""

from __future__ import annotations

from collections.abc import Callable

import torch

AFTER = 8  # unrecorded calls before the recording: shorter work would hardly repay it (a guess)


class Recorded:
    """A callable that does what `work` does, from a recording once it was called often enough."""

    def __init__(self, work: Callable[[], None], device: torch.device) -> None:
        self._work, self._warmups, self._graph = work, AFTER, None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self) -> None:
        if self._stream is None:
            self._work()
        elif self._warmups:
            self._warmups -= 1
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):  # a recording needs warm-up runs on a side stream
                self._work()
            torch.cuda.current_stream().wait_stream(self._stream)
        else:
            if self._graph is None:
                self._graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self._graph, stream=self._stream):
                    self._work()
            self._graph.replay()
