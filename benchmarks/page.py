"""docs/performance.md: one section a benchmark, each between marks, each with its own machine and versions.

A run replaces the sections that it measured and leaves the others, so a section is always a whole run. What was never
measured says so and gives the command.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import LIBRARIES
from benchmarks.sets import Benchmark

UNMEASURED = "Not measured yet."
TIERS = ("device", "memory", "disk")  # where what lies below an adapter is kept
HEAD = """# Performance

Written by `python -m benchmarks cpu --page docs/performance.md` (and `gpu`), not by hand. Ours and the peers' run in
one process, in turn, and the median of the repeats counts; losses are printed like wins. *Ratio* is ours over the peer
by the wall clock; *by CPU time* leaves out what else ran on the machine, and is the one to trust where the slowest
repeat is far from the fastest. *Limit* is what the work needs in operations (or bytes) at the rate that this machine
reached on a large matrix product (or sum), without padding, copies, optimiser or Python; ours as a share of it is the
model-FLOP utilisation (or that of the memory). Where nothing was measured yet the page has only the limit
of an H200 by its data sheet, 989 TFLOP/s in bf16 and 4.8 TB/s.

The peers are PEFT and `generate` one organism after another, on rows that are tensors before the clock starts,
right-padded to their batch, without checkpointing and with denormals flushed in every thread; and TRL's `SFTTrainer`,
as it comes and tuned, by its own steps alone (what a Trainer does once for an organism is left out, in its favour).
`ours_compiled` is ours under `--compile`, `ours_recorded` (on GPUs) ours with the passes of sampling recorded as CUDA
graphs: a ratio below 1 says how much less time it takes.
Traces are read beside a hook by hand, nnsight and TransformerLens (Bridge), each over a PEFT model.
`continuous` is transformers' continuous batching (`generate_batch`). Not beside them: vLLM, whose wheels (0.33.0) run
on CUDA alone, where it has not been tried.
"""


def write(
    path: Path, which: str, results: Mapping[str, Mapping[str, Any]], known: Mapping[str, Mapping[str, Benchmark]]
) -> None:
    """Put the results of a set into the page. `known` are every set's benchmarks, in order. Of what is not measured it
    says what can be counted."""
    old = sections(path.read_text(encoding="utf-8")) if path.exists() else {}
    text = HEAD
    for kind, benchmarks in known.items():
        text += f"\n## {kind.upper()}\n"
        for name, benchmark in benchmarks.items():
            key = f"{kind} {name}"
            fresh = section(name, results[name]) if kind == which and name in results else None
            kept = None if UNMEASURED in old.get(key, UNMEASURED) else old[key]
            body = fresh or kept or _unmeasured(kind, name, benchmark)
            text += f"\n<!-- {key} -->\n{body}\n<!-- end -->\n"
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def sections(text: str) -> dict[str, str]:
    """What stands between the marks of a page."""
    return dict(re.findall(r"<!-- (\w+ \w+) -->\n(.*?)\n<!-- end -->", text, re.DOTALL))


def section(name: str, result: Mapping[str, Any]) -> str:
    """One benchmark in Markdown."""
    lines = [f"### {name}", "", f"{result['what']}.", ""]
    if result["ours"] is None:
        return "\n".join([*lines, *(f"Not run: {why}." for why in result["missing"].values())])
    rows = ["ours", *result["ratios"]]
    lines += [
        f"| | {result['unit']} | ratio | by CPU time | tokens/s | seconds (fastest, median, slowest) | MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cpu = result.get("cpu_ratios", {}).get(row)
        memory = result.get("memory_mib", {}).get(row)
        cells = [_number(result[row]), _number(result["ratios"].get(row)), _number(cpu)]
        cells.append(_number(result.get("tokens_per_second", {}).get(row)))
        cells.append(", ".join(_number(s) for s in result["seconds"][row]))
        lines.append(f"| {row} | {' | '.join(cells)} | {_number(memory)} |")
    if result["limit"] is not None:
        lines.append(f"| limit | {_number(result['limit'])} | {_number(result['of_limit'])} of it | | | | |")
    lines += [""]
    if result.get("prefix", {}).get("computed"):
        found = result["prefix"]
        kept = ", ".join(f"{n / 2**20:,.0f} MiB in {tier}" for tier, n in found.items() if n and tier in TIERS)
        tokens = f"{found['computed']:,} tokens were computed and {found['reused']:,} reused"
        lines.append(f"Below the adapter {tokens}; kept: {kept}.")
    if result.get("compile_seconds") is not None:
        seconds = _number(result["compile_seconds"])
        lines.append(f"Compiling took {seconds} s, not in the above.")
    if result.get("export_share") is not None:
        lines.append(f"Leaving the organisms in a room is {result['export_share']:.2%} of the one worker's time.")
    lines += [f"Not run: {peer}: {why}." for peer, why in result["missing"].items()]
    return "\n".join([*lines, f"Median of {result['repeats']}. {_machine(result['machine'])}"])


def _machine(about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {about[name]}" for name in ("python", *LIBRARIES) if about[name])
    return f"{about.get('device') or about['processor']}, {about['threads']} thread(s); {versions}."


def _unmeasured(kind: str, name: str, benchmark: Benchmark) -> str:
    command = f"`python -m benchmarks {kind} --only {name} --page docs/performance.md`"
    counted = f"{benchmark.counted()}.\n\n" if benchmark.counted else ""
    return f"### {name}\n\n{counted}{UNMEASURED} {command}"


def _number(value: float | None) -> str:
    if not value:
        return "" if value is None else "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
