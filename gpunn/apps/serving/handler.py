"""One connection of the server: HTTP/1.1 requests, their limits, their answers."""

from __future__ import annotations

import io
import json
import selectors
import socket
import time
import traceback
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np

from .bodies import Refused
from .counting import CONTENT_TYPE

ROUTES = {"/": "GET", "/health": "GET", "/metrics": "GET", "/predict": "POST"}
JSON = "application/json"
# Of bodies that hold JSON. The last is what curl -d says of any text.
JSON_TYPES = ("", JSON, "text/json", "application/x-www-form-urlencoded")


class _Arriving(io.RawIOBase):
    """A socket's bytes, all of which must arrive before a moment.

    While the connection is idle, they end when ``ending`` can be read.
    """

    def __init__(self, connection: socket.socket, ending: socket.socket) -> None:
        self._connection = connection
        self._either = selectors.DefaultSelector()
        self._either.register(connection, selectors.EVENT_READ)
        self._either.register(ending, selectors.EVENT_READ)
        self.until, self.is_idle = 0.0, True  # of time.monotonic

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._either.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        left = self.until - time.monotonic()
        if self.is_idle:
            ready = [key.fileobj for key, _ in self._either.select(max(left, 0))]
            if ready and self._connection not in ready:
                return 0
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: Any  # `gpunn.apps.serving.Server`
    rfile: io.BufferedReader
    protocol_version = "HTTP/1.1"  # a connection may send several requests
    server_version, sys_version = "gpunn", ""
    disable_nagle_algorithm = True
    begun, is_counted = 0.0, True  # of the last request

    def setup(self) -> None:
        """Read through a clock: a client that sends byte by byte is not waited for either."""
        super().setup()
        self.rfile.close()
        self._arriving = _Arriving(self.connection, self.server.ending)
        self.rfile = io.BufferedReader(self._arriving)

    def handle_one_request(self) -> None:
        """Wait for a request, and answer it."""
        self._arriving.until = time.monotonic() + self.server.limits.seconds
        self._arriving.is_idle = True
        try:
            if not self.rfile.peek(1):  # the client has closed
                self.close_connection = True
                return
        except OSError:
            self.close_connection = True
            return
        self._arriving.until = time.monotonic() + self.server.limits.seconds
        self._arriving.is_idle = False
        self.path, self.is_counted, self.begun = "", False, time.perf_counter()
        self.server.counts.begin()
        try:
            super().handle_one_request()
        finally:
            self._count(0)

    def _count(self, status: int) -> None:
        """Count the request once: whoever has its answer finds it among the counts."""
        if not self.is_counted:
            self.is_counted = True
            path = self._route() if self._route() in ROUTES else "other"
            self.server.counts.answer(path, status, time.perf_counter() - self.begun)

    def do_GET(self) -> None:
        """Answer a request of any method, which http.server has found to be HTTP."""
        try:
            made = self._made()
        except Refused as error:
            self.send_error(error.status, str(error))
        except ConnectionError:
            raise  # the client has gone
        except Exception:
            traceback.print_exc()
            self.send_error(500, "the server failed")
        else:
            self._reply(200, *made)

    do_POST = do_HEAD = do_GET

    def handle_expect_100(self) -> bool:
        """Ask for the body, or refuse the request before the client sends it."""
        try:
            self._check()
        except Refused as error:
            self.send_error(error.status, str(error))
            return False
        return super().handle_expect_100()

    def _route(self) -> str:
        return self.path.partition("?")[0]

    def _made(self) -> tuple[bytes, str]:
        """Return the content of the answer, and its type."""
        route, server = self._route(), self.server
        body = self._body(self._check())
        if route == "/predict":
            with server.predict.place():
                return _json(self._predict(body)), JSON
        if route == "/metrics":
            return server.counts.text().encode(), CONTENT_TYPE
        return _json({"status": "ok"} if route == "/health" else server.reader.schema()), JSON

    def _check(self) -> int:
        """Return the length of the body, if all that precedes it is right."""
        self._check_host()
        route, asked = self._route(), "GET" if self.command == "HEAD" else self.command
        if ROUTES.get(route) != asked:
            known = ", ".join(f"{method} {path}" for path, method in ROUTES.items())
            raise Refused(405 if route in ROUTES else 404, f"there are {known}")
        return self._length()

    def _check_host(self) -> None:
        """Refuse other names of this machine, by which pages of other sites could ask it."""
        for host in self.headers.get_all("Host", []):
            name = host and (host.partition("]")[0] + "]" if host[0] == "[" else host.split(":")[0])
            if self.server.is_local and name and name.lower() not in self.server.names:
                raise Refused(
                    403, "the server is asked as localhost or 127.0.0.1, not by another name"
                )

    def _length(self) -> int:
        lengths = [length.strip() for length in self.headers.get_all("Content-Length", [])]
        chunked = "Transfer-Encoding" in self.headers
        if self.command != "POST":
            if chunked or any(length != "0" for length in lengths):
                raise Refused(400, f"{self.command} has no body")
            return 0
        if chunked or not lengths:
            raise Refused(411, "send the length of the body as Content-Length")
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
            raise Refused(400, "Content-Length is not a number")
        most = self.server.limits.body
        if len(lengths[0]) > 18 or int(lengths[0]) > most:
            raise Refused(413, f"a body has at most {most:,} bytes, --max-bytes of the server")
        return int(lengths[0])

    def _body(self, length: int) -> bytes:
        if self.command != "POST":
            return b""
        try:
            body = self.rfile.read(length)
        except TimeoutError:
            raise Refused(408, "the body did not arrive in time") from None
        if not body or len(body) < length:
            raise Refused(400, "the body is shorter than Content-Length, or empty")
        return body

    def _predict(self, body: bytes) -> dict[str, Any]:
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if not (kind in JSON_TYPES or kind.startswith("image/")):
            raise Refused(415, "Content-Type must be application/json or that of an image")
        image = kind.startswith("image/")
        question = self.server.reader.read(body, "image" if image else "json")
        try:
            outputs = self.server.predict(question.inputs)
        except (ValueError, FloatingPointError) as error:  # such as an index beyond an embedding
            raise Refused(422, f"the model refuses the inputs: {error}") from None
        if not all(np.isfinite(values).all() for values in outputs.values()):
            raise Refused(422, "an output is not a finite number")
        self.server.counts.add_rows(question.rows)
        return question.answer(outputs)

    def _reply(self, status: int, body: bytes, kind: str) -> None:
        if self.server.is_ending:
            self.close_connection = True
        out, self.wfile = self.wfile, io.BytesIO()  # so that head and body leave together
        self.send_response(status)
        if status == 405:
            self.send_header("Allow", ROUTES.get(self._route(), "GET, POST"))
        if status == 503:
            self.send_header("Retry-After", "1")
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        head, self.wfile = self.wfile.getvalue(), out
        self.connection.settimeout(self.server.limits.seconds)
        self._count(status)
        self.wfile.write(head if self.command == "HEAD" else head + body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer by an error, and close; http.server calls this, too."""
        self.close_connection = True
        status = 405 if code == 501 else code
        self._reply(status, _json({"error": message or "not HTTP"}), JSON)
        # What the client still sends is discarded, up to 4 MB, so that it reads the answer.
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(1)
        for _ in range(64):
            if not self.connection.recv(65_536):
                break

    def log_message(self, *_: Any) -> None:
        """Print no line for each request."""


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()
