"""A process of its own for a test, that finds the slow libraries imported: it is forked off a server that has them.

The server is one for all tests of a pytest process, and starts with the first of them. It has one thread, or a fork
would not be safe. What a process would do at its end it does here too, which multiprocessing leaves out.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        *("flyroom.stages", "flyroom.report", "pytest", "hypothesis.strategies"),
        *("transformers.models.llama.modeling_llama", "sklearn.linear_model", "sklearn.discriminant_analysis"),
    ]
)
ALONE = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # both are read when the libraries are loaded


def start(target: Callable[..., object], *args: object, daemon: bool = True) -> BaseProcess:
    """A process that calls `target`, started."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ALONE.items():
            patch.setenv(name, value)
        forkserver.ensure_running()
    process = FORKS.Process(target=target, args=args, daemon=daemon)
    process.start()
    return process


def run_program(path: Path, folder: Path, environment: Mapping[str, str], out: Path, err: Path) -> None:
    """The whole life of a process that runs a Python file in a folder: `python path`, with its output in two files."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for file, stream in ((out, 1), (err, 2)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.argv = [str(path)]
    sys.path = [str(path.parent), *(entry for entry in sys.path if not Path(entry).is_relative_to(ROOT / "tests"))]
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        atexit._run_exitfuncs()
