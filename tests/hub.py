"""A hub on loopback: one model under one name, served as the hub's own client asks for it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REVISION = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve(folder: Path, name: str) -> Iterator[tuple[str, list[str]]]:
    """Its address, and what it was asked for so far."""
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = self.path.partition("?")[0]
            asked.append(f"{self.command} {path}")
            file = folder / path.removeprefix(f"/{name}/resolve/{REVISION}/")
            if path.startswith(f"/api/models/{name}"):
                files = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
                about = {"id": name, "sha": REVISION, "private": False, "tags": []}
                tree = [
                    {"type": "file", "path": f, "size": (folder / f).stat().st_size, "oid": "0" * 40} for f in files
                ]
                whole = about | {"siblings": [{"rfilename": file} for file in files]}
                self.send(json.dumps(tree if "/tree/" in path else whole).encode())
            elif path.startswith(f"/{name}/resolve/") and file.is_file():
                self.send(file.read_bytes())
            else:
                self.send(b"{}", status=404, more={"X-Error-Code": "RepoNotFound"})

        def send(self, content: bytes, *, status: int = 200, more: dict[str, str] | None = None) -> None:
            self.send_response(status)
            tag = hashlib.sha256(content).hexdigest()
            for key, value in {"Content-Length": str(len(content)), "ETag": f'"{tag}"', **(more or {})}.items():
                self.send_header(key, value)
            self.send_header("X-Repo-Commit", REVISION)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
