"""Bases by name, brought from where they lie: a Python package, a hub, a GGUF file, a folder.

Each becomes an ordinary Hugging Face folder in the cache, written whole or not at all, with a manifest that says where
it came from and which world it speaks. From then on `--base NAME` opens it without a network; `--base FILE.gguf` makes
that folder the first time.

Left out: GGUF files in several parts; a hub's datasets.
"""

from flyroom.sources.cache import home, list_bases, manifest
from flyroom.sources.fetch import KNOWN, fetch, locate

__all__ = ["KNOWN", "fetch", "home", "list_bases", "locate", "manifest"]
