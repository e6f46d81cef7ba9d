"""What a model folder from a stranger may not do: lead out of itself, or end a program with an error of its own choice.

A folder may hold links, and a configuration that is a link to a file of yours would be read, and shown or kept as if it
were the model's. So texts must lie in the folder. Weights may lie elsewhere: nothing but numbers is read from them. The
hub's own client keeps every file as a link into its store beside the folder.

What transformers and tokenizers raise for a folder that was made to break them has no end (a division by zero, a
recursion, an assertion), so every error of theirs becomes one that names the folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WEIGHTS = (".safetensors", ".bin", ".gguf")


def refuse_links(folder: Path, path: str) -> None:
    """ValueError for a text in a base's folder that is a link to elsewhere. `path` is how the folder was called."""
    home = folder.resolve()
    homes = [home, *([home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [])]
    for file in (*folder.iterdir(), *folder.glob("additional_chat_templates/*")):
        if not file.is_symlink() or file.suffix in WEIGHTS:
            continue
        target = file.resolve()
        if not any(target.is_relative_to(home) for home in homes):
            raise ValueError(f"base is {path}; its {file.name} is a link to {target}: copy that file into the folder")


@contextmanager
def named(path: str, what: str = "") -> Iterator[None]:
    """Turns every error within into a ValueError that names the base."""
    try:
        yield
    except Exception as error:  # see above: it has no end
        if isinstance(error, ValueError) and str(error).startswith(f"base is {path}"):
            raise
        text = " ".join(str(error).split())[:300] if not isinstance(error, ValueError) else str(error)[:2_000]
        kind = type(error) if type(error).__module__.startswith("flyroom") else ValueError
        raise kind(f"base is {path}; {what}{text or type(error).__name__}") from error
