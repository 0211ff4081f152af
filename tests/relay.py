"""A relay in front of a server: it counts what passes, and cuts the line where a test wants it."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["push", "pull"]
"""To the server, or from it."""
CHUNK = 1 << 14


@dataclass
class Relay:
    """A port on loopback, behind which a server is, as long as the line holds.

    Attributes:
        target: the port of the server.
        port: the one to connect to.
        passed: bytes in each direction, since the line was last restored.
        was_cut: set when a cut that was asked for has happened.
    """

    target: int
    port: int = 0
    passed: dict[Direction, int] = field(default_factory=lambda: {"push": 0, "pull": 0})
    was_cut: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._down = False
        self._cut: tuple[Direction, int, Callable[[], None]] | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, direction: Direction, size: int, then: Callable[[], None]) -> None:
        """Cut the line once so many bytes have passed; all that try after it are turned away."""
        with self._lock:
            self.passed = {"push": 0, "pull": 0}
            self.was_cut.clear()
            self._cut = (direction, size, then)

    def restore(self) -> None:
        """Let everyone pass again."""
        with self._lock:
            self._down, self._cut = False, None

    def close(self) -> None:
        """Cut the line for good."""
        self._down = True
        self._listener.close()
        self._drop()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._down:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                for end in (client, server):  # small messages must not wait for each other
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._open |= {client, server}
                for source, sink, direction in ((client, server, "push"), (server, client, "pull")):
                    threading.Thread(
                        target=self._pass, args=(source, sink, direction), daemon=True
                    ).start()

    def _pass(self, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK):
                if not self._may_pass(direction, len(chunk)):
                    return
                sink.sendall(chunk)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        with self._lock:
            self._open -= {source, sink}

    def _may_pass(self, direction: Direction, size: int) -> bool:
        with self._lock:
            self.passed[direction] += size
            cut = self._cut
            if cut is None or cut[0] != direction or self.passed[direction] < cut[1]:
                return not self._down
            self._down, self._cut = True, None
        cut[2]()
        self._drop()
        self.was_cut.set()
        return False

    def _drop(self) -> None:
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
