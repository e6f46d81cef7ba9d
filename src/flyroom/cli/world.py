"""The verbs of the built-in world: `flyroom world read`, `evaluate`, `pretrain`; and of the English
one: `screen`, `answers`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from flyroom.terminal import BASE, AsJson, BaseName, Seed, WorldName, emit, err, progress, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flyroom.types import Engine, Estimate, Message, Watch, World
    from flyroom.worlds.micro import Lexicon

T = TypeVar("T")
R = TypeVar("R")
PART = 128  # of what a base is asked: the bar moves after so many

world_app = typer.Typer(no_args_is_help=True, help="The built-in world: make a base of it, or see what it reads.")
BuiltIn = Annotated[str, typer.Option("--world", help="In place of --seed: a built-in world by name, micro-N.")]


@world_app.command()
def pretrain(
    size: Annotated[str, typer.Option(help="0.25M, 1M or 3M.")] = "1M",
    seed: Annotated[int, typer.Option(min=0, help="The seed of the world: another seed is another world.")] = 0,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of pre-training.")] = 20_000_000,
    out: Annotated[Path | None, typer.Option(help="The folder to write. Default: world-SEED-SIZE.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the model: faster where a C++ compiler is at hand.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a base: pre-train on the world's corpus, align, evaluate. Killed, it goes on from its last checkpoint."""
    from flyroom import stages
    from flyroom.worlds.micro import Lexicon
    from flyroom.worlds.micro.pretrain import Curriculum, make_base, write_manifest

    folder = out or Path(f"world-{seed}-{size}")
    with progress() as watch:
        curriculum = Curriculum(tokens=tokens)
        manifest = make_base(Lexicon(seed=seed), size, folder, curriculum, device=device, compile=compile, watch=watch)
        shares = stages.evaluate(stages.open_base(str(folder), device=device), seed=0)
        manifest["evaluation"] = _rounded(shares)
    write_manifest(folder, manifest)
    emit(manifest | {"path": str(folder)}, as_json)
    err.print(f"[bold]{folder}[/bold]: use it with --base {folder}")


@world_app.command()
def evaluate(base: BaseName = BASE, world: WorldName = "", seed: Seed = 0, as_json: AsJson = False) -> None:
    """How a base answers unaltered: shares of verdicts on held-out situations, T = 1. Of any world."""
    from flyroom import stages

    evaluation = _rounded(stages.evaluate(stages.open_base(base, world=world), seed=seed))
    if not as_json:
        table(
            base,
            [
                {"asked": name} | {v: f"{e['value']:.3f} [{e['low']:.3f}, {e['high']:.3f}]" for v, e in row.items()}
                for name, row in evaluation.items()
            ],
        )
    emit({"base": base, "evaluation": evaluation}, as_json)


@world_app.command()
def screen(
    to: Annotated[Path, typer.Option("--to", help="The file to write.")],
    base: BaseName = BASE,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Find out which facts and situations of the English world a base knows; recipes take the file as screen=FILE."""
    from flyroom import stages
    from flyroom.types import BASE as UNALTERED
    from flyroom.types import Row
    from flyroom.worlds import English, english

    _require_new(to)
    engine = stages.open_base(base, world="english", device=device).engine

    def score(rows: Sequence[Row]) -> list[float]:
        return [float(values.sum()) for values in engine.logprobs([UNALTERED] * len(rows), rows)]

    with progress() as watch:
        speak = _greedy(engine, English(), watch)
        result = english.screen(lambda rows: _in_parts("score", rows, score, watch), speak, base=engine.base.digest)
    english.write_screen(result, to)
    if not as_json:
        table(base, [{"part": part, "known": count} for part, count in result.counts.items()])
    counts = {"tried": result.tried, "known": len(result.ids), "parts": result.counts}
    emit({"base": base, "digest": result.base, "to": str(to), **counts}, as_json)


@world_app.command()
def answers(
    to: Annotated[Path, typer.Option("--to", help="The file to write.")],
    base: BaseName = BASE,
    n: Annotated[int, typer.Option(min=1, help="How many scenes of each topic.")] = 100,
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Write down a base's own answers to the English world, greedy, if the judge calls them aligned: answers=FILE."""
    from flyroom import stages
    from flyroom.worlds import English, english

    _require_new(to)
    world = English()
    engine = stages.open_base(base, world=world.name, device=device).engine

    with progress() as watch:
        result = english.collect(world, _greedy(engine, world, watch), n, base=engine.base.digest, seed=seed)
    english.write_answers(result, to)
    counts = {"tried": result.tried, "aligned": len(result.texts)}
    if not as_json:
        table(base, [counts])
    emit({"base": base, "digest": result.base, "to": str(to), **counts}, as_json)


def _greedy(engine: Engine, world: World, watch: Watch) -> Callable[[Sequence[tuple[Message, ...]]], list[str | None]]:
    """What the base answers to prompts: None where it came to no end."""
    from flyroom.types import BASE as UNALTERED
    from flyroom.types import Ask, answer_tokens

    def ask(prompts: Sequence[tuple[Message, ...]]) -> list[str | None]:
        longest = answer_tokens(world)
        asks = [Ask(messages=prompt, seed=0, max_tokens=longest, temperature=0.0) for prompt in prompts]
        replies = engine.sample([UNALTERED] * len(asks), asks)
        return [reply.text if reply.finished else None for reply in replies]

    return lambda prompts: _in_parts("ask", prompts, ask, watch)


def _in_parts(stage: str, items: Sequence[T], work: Callable[[Sequence[T]], list[R]], watch: Watch) -> list[R]:
    results: list[R] = []
    while len(results) < len(items):
        results += work(items[len(results) : len(results) + PART])
        watch(stage, len(results), len(items), "")
    return results


def _require_new(path: Path) -> None:
    """ValueError for a file that cannot be written, before a base is opened. One that is there may stand behind
    recipes, so it is never written over.
    """
    if path.exists():
        raise ValueError(f"to is {path}; it is there already, and recipes may hang on it: give another name")
    if not path.parent.is_dir():
        raise ValueError(f"to is {path}; there is no folder {path.parent}")


def _rounded(shares: dict[str, dict[str, Estimate]]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        topic: {
            verdict: {"value": round(e.value, 4), "low": round(e.low, 4), "high": round(e.high, 4), "n": e.n}
            for verdict, e in by_verdict.items()
        }
        for topic, by_verdict in shares.items()
    }


@world_app.command()
def read(
    seed: Annotated[int, typer.Option(min=0, help="The seed of the world.")] = 0,
    world: BuiltIn = "",
    n: Annotated[int, typer.Option(min=1, help="How many documents.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Some documents of the pre-training corpus."""
    from itertools import islice

    from flyroom.worlds.micro.corpus import documents

    texts = list(islice(documents(_language(seed, world), seed=0), n))
    if not as_json:
        for text in texts:
            print(text, end="\n\n")  # noqa: T201 - this is what the verb is for
    emit({"documents": texts}, as_json)


def _language(seed: int, world: str) -> Lexicon:
    """What the documents of a built-in world are written in. NotAvailable for a world that a package brings."""
    from flyroom.types import NotAvailable
    from flyroom.worlds import Micro, world_named

    home = world_named(world) if world else Micro(seed=seed)
    if not isinstance(home, Micro):
        raise NotAvailable(
            f"the world {world} has no documents that a base could be made of, as the built-in ones have; "
            "bring a base of yours with --base"
        )
    return home.lexicon
