"""A piece of work that is always the same, recorded once and then replayed: a CUDA graph. Launching its kernels one by
one takes the host longer than small kernels take to run.

The work must ask nothing of the host, change tensors in place and keep their shapes. Elsewhere than on CUDA it is done
as it is.

Source: torch's notes on CUDA semantics, "CUDA Graphs".
"""

from __future__ import annotations

from collections.abc import Callable

import torch

AFTER = 8  # times that the work is done as it is: for less a recording would hardly pay (guessed)


class Recorded:
    """Work that does what `work` does, each time that it is called."""

    def __init__(self, work: Callable[[], None], device: torch.device) -> None:
        self._work, self._left, self._graph = work, AFTER, None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self) -> None:
        if self._stream is None:
            self._work()
        elif self._left:
            self._left -= 1
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):  # what is to be recorded has to have been done beside the main stream
                self._work()
            torch.cuda.current_stream().wait_stream(self._stream)
        else:
            if self._graph is None:
                self._graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self._graph, stream=self._stream):
                    self._work()
            self._graph.replay()
