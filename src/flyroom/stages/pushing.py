"""An organism goes to the hub: exported as ever (`exports`), then uploaded to a repository that is private and gated.

In this order: the name is one of the hub's, the repository is there and as private as was asked, the export is on
record with its purpose, and then all files go up in one commit. A repository that others can read is refused unless
that was asked for. Left out: deleting anything on the hub; games and whole rooms.

Source: huggingface_hub.HfApi (create_repo, update_repo_settings, upload_folder).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub.errors import HfHubHTTPError

from flyroom.marks import Mark
from flyroom.preflight import check_repo
from flyroom.room import Room
from flyroom.stages.bases import OpenBase
from flyroom.stages.exports import export


class Hub(Protocol):
    """What is asked of the hub: four calls of `huggingface_hub.HfApi`."""

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> Any: ...
    def repo_info(self, repo_id: str) -> Any: ...
    def update_repo_settings(self, repo_id: str, *, gated: Any, private: bool) -> Any: ...
    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where it goes: "owner/name", who may see that it is there, and the hub, in place of `HfApi()`."""

    repo: str
    private: bool = True
    hub: Hub | None = None


def push(
    id: str,
    base: OpenBase,
    room: Room,
    target: Target,
    *,
    purpose: str,
    days: int | None = None,
) -> Mark:
    """Push an organism, by the start of its id, to a repository. Returns its mark.

    Whoever wants to read it has to ask first (a gate), also where the repository is not private. Raises ValueError for
    a name that is none, a repository that is public, what the hub refuses, and whatever `export` refuses; nothing has
    been uploaded then.
    """
    repo, hub = target.repo, target.hub or _open_hub()
    check_repo(repo)
    with tempfile.TemporaryDirectory(prefix="flyroom-") as place:
        folder = Path(place, repo.partition("/")[2])
        try:
            _prepare(hub, repo, private=target.private)
            mark = export(id, base, room, folder, purpose=purpose, days=days, address=f"hub:{repo}")
            hub.upload_folder(repo_id=repo, folder_path=folder, commit_message=f"Model organism {mark.id[:12]}")
        except (HfHubHTTPError, OSError) as error:
            why = " ".join(str(error).split())[:300] or type(error).__name__
            raise ValueError(f"repo is {repo}; the hub did not take it: {why}") from error
    return mark


def _open_hub() -> Hub:
    from huggingface_hub import HfApi

    return HfApi()


def _prepare(hub: Hub, repo: str, *, private: bool) -> None:
    hub.create_repo(repo, private=private, exist_ok=True)
    if private and not getattr(hub.repo_info(repo), "private", False):
        raise ValueError(f"repo is {repo}; it is public: make it private, or push with --public")
    hub.update_repo_settings(repo, gated="manual", private=private)
