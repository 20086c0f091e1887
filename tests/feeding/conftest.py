"""Shared fixtures for the tests of data on the device."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import emulated
import pytest

from gpunn.feeding import memory, rows, streaming


@pytest.fixture
def nothing_kept() -> Iterator[None]:
    """No data of an earlier call is kept, and every copy to the emulated GPU was waited for."""
    for sending in list(emulated.STREAM.sent):
        sending.wait()  # also those of an interrupted call of another test
    emulated.STREAM.lost = 0
    memory.forget_kept_data()  # also by tests of other folders
    yield
    memory.forget_kept_data()
    if any(sending.sources for sending in emulated.STREAM.sent):
        gc.collect()  # a copy that nobody waited for counts as lost when it is freed
    lost, emulated.STREAM.lost = emulated.STREAM.lost, 0
    assert not lost and not any(sending.copies for sending in emulated.STREAM.sent)


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Once called, no data fit on the device; a chunk has so many bytes, or one batch."""

    def begin(size: int) -> None:
        monkeypatch.setattr(rows, "lacking", lambda size, backend: 1000)
        monkeypatch.setattr(streaming, "CHUNK_BYTES", size)
        memory.forget_kept_data()

    return begin
