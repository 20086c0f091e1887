"""`gpunn serve`: how long one client waits for a prediction, and how long eight at a time do.

    python -m benchmarks.studies.serving [--rounds 7]

The server is a process of its own. The clients are connections of one other process, which sends
the next request of a connection as soon as its answer is there: clients with a process each would
compete with the server for the cores of this machine.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gpunn
from benchmarks import RESULTS
from benchmarks.common import machine

INPUTS, CLIENTS, REQUESTS, FIRST = 20, 8, 600, 20  # requests of each client; those not counted
MODES = ("0", "2")  # of --batch-ms
ANSWER = b'{"outputs"'


@contextmanager
def serving(path: str, milliseconds: str) -> Iterator[int]:
    """Return the port of a server of this model, as long as the block runs."""
    command = [sys.executable, "-m", "gpunn", "serve", path, "--port", "0"]
    with subprocess.Popen(
        [*command, "--batch-ms", milliseconds], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline().split("http://127.0.0.1:")[1].split()[0])
        finally:
            server.terminate()


def waited(port: int, clients: int) -> list[float]:
    """Return the milliseconds from each request to its answer."""
    body = json.dumps({"inputs": [[0.1] * INPUTS]}).encode()
    request = (
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    found: list[float] = []
    sent: dict[socket.socket, float] = {}
    left = dict.fromkeys(range(clients), REQUESTS)
    with selectors.DefaultSelector() as selector:

        def ask(connection: socket.socket) -> None:
            sent[connection] = time.perf_counter()
            connection.sendall(request)

        for client in left:
            new = socket.create_connection(("127.0.0.1", port))
            new.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(new, selectors.EVENT_READ, client)
            ask(new)
        while any(left.values()):
            for key, _ in selector.select():
                connection: Any = key.fileobj
                answer = connection.recv(1 << 16)
                assert ANSWER in answer, answer
                left[key.data] -= 1
                if left[key.data] < REQUESTS - FIRST:
                    found.append(1e3 * (time.perf_counter() - sent[connection]))
                if left[key.data]:
                    ask(connection)
                else:
                    selector.unregister(connection)
                    connection.close()
    return found


def measure(rounds: int) -> dict[str, Any]:
    model = gpunn.Sequential([
        gpunn.Input((INPUTS,)), gpunn.layers.Dense(64, "relu"), gpunn.layers.Dense(3, "softmax"),
    ])  # fmt: skip
    model.compile("adam", "categorical_crossentropy")
    found: list[dict[str, Any]] = []
    others = machine.Others()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.gpunn")
        model.save(path)
        for mode in MODES:
            with serving(path, mode) as port:
                for _ in range(rounds):
                    for clients in (1, CLIENTS):
                        times = sorted(waited(port, clients))
                        found.append({
                            "batch_ms": mode, "clients": clients,
                            "median": statistics.median(times),
                            "p99": times[int(0.99 * len(times))],
                        })  # fmt: skip
    return {"measurements": found, "others": others.cores() or 0.0}


def table(result: dict[str, Any]) -> str:
    lines = [
        "# Waiting for a server",
        "",
        f"`gpunn serve` of a network {INPUTS}-64-3, one row a request, over HTTP/1.1 on the same",
        "machine (`benchmarks/studies/serving.py`). Milliseconds from a request to its answer;",
        "medians over the rounds.",
        "",
        "| `--batch-ms` | clients | half wait at most | 99% wait at most | times one client's |",
        "| --- | --- | --- | --- | --- |",
    ]
    for mode in MODES:
        alone = 0.0
        for clients in (1, CLIENTS):
            some = [
                one for one in result["measurements"]
                if (one["batch_ms"], one["clients"]) == (mode, clients)
            ]  # fmt: skip
            median, p99 = (statistics.median(one[key] for one in some) for key in ("median", "p99"))
            alone = alone or p99
            ratio = "" if clients == 1 else f"{p99 / alone:.2f}"
            lines.append(f"| {mode} | {clients} | {median:.2f} | {p99:.2f} | {ratio} |")
    complaint = machine.complaint(None, result["others"])
    notes = [complaint, ""] if complaint else []
    return "\n".join([*lines, "", *notes, machine.line(result["machine"]), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    result = {"machine": machine.describe(), **measure(parser.parse_args().rounds)}
    (RESULTS / "serving.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(result)
    (RESULTS / "serving.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
