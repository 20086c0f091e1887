"""A server on this machine for one page, which sends bytes back."""

from __future__ import annotations

import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGEST = 4_000_000  # bytes that a page may send


class Loopback:
    """Serves a page to browsers on this machine, and keeps the last bytes that it sent.

    Other machines cannot reach it. The address has a random part, so other pages and users of this
    machine do not know it.

    >>> import urllib.request
    >>> server = Loopback("<!DOCTYPE html>")
    >>> urllib.request.urlopen(server.url).read(), server.received
    (b'<!DOCTYPE html>', None)
    >>> sent = urllib.request.Request(server.url + "sent", b"model")
    >>> urllib.request.urlopen(sent).status, server.received
    (204, b'model')
    >>> server.close()
    """

    def __init__(self, page: str) -> None:
        self.received: bytes | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(page.encode()))
        self._server.daemon_threads = True
        thread = threading.Thread(target=self._server.serve_forever, name="gpunn page", daemon=True)
        thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._path}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self, page: bytes) -> type[BaseHTTPRequestHandler]:
        path = self._path = f"/{secrets.token_urlsafe(16)}/"
        keep = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30  # seconds without a byte

            def do_GET(self) -> None:
                found = self._is_ours() and self.path == path
                self._answer(200 if found else 404, page if found else b"")

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                if not (self._is_ours() and self.path == f"{path}sent"):
                    self._answer(404)
                elif not length.isdecimal() or int(length) > LARGEST:
                    self._answer(413)
                else:
                    content = self.rfile.read(int(length))
                    if len(content) == int(length):
                        keep.received = content
                    self._answer(204)

            def _is_ours(self) -> bool:
                """Refuse other names of this machine, by which another site could read it."""
                name, _, _ = self.headers.get("Host", "").partition(":")
                return name in ("127.0.0.1", "localhost")

            def _answer(self, status: int, content: bytes = b"") -> None:
                self.close_connection = True
                self.send_response(status)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Print nothing between the cells of a notebook."""

        return Handler
