"""Serve the predictions of a saved model over HTTP.

examples:
  gpunn serve runs/flowers/model.gpunn
  gpunn serve model.keras --port 8080
  curl -d '{"rows": [{"petals": 5, "hue": "red"}]}' 127.0.0.1:8000/predict
  curl --data-binary @seven.png -H Content-Type:image/png localhost:8000/predict

POST /predict takes JSON: {"inputs": [row, ...]} for arrays, by name for several
inputs; {"rows": [{"column": value}, ...]} or {"columns": {"column": [value,
...]}} for a model trained on a table; {"pictures": [base64, ...]}, or a picture
as it is, for a model of pictures. GET / says what the model takes, GET /health
that the server runs, GET /metrics its counts, as Prometheus reads them.

Requests that arrive within 2 ms are computed together, by one predict: many
clients then wait little longer than one. With --batch-ms 0, each request is
computed at once. Either way its answer has the bits of model.predict for its
rows, whatever else arrives.

The server has neither passwords nor encryption, and listens on 127.0.0.1, which
other machines do not reach. Before you pass another --host, put a web server
before it. SIGTERM or Ctrl-C ends it after it has answered what arrived.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from .arguments import add_shared, positive, saved_model

if TYPE_CHECKING:
    from gpunn.apps.serving import Server

HELP = "serve a saved model's predictions over HTTP"


def _from_to(low: float, high: float, kind: type[float] = float) -> Callable[[str], float]:
    """Return a function that parses a number within these limits."""

    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            what = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(
                f"a {what} from {low:g} to {high:g} expected, not {text!r}"
            )
        return number

    return parse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_shared(parser, "model", "--max-parts")
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--port", type=_from_to(0, 65535, int), default=8000, metavar="N",
        help="port to listen on, 0 for any free one (default: 8000)")
    add("--batch-ms", type=_from_to(0, 1000), default=2.0, metavar="MS",
        help="compute requests that arrive within MS milliseconds together; 0 computes each at "
        "once (default: 2)")
    add("--max-bytes", type=positive, default=10_000_000, metavar="N",
        help="maximum number of bytes of a request (default: 10,000,000)")
    add("--max-pixels", type=positive, default=50_000_000, metavar="N",
        help="maximum number of pixels of all pictures of a request (default: 50,000,000)")
    add("--timeout", type=_from_to(0.1, 3600), default=30.0, metavar="SECONDS",
        help="time for a request to arrive, and for a connection to be idle (default: 30)")
    add("--queue", type=positive, default=64, metavar="N",
        help="maximum number of requests that wait or are computed; others are answered by status "
        "503 (default: 64)")
    add_shared(parser, "--backend")


def run(args: argparse.Namespace) -> int:
    from gpunn.apps.serving import Limits, Server

    limits = Limits(args.max_bytes, args.timeout, args.queue, args.max_pixels)
    model = saved_model(args)
    try:
        server = Server(model, args.host, args.port, args.batch_ms / 1000, limits)
    except OSError as error:
        hint = "another --port, or 0 for any free one"
        if isinstance(error, socket.gaierror):
            hint = "a name or an address of this machine as --host"
        raise OSError(
            f"cannot listen on {args.host}, port {args.port}: {error.strerror or error}. "
            f"Pass {hint}."
        ) from None
    with server:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, _: _end(server, received))
        if not server.is_local:
            print(
                f"gpunn: warning: other machines may reach {server.url}, and it has neither "
                f"passwords nor encryption.",
                file=sys.stderr,
            )
        print(f"{server.url} serves {os.path.basename(args.model)}", flush=True)
        server.serve_forever(poll_interval=0.1)
    print("gpunn: the server has ended.", file=sys.stderr)
    return 0


def _end(server: Server, number: int) -> None:
    """Stop serving; the next signal stops the process at once."""
    if server.is_ending:  # the handlers stay: Python complains of signals while they are replaced
        os._exit(128 + number)
    server.is_ending = True
    threading.Thread(target=server.shutdown).start()  # which waits for this thread
