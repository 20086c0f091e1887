"""The example server, over real sockets: the bits of `predict`, and reasons for what it refuses."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.checks("examples")

SERVE = Path(__file__).parents[2] / "examples" / "serve.py"
CLIENTS, REQUESTS = 8, 200
ROW = [0.5, -1.5, 2.0]
GOOD = json.dumps({"inputs": [ROW]})


class Running:
    """The server as a process of its own, with a saved model."""

    def __init__(self, folder: Path) -> None:
        gpunn.utils.set_random_seed(3)
        self.model = gpunn.Sequential(
            [gpunn.Input((3,)), gpunn.layers.Dense(16, "relu"), gpunn.layers.Dense(2)]
        )
        # Large weights, so that an output can overflow.
        self.model.set_weights([8 * weights for weights in self.model.get_weights()])
        self.model.save(folder / "model.gpunn")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(SERVE), "model.gpunn", "--port", "0"],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "GPUNN_BACKEND": self.model.backend.name},
        )  # fmt: skip
        assert self.process.stdout is not None
        address = re.fullmatch(r"http://(127\.0\.0\.1):(\d+)\n", self.process.stdout.readline())
        assert address is not None, self.process.communicate()[1]
        self.address = address[1], int(address[2])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=20)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any, Any]:
        """Return status, document and headers of an answer."""
        with closing(self.connect()) as connection:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), answer.headers

    def send(self, head: str, body: bytes = b"") -> tuple[int, Any]:
        """Return status and document of an answer to bytes as they are."""
        with socket.create_connection(self.address, timeout=20) as connection:
            connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return answer.status, json.loads(answer.read())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("serve"))
    yield running
    running.process.send_signal(signal.SIGTERM)
    assert running.process.communicate(timeout=20) == ("", "")  # no traceback


def test_many_clients_get_the_bits_of_predict(running: Running) -> None:
    together = threading.Barrier(CLIENTS)

    def client(number: int) -> int:
        random = np.random.default_rng(number)
        together.wait(20)
        with closing(running.connect()) as connection:
            for _ in range(REQUESTS):
                x = random.normal(size=(random.integers(1, 6), 3)).astype(np.float32)
                connection.request("POST", "/predict", json.dumps({"inputs": x.tolist()}))
                answer = connection.getresponse()
                outputs = np.array(json.loads(answer.read())["outputs"])
                assert answer.status == 200 and outputs.shape == (len(x), 2)
                expected = running.model.predict(x, verbose=0)
                assert np.array_equal(outputs, expected.astype(np.float64))
        return REQUESTS

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert sum(pool.map(client, range(CLIENTS))) == CLIENTS * REQUESTS


def test_health(running: Running) -> None:
    assert running.ask("GET", "/health")[:2] == (200, {"shape": [3]})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"inputs": [[1, 2', "not JSON"),
        ("", "empty"),
        (b'{"inputs": [[1, 2, \xff]]}', "not UTF-8"),
        ("[" * 100_000, "not JSON"),
        ("[[1, 2, 3]]", 'the body must be {"inputs"'),
        ('{"inputs": [[1, 2, 3]], "more": 1}', 'the body must be {"inputs"'),
        ('{"inputs": []}', "no row"),
        ('{"inputs": [[]]}', "shape [3]"),
        ('{"inputs": [1, 2, 3]}', "shape [3]"),
        ('{"inputs": 1}', "shape [3]"),
        ('{"inputs": [[1, 2]]}', "shape [3]"),
        ('{"inputs": [[1, 2, 3], [1, 2]]}', "shape [3]"),
        ('{"inputs": [[[1, 2, 3]]]}', "shape [3]"),
        ('{"inputs": [[1, 2, "3"]]}', "of numbers"),
        ('{"inputs": [[1, 2, null]]}', "of numbers"),
        ('{"inputs": [[true, false, true]]}', "of numbers"),
        ('{"inputs": [[1, 2, {}]]}', "of numbers"),
        ('{"inputs": [[1, 2, NaN]]}', "NaN is not a finite number"),
        ('{"inputs": [[1, 2, -Infinity]]}', "-Infinity is not a finite number"),
        ('{"inputs": [[1, 2, 1e39]]}', "beyond float32"),
        ('{"inputs": [[1, 2, 1e999]]}', "beyond float32"),
    ],
)
def test_wrong_bodies(running: Running, body: str | bytes, reason: str) -> None:
    status, document, headers = running.ask("POST", "/predict", body)
    assert status == 400 and reason in document["error"]
    assert headers["Content-Type"] == "application/json"


def test_a_body_may_have_a_million_bytes_and_no_more(running: Running) -> None:
    whole = GOOD.ljust(1_000_000)
    assert running.ask("POST", "/predict", whole)[0] == 200
    for size in (1_000_001, 3_000_000):
        status, document, _ = running.ask("POST", "/predict", GOOD.ljust(size))
        assert status == 413 and "1,000,000 bytes" in document["error"]
    # The length alone decides: of this body, nothing is sent.
    assert running.send(f"POST /predict HTTP/1.1\nContent-Length: {10**15}")[0] == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Host: here", 411),
        ("Transfer-Encoding: chunked", 411),
        (f"Transfer-Encoding: chunked\nContent-Length: {len(GOOD)}", 411),
        ("Content-Length: many", 400),
        ("Content-Length: -1", 400),
        ("Content-Length: 1e3", 400),
        ("Content-Length: 1\nContent-Length: 2", 400),
        (f"Content-Length: {len(GOOD)}", 200),
    ],
)
def test_lengths(running: Running, headers: str, status: int) -> None:
    got, document = running.send(f"POST /predict HTTP/1.1\n{headers}", GOOD.encode())
    assert got == status and ("error" in document) == (status != 200)


def test_a_body_that_ends_early(running: Running) -> None:
    with socket.create_connection(running.address, timeout=20) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: 50\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        assert b" 400 " in connection.makefile("rb").readline()


def test_paths_and_methods(running: Running) -> None:
    assert running.ask("POST", "/elsewhere", GOOD)[0] == 404
    assert running.ask("GET", "/")[0] == 404
    for method, path, allowed in (
        ("GET", "/predict", "POST"), ("POST", "/health", "GET"), ("DELETE", "/predict", "POST"),
    ):  # fmt: skip
        status, document, headers = running.ask(method, path)
        assert status == 405 and headers["Allow"] == allowed and document["error"]
    assert running.ask("GET", "/health", "a body")[0] == 400
    with closing(running.connect()) as connection:
        connection.request("HEAD", "/health")
        assert connection.getresponse().status == 405


def test_clients_that_go_early_do_no_harm(running: Running) -> None:
    for sent in (
        b"",
        b"no HTTP\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n",
    ):
        with socket.create_connection(running.address, timeout=20) as connection:
            # Closing resets the connection.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(sent)
    assert running.ask("POST", "/predict", GOOD)[0] == 200


def test_an_output_that_is_not_finite_is_refused(running: Running) -> None:
    status, document, _ = running.ask("POST", "/predict", '{"inputs": [[3e38, 3e38, 3e38]]}')
    assert status == 422 and "output" in document["error"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(number: signal.Signals, tmp_path: Path) -> None:
    running = Running(tmp_path)
    idle = running.connect()
    idle.request("GET", "/health")
    assert idle.getresponse().read()
    running.process.send_signal(number)
    printed = running.process.communicate(timeout=20)
    idle.close()
    assert (running.process.returncode, *printed) == (0, "", "")
