"""The sum over ranks on GPUs: which calls of NCCL it makes, with a substitute for CuPy.

The ranks are threads. The substitute for NCCL adds up what the threads pass to `allReduce`.
"""

from __future__ import annotations

import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpunn.backends.cupy.driver.nccl import NcclSum
from gpunn.distribution.communicator import Communicator

RANKS = 3
IDENTIFIER = (7, 8, 9)


class ThreadRanks(Communicator):
    """A rank that is a thread; only what `NcclSum` needs."""

    size = RANKS
    box: Any = None
    barrier = threading.Barrier(RANKS)

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    def first(self, value: Any) -> Any:
        if self.rank == 0:
            ThreadRanks.box = value
        self.barrier.wait(30)
        return ThreadRanks.box


class Nccl(ModuleType):
    NCCL_SUM, NCCL_FLOAT32, NCCL_FLOAT64 = "sum", np.float32, np.float64

    def __init__(self) -> None:
        super().__init__("cupy.cuda.nccl")
        self.memory: dict[int, np.ndarray] = {}
        self.calls: list[tuple[int, str, int]] = []
        self.barrier = threading.Barrier(RANKS)
        self.parts: dict[int, np.ndarray] = {}

    def get_unique_id(self) -> tuple[int, ...]:
        return IDENTIFIER

    def NcclCommunicator(self, size: int, identifier: Any, rank: int) -> Any:
        assert (size, identifier) == (RANKS, IDENTIFIER)

        def all_reduce(source: int, into: int, count: int, kind: Any, op: str, stream: int) -> None:
            array = self.memory[source]
            assert (source, count, kind) == (into, array.size, array.dtype.type)
            self.calls.append((rank, op, stream))
            self.parts[rank] = array.copy()
            self.barrier.wait(30)
            array[...] = sum(self.parts[k] for k in range(RANKS))
            self.barrier.wait(30)

        return SimpleNamespace(allReduce=all_reduce)

    def array(self, values: np.ndarray) -> Any:
        self.memory[id(values)] = values
        pointer = SimpleNamespace(ptr=id(values))
        return SimpleNamespace(data=pointer, size=values.size, dtype=values.dtype, values=values)


class Stream:
    ptr = 1234

    def __init__(self) -> None:
        self.waited = 0

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def synchronize(self) -> None:
        self.waited += 1


@pytest.fixture
def nccl(monkeypatch: pytest.MonkeyPatch) -> Nccl:
    found = Nccl()
    cuda = ModuleType("cupy.cuda")
    cuda.nccl = found  # type: ignore[attr-defined]
    for name, module in (
        ("cupy", ModuleType("cupy")), ("cupy.cuda", cuda), ("cupy.cuda.nccl", found)
    ):  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_rank_gets_the_sum(nccl: Nccl, dtype: str) -> None:
    results: dict[int, np.ndarray] = {}

    def work(rank: int) -> None:
        cupy = SimpleNamespace(zeros=lambda shape, kind: nccl.array(np.zeros(shape, kind)))
        stream = Stream()
        total = NcclSum(cupy, stream, ThreadRanks(rank))
        assert stream.waited == 1  # connected before any capture
        array = nccl.array(np.arange(5, dtype=dtype) + rank)
        total(array)
        results[rank] = array.values

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(RANKS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for rank in range(RANKS):
        np.testing.assert_array_equal(results[rank], 3 * np.arange(5) + 3)
    # A first sum by each, and the one that is asked for, on the stream of the backend.
    assert sorted(nccl.calls) == sorted([(rank, "sum", 1234) for rank in range(RANKS)] * 2)


@pytest.mark.parametrize("found", [None, SimpleNamespace(available=False), "no module"])
def test_without_nccl_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, found: Any
) -> None:
    cuda = ModuleType("cupy.cuda")
    if found != "no module":
        cuda.nccl = found  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cupy", ModuleType("cupy"))
    monkeypatch.setitem(sys.modules, "cupy.cuda", cuda)
    monkeypatch.delitem(sys.modules, "cupy.cuda.nccl", raising=False)
    with pytest.raises(ImportError, match=r'pip install "gpunn\[nccl\]"'):
        NcclSum(None, Stream(), ThreadRanks(0))
