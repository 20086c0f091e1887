"""The server: sockets, limits and the end; HTTP is in `handler`."""

from __future__ import annotations

import ipaddress
import json
import socket
import socketserver
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gpunn.apps.tables.table_model import TableModel

from .arrays import Arrays
from .bodies import MAX_PIXELS
from .counting import Counts
from .handler import Handler
from .predicting import Predictor
from .tables import Rows

CONNECTIONS = 128  # at most, each with its thread
_FULL = json.dumps({"error": "too many connections: try again later"})
_REFUSAL = (
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(_FULL)}\r\n\r\n{_FULL}"
)


@dataclass(frozen=True)
class Limits:
    """What a server takes from its clients.

    Attributes:
        body: bytes of a body, at most.
        seconds: for a request to arrive, for a connection to be idle, and for an answer to be
            taken.
        queue: requests that wait or are computed, at most.
        pixels: of all pictures of a request, at most.
    """

    body: int = 10_000_000
    seconds: float = 30.0
    queue: int = 64
    pixels: int = MAX_PIXELS


class Server(socketserver.ThreadingTCPServer):
    """Serves a model's predictions over HTTP. Each connection has its own thread.

    Args:
        model: a built model.
        host: the address to listen on.
        port: 0 is any free one; ``server_address`` has the one that was taken.
        gather: seconds during which requests are gathered for one ``predict``; see `Predictor`.
        limits: what it takes from its clients.

    Raises:
        OSError: if the address cannot be listened on.

    >>> import threading, urllib.request
    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(1)])
    >>> model.set_weights([[[1], [1]], [0.5]])
    >>> with Server(model) as server:
    ...     threading.Thread(target=server.serve_forever).start()
    ...     body = b'{"inputs": [[1, 2]]}'
    ...     print(urllib.request.urlopen(server.url + "/predict", body).read())
    ...     server.shutdown()
    b'{"outputs": [[3.5]]}'
    """

    allow_reuse_address = True
    daemon_threads = True  # those of idle connections end with the process
    request_queue_size = CONNECTIONS

    def __init__(
        self,
        model: Any,
        host: str = "127.0.0.1",
        port: int = 0,
        gather: float = 0.0,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        table = TableModel.of(model)
        self.reader: Arrays | Rows = (
            Arrays(model, self.limits.pixels) if table is None else Rows(model, table)
        )
        self.predict = Predictor(model, self.limits.queue, gather)
        self.counts = Counts()
        self.is_ending = False
        self.ending, self._end = socket.socketpair()  # idle connections wait for its closing
        self._connections = threading.BoundedSemaphore(CONNECTIONS)
        first = self.reader.first()
        if first is not None:  # the first client does not wait for the preparation
            with suppress(ValueError):  # a model may refuse a row of zeros
                self.predict(first)
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), Handler)
        own = str(self.server_address[0])
        self.is_local = ipaddress.ip_address(own).is_loopback
        # What a server on the loopback is called in requests.
        self.names = {"localhost", "127.0.0.1", "[::1]", host.lower(), own, f"[{own}]"}

    @property
    def url(self) -> str:
        """The address as browsers take it, without the last slash."""
        host, port = map(str, self.server_address[:2])
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer the requests of a connection in a new thread, or refuse it if there are many."""
        if self._connections.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except BaseException:  # no thread could be started
                self._connections.release()
                raise
            return
        request.sendall(_REFUSAL.encode())
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer the requests of a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of an error, unless the client has gone."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Answer the requests that have arrived, and take no more; idle connections are closed."""
        self.is_ending = True
        with suppress(OSError):  # no more connections wait to be taken, or it is closed already
            self.socket.setblocking(False)
            for _ in range(CONNECTIONS):
                self.process_request(*self.get_request())
        super().server_close()
        self._end.close()
        until, ended = time.monotonic() + self.limits.seconds, 0
        while ended < CONNECTIONS and time.monotonic() < until:
            ended += self._connections.acquire(timeout=max(0, until - time.monotonic()))
        for _ in range(ended):
            self._connections.release()
        self.ending.close()
