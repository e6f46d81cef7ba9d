"""One address of loopback, handed into a cell: who connects to it there is connected to it here, and to nothing else.

The cell has a network of its own. Its launcher listens there and sends the listening socket out; what is accepted on it
is joined, byte by byte, to the endpoint.
"""

from __future__ import annotations

import contextlib
import socket
import threading

AT_ONCE = 64  # connections


class Relay:
    """Hands connections on, until it is closed."""

    def __init__(self, server: socket.socket, port: int) -> None:
        self._server, self._port, self._ended = server, port, False
        self._free = threading.Semaphore(AT_ONCE)
        server.settimeout(0.1)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        self._server.close()

    def _accept(self) -> None:
        while not self._ended:
            try:
                near, _ = self._server.accept()
            except OSError:  # nobody yet
                continue
            near.settimeout(None)
            self._free.acquire()
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            with near, socket.create_connection(("127.0.0.1", self._port)) as far:
                back = threading.Thread(target=_pump, args=(far, near), daemon=True)
                back.start()
                _pump(near, far)
                back.join()
        except OSError:  # either end is gone
            pass
        finally:
            self._free.release()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
