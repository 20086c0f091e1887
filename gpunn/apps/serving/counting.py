"""What a server has done, as Prometheus reads it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds


class Counts:
    """Counts of requests, rows and seconds, in Prometheus' text format 0.0.4.

    >>> counts = Counts()
    >>> counts.begin()
    >>> counts.add_rows(3)
    >>> counts.answer("/predict", 200, 0.002)
    >>> print(counts.text())  # doctest: +ELLIPSIS
    # HELP gpunn_requests_total Requests by path and status, 0 without an answer.
    # TYPE gpunn_requests_total counter
    gpunn_requests_total{path="/predict",status="200"} 1
    # HELP gpunn_rows_total Rows of which the predictions were answered.
    # TYPE gpunn_rows_total counter
    gpunn_rows_total 3
    # HELP gpunn_requests_in_flight Requests that are being answered.
    # TYPE gpunn_requests_in_flight gauge
    gpunn_requests_in_flight 0
    # HELP gpunn_predict_seconds Seconds from a request's first byte until its answer is ready.
    # TYPE gpunn_predict_seconds histogram
    gpunn_predict_seconds_bucket{le="0.001"} 0
    gpunn_predict_seconds_bucket{le="0.0025"} 1
    ...
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._rows = 0
        self._in_flight = 0

    def begin(self) -> None:
        """Count a request that is being answered from now on."""
        with self._lock:
            self._in_flight += 1

    def answer(self, path: str, status: int, seconds: float) -> None:
        """Count a request whose answer is ready; without a status, one whose client has gone."""
        with self._lock:
            self._in_flight -= 1
            self._requests[path, status] += 1
            if path == "/predict":
                place = sum(bound < seconds for bound in BOUNDS)
                self._buckets[place] += 1
                self._seconds += seconds

    def add_rows(self, rows: int) -> None:
        """Count rows of which the predictions were computed."""
        with self._lock:
            self._rows += rows

    def text(self) -> str:
        """Return all counts in Prometheus' text format."""
        with self._lock:
            return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        about = "Requests by path and status, 0 without an answer."
        yield from _head("requests_total", "counter", about)
        for (path, status), count in sorted(self._requests.items()):
            yield f'gpunn_requests_total{{path="{path}",status="{status}"}} {count}'
        yield from _head("rows_total", "counter", "Rows of which the predictions were answered.")
        yield f"gpunn_rows_total {self._rows}"
        yield from _head("requests_in_flight", "gauge", "Requests that are being answered.")
        yield f"gpunn_requests_in_flight {self._in_flight}"
        about = "Seconds from a request's first byte until its answer is ready."
        yield from _head("predict_seconds", "histogram", about)
        below = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self._buckets, strict=True):
            below += count
            yield f'gpunn_predict_seconds_bucket{{le="{bound}"}} {below}'
        yield f"gpunn_predict_seconds_sum {self._seconds:.9g}"
        yield f"gpunn_predict_seconds_count {below}"


def _head(name: str, kind: str, about: str) -> Iterator[str]:
    yield f"# HELP gpunn_{name} {about}"
    yield f"# TYPE gpunn_{name} {kind}"
