"""A server of predictions in a thread, and its client."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from gpunn.apps.serving import Server


class Client:
    """Asks a server at an address."""

    def __init__(self, host: str, port: int) -> None:
        self.address = host, port

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=60)

    def ask(self, method: str, path: str, body: Any = None, kind: str = "") -> tuple[int, Any, Any]:
        """Return status, document and headers of an answer."""
        with closing(self.connect()) as connection:
            connection.request(method, path, body, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            text = answer.read().decode()
            json_came = answer.headers["Content-Type"] == "application/json"
            return answer.status, json.loads(text) if json_came else text, answer.headers

    def predict(self, document: Any) -> tuple[int, Any]:
        """Return status and document of an answer to a document."""
        return self.ask("POST", "/predict", json.dumps(document), "application/json")[:2]

    def send(self, head: str, body: bytes = b"") -> tuple[int, Any]:
        """Return status and document of an answer to bytes as they are."""
        with socket.create_connection(self.address, timeout=60) as connection:
            connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
            return answer_on(connection)


def answer_on(connection: socket.socket) -> tuple[int, Any]:
    """Return status and document of the answer that comes on a connection."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, json.loads(answer.read())


@contextmanager
def serving(model: Any, **options: Any) -> Iterator[Client]:
    """Serve a model while the block runs."""
    with Server(model, **options) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Client(*server.server_address[:2])
        finally:
            server.shutdown()
            thread.join()


class Held:
    """A model whose predictions wait until they are let go."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        self.begun.release()
        assert self.go.wait(60)
        return self.model.predict(*args, **kwargs)
