"""Readers and a writer of the same arrays, in threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from gpunn.common.holds import Access


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Let threads take turns as often as the interpreter can: between nearly any two lines."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("readers", [1, 2, 5])
def test_readers_and_a_writer_never_wait_for_each_other(readers: int) -> None:
    """A reader that begins at the same time as a write: each saw the other, and waited for it."""
    access, reading, values, torn = Access(), [*range(readers)], [0, 0], []

    def write() -> None:
        while reading:
            with access.writing():
                values[0] += 1
                values[1] += 1

    def read() -> None:
        for _ in range(10_000):
            with access.reading():
                first, second = values
            if first != second:
                torn.append((first, second))
        reading.pop()

    threads = [threading.Thread(target=work, daemon=True) for work in (write, *[read] * readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert not torn
