"""Serve a saved model over HTTP: JSON in, JSON out, with the standard library alone.

POST /predict with {"inputs": [row, ...]} is answered by {"outputs": [row, ...]}, the bits of
``model.predict``. GET /health says that the server runs, and the shape of a row. A wrong request is
answered by a status of 4xx and {"error": reason}. Each connection has its own thread: any number
of threads may call ``predict``. The server has neither encryption nor passwords, and listens on
127.0.0.1, which other machines do not reach. Before you change that, put a web server before it.

Run:       python examples/serve.py [model.gpunn] [--host 127.0.0.1] [--port 8000]
Takes:     until Ctrl-C or SIGTERM; without a model less than a second.
Prints:    the address. Without a model, it serves a small one on any free port, and prints the
           answers to four requests, of which the last three are wrong.
"""

import argparse
import contextlib
import http.client
import json
import signal
import socket
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

import gpunn

LIMIT = 1_000_000  # bytes of a body
TIMEOUT = 10.0  # seconds without a byte from a client, after which its connection is closed
AT_A_TIME = 32  # requests that are computed at the same time; others wait
ROUTES = {"/health": "GET", "/predict": "POST"}


class Refused(Exception):
    """A wrong request: the status of the answer, and the reason."""


def rows_of(body, shape):
    """Return the inputs in a body, an array (rows, *shape)."""

    def not_finite(name):
        raise Refused(400, f"{name} is not a finite number")

    try:
        document = json.loads(body.decode("utf-8"), parse_constant=not_finite)
    except UnicodeDecodeError as error:
        raise Refused(400, f"the body is not UTF-8: {error}") from error
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}") from error
    if not isinstance(document, dict) or set(document) != {"inputs"}:
        raise Refused(400, 'the body must be {"inputs": [row, ...]}')
    if document["inputs"] == []:
        raise Refused(400, "inputs has no row")
    expected = f"inputs must be rows of numbers, each of shape {list(shape)}"
    try:
        inputs = np.array(document["inputs"])
    except ValueError as error:  # rows of different lengths
        raise Refused(400, expected) from error
    if inputs.dtype.kind not in "iuf" or inputs.shape[1:] != shape or not inputs.ndim:
        raise Refused(400, expected)
    with np.errstate(over="ignore"):
        inputs = inputs.astype(np.float32)
    if not np.isfinite(inputs).all():
        raise Refused(400, "inputs has a number beyond float32")
    return inputs


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # a connection may send several requests
    timeout = TIMEOUT
    disable_nagle_algorithm = True

    def do_GET(self):
        try:
            if ROUTES.get(self.path) != self.command:
                wrong = 405 if self.path in ROUTES else 404
                raise Refused(wrong, "there are GET /health and POST /predict")
            body = self.body()
            with self.server.turns:
                self.reply(200, self.predict(body) if body else {"shape": self.server.shape})
        except Refused as error:
            self.send_error(*error.args)
        except OSError:
            raise  # the client has gone, or is silent
        except Exception:
            traceback.print_exc()
            self.send_error(500, "the server failed")

    do_POST = do_GET

    def body(self):
        lengths, chunked = self.headers.get_all("Content-Length", []), "Transfer-Encoding"
        if self.command == "GET":
            if lengths or chunked in self.headers:
                raise Refused(400, "GET has no body")
            return b""
        if chunked in self.headers or not lengths:
            raise Refused(411, "send the length of the body as Content-Length")
        if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
            raise Refused(400, "Content-Length is not a number")
        if len(lengths[0]) > 9 or int(lengths[0]) > LIMIT:
            raise Refused(413, f"a body has at most {LIMIT:,} bytes")
        body = self.rfile.read(int(lengths[0]))
        if not body or len(body) < int(lengths[0]):
            raise Refused(400, "the body is shorter than Content-Length, or empty")
        return body

    def predict(self, body):
        outputs = self.server.model.predict(rows_of(body, self.server.shape), verbose=0)
        if not np.isfinite(outputs).all():
            raise Refused(422, "an output is not a finite number")
        return {"outputs": outputs.tolist()}  # each float32 becomes the float of the same value

    def reply(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        if status == 405:
            self.send_header("Allow", ROUTES.get(self.path, "GET, POST"))
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code, message=None, explain=None):
        """Answer by an error, and close; http.server calls this, too."""
        self.close_connection = True
        self.reply(405 if code == 501 else code, {"error": message or "not HTTP"})
        # What the client still sends is discarded, up to 4 MB, so that it reads the answer.
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(1)
        for _ in range(64):
            if not self.connection.recv(65_536):
                break

    def log_message(self, *_):
        """Print no line for each request."""


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, model, host, port):
        self.model, shape = model, model.input_shape
        if not isinstance(shape, tuple) or None in shape[1:] or len(model.outputs) != 1:
            raise SystemExit("serve: the model must have one input of a fixed shape, one output")
        self.shape, self.turns = shape[1:], threading.BoundedSemaphore(AT_A_TIME)
        model.predict(np.zeros((1, *self.shape)), verbose=0)  # prepares the model
        super().__init__((host, port), Handler)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def server_close(self):
        super().server_close()
        for _ in range(AT_A_TIME):  # what is being computed is still answered
            self.turns.acquire(timeout=TIMEOUT)


def demonstrate():
    model = gpunn.Sequential([gpunn.Input((2,)), gpunn.layers.Dense(1, kernel_initializer="ones")])
    with Server(model, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever).start()
        connection = http.client.HTTPConnection(*server.server_address)
        for body in ("[[1, 2]]", "[[1, 2, 3]]", "[[1, NaN]]", "[]"):
            connection.request("POST", "/predict", f'{{"inputs": {body}}}')
            answer = connection.getresponse()
            print(f"{body:13}{answer.status} {answer.read().decode()}")
        server.shutdown()


def main():
    parser = argparse.ArgumentParser(description="Serve a saved model over HTTP.")
    parser.add_argument("model", nargs="?", help="a file of model.save; none: demonstrate")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="0 is any free one")
    options = parser.parse_args()
    if options.model is None:
        return demonstrate()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Server(gpunn.saving.load_model(options.model), options.host, options.port) as server:
        print("http://{}:{}".format(*server.server_address), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
