"""The CuPy backend without a card: its own class, over stand-ins for what only a card has.

- The array module is NumPy with arrays of a class of their own, so that host and device
  are told apart, and that behaves where it matters as CuPy's do.
- The kernels are those of ``kernels/``, compiled for the CPU (see `host_kernels`).
- The matrix product reads flat memory column by column, as cuBLAS does.
- The stream notes what is asked of it during a capture, without doing it, and replays that.
- Each thread has a current stream, as in CuPy, and array functions go there: at first to the null
  stream, which nothing orders with the backend's, so that it takes no work here.
- The memory is a pool of chunks as CuPy's, and ends where a test says so.

Importing this module makes ``"emulated"`` known to ``gpunn.use_backend``.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from host_kernels import HostKernels, poison

import gpunn.backends
from gpunn.backends.cupy.backend import CupyBackend
from gpunn.backends.cupy.launch.codegen import Kernel
from gpunn.backends.cupy.launch.protocols import Matmul, column_major
from gpunn.backends.shared.interrupts import perform
from gpunn.backends.shared.precision import PRECISIONS, rounded


class _CurrentStreams(threading.local):
    """CuPy's current streams of a thread, the innermost last."""

    def __init__(self) -> None:
        self.entered: list[Stream] = []


_currents = _CurrentStreams()


def current_stream() -> Stream:
    return _currents.entered[-1] if _currents.entered else NULL


def use(stream: Stream) -> None:
    """Make it this thread's current stream until another is."""
    _currents.entered[-1:] = [stream]


class Stream:
    """A stream that can be current; `perform` and `synchronize` say how it works.

    Attributes:
        captured: what was asked of it since a capture began, by any thread; else None.
    """

    captured: list[Callable[[], Any]] | None = None

    @property
    def eager(self) -> bool:
        """Whether it has done its work as soon as it has it."""
        return False

    def __enter__(self) -> Any:
        _currents.entered.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _currents.entered.pop()

    def perform(self, work: Callable[[], Any]) -> None:
        raise NotImplementedError

    def synchronize(self) -> None:
        raise NotImplementedError

    def keep(self, memory: np.ndarray) -> None:
        """Whose work may be later than the end of an array keeps its memory."""

    def refuse(self, what: str) -> None:
        if self.captured is not None:
            raise RuntimeError(f"a step that is captured cannot {what}: it would wait for the card")


class NullStream(Stream):
    def record(self) -> Any:
        return SimpleNamespace(synchronize=lambda: None)

    def perform(self, work: Callable[[], Any]) -> None:
        raise RuntimeError("work for the null stream, which nothing orders with the backend's")

    def synchronize(self) -> None:
        raise RuntimeError("whoever waits for the null stream does not wait for the backend's")


NULL = NullStream()


class EmulatedStream(Stream):
    """The backend's stream: does what it is given, or, during a capture, notes it down."""

    def __init__(self) -> None:
        self.asked = 0  # by each step of the capture that was made last
        self.late = True  # copies beside the work: as late as they may be done, or as early
        self.sent: weakref.WeakSet[Sending] = weakref.WeakSet()
        self.lost = 0  # copies that nobody waited for

    def current(self) -> Any:
        return Sending([])  # no other stream takes any work

    @property
    def eager(self) -> bool:
        return self.captured is None

    def perform(self, work: Callable[[], Any]) -> None:
        if self.captured is None:
            work()
        else:
            self.captured.append(work)

    def synchronize(self) -> None:
        self.refuse("synchronize")

    def read(self, array: Any) -> np.ndarray:
        self.refuse("read")
        if not isinstance(array, DeviceArray):
            raise TypeError("what is read is an array of the device")
        return np.array(array.view(np.ndarray))

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        array = np.empty(shape, dtype)
        poison(array)
        return array

    def send(self, copies: Any) -> Sending:
        self.refuse("send")
        for target, source in copies:
            if not isinstance(target, DeviceArray) or isinstance(source, DeviceArray):
                raise TypeError("a copy goes from an array of the host to one of the device")
            assert (target.shape, target.dtype) == (source.shape, source.dtype)
        if any(sending.shares(source) for sending in self.sent for _, source in copies):
            raise RuntimeError("an array of the host was written while it was being copied")
        sending = Sending([(target.view(np.ndarray), source) for target, source in copies])
        if not self.late:
            sending.join()
        self.sent.add(sending)
        return sending

    def capture(self, step: Callable[[], None], times: int) -> Callable[[], None]:
        if current_stream() is not self:
            raise RuntimeError("array functions of the step would go to another stream")
        self.captured = captured = []
        try:
            for _ in range(times):
                step()
        finally:
            self.captured = None
        self.asked = len(captured) // times

        return lambda: perform(captured, 1)  # a launch of a graph is not interrupted


class Sending:
    """Copies on their way, done as late or as early as they may be.

    Whoever should have waited on the device's side, and did not, finds old numbers there; on
    the host's side, the next `send` from the same memory complains.
    """

    def __init__(self, copies: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.copies = copies
        self.sources = [source for _, source in copies]

    def join(self) -> None:
        for target, source in self.copies:
            target[...] = source
        self.copies = []

    def wait(self) -> None:
        self.join()
        self.sources = []

    def __del__(self) -> None:
        STREAM.lost += bool(self.sources)  # its arrays may be somebody else's by now

    def shares(self, array: np.ndarray) -> bool:
        return any(np.may_share_memory(source, array) for source in self.sources)


STREAM = EmulatedStream()


class Chunk:
    """A piece of what the pool has taken of the card, and its neighbours in the same piece."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.left: Chunk | None = None
        self.right: Chunk | None = None

    def split(self, size: int) -> Chunk:
        """Keep ``size`` bytes; the rest."""
        rest = Chunk(self.size - size)
        rest.left, rest.right, self.size = self, self.right, size
        if rest.right is not None:
            rest.right.left = rest
        self.right = rest
        return rest

    def merge(self) -> None:
        """Take the right neighbour in."""
        other = self.right
        assert other is not None
        self.size, self.right = self.size + other.size, other.right
        if self.right is not None:
            self.right.left = self


class Memory:
    """CuPy's memory pool: gives out chunks in units of 512 bytes, and keeps what comes back.

    An array gets the smallest idle chunk that has room for it, which is split, or else memory of
    the card. Only a chunk that is whole again goes back to the card.
    """

    UNIT = 512

    def __init__(self) -> None:
        self._limit = self._total = self._used = 0
        self._idle: set[Chunk] = set()
        self._returned: deque[Chunk] = deque()  # whenever an array ends, in the middle of anything
        self._lock = threading.Lock()

    def used_bytes(self) -> int:
        with self._lock:
            self._put_back()
            return self._used

    def total_bytes(self) -> int:
        return self._total

    def get_limit(self) -> int:
        return self._limit

    def set_limit(self, size: int) -> None:
        self._limit = size

    def free_all_blocks(self) -> None:
        with self._lock:
            self._free_whole()

    def free(self) -> int:
        """What the card can still give."""
        self.free_all_blocks()
        return (self._limit or 1 << 60) - self._total

    def take(self, size: int) -> Chunk:
        size = -(-size // self.UNIT) * self.UNIT
        with self._lock:
            self._put_back()
            fitting = [chunk for chunk in self._idle if chunk.size >= size]
            if fitting and size:
                chunk = min(fitting, key=lambda chunk: chunk.size)
                self._idle.remove(chunk)
                if chunk.size > size:
                    self._idle.add(chunk.split(size))
            else:
                if self._limit and self._total + size > self._limit:
                    self._free_whole()
                if self._limit and self._total + size > self._limit:
                    raise MemoryError(f"Out of memory allocating {size:,} bytes")
                chunk = Chunk(size)
                self._total += size
            self._used += size
            return chunk

    def hold(self, array: np.ndarray, chunk: Chunk | None = None) -> Any:
        """``array`` on the device; its memory comes back when nobody has it any more."""
        chunk = chunk or self.take(array.nbytes)
        current_stream().keep(array)
        weakref.finalize(array, self._returned.append, chunk).atexit = False
        return array.view(DeviceArray)

    def _put_back(self) -> None:
        while self._returned:
            chunk = self._returned.popleft()
            self._used -= chunk.size
            if chunk.right in self._idle:
                self._idle.remove(chunk.right)
                chunk.merge()
            if chunk.left in self._idle:
                chunk = chunk.left
                chunk.merge()
            self._idle.add(chunk)

    def _free_whole(self) -> None:
        self._put_back()
        whole = {chunk for chunk in self._idle if chunk.left is chunk.right is None}
        self._idle -= whole
        self._total -= sum(chunk.size for chunk in whole)


MEMORY = Memory()


def _plain(x: Any) -> Any:
    if isinstance(x, DeviceArray):
        return x.view(np.ndarray)
    if isinstance(x, np.ndarray) and x.ndim:
        raise TypeError("an array of the host meets one of the device: CuPy refuses that")
    if isinstance(x, (tuple, list)):
        return type(x)(_plain(item) for item in x)
    if isinstance(x, dict):
        return {key: _plain(value) for key, value in x.items()}
    return x


def _on_device(x: Any) -> Any:
    """Results become arrays of the device; single numbers arrays without axes, as in CuPy."""
    if isinstance(x, (tuple, list)):
        return type(x)(_on_device(item) for item in x)
    if not isinstance(x, (np.ndarray, np.generic)):
        return x
    array = np.asarray(x)
    return array.view(DeviceArray) if array.base is not None else MEMORY.hold(array)


def _call(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a NumPy function on device arrays; in a capture, note how to do it instead."""
    args, kwargs = _plain(args), _plain(kwargs)

    def call() -> Any:
        with np.errstate(all="ignore"):  # a card does not warn, and a capture computes on rubbish
            return function(*args, **kwargs)

    stream = current_stream()
    if kwargs.get("out") is not None or function in IN_PLACE:
        stream.perform(call)
        return None
    if function in SYNCHRONIZING:
        stream.synchronize()
    if stream.eager:
        return _on_device(call())
    # A new array: that of now is the one that later steps will find their result in.
    result = call()
    if isinstance(result, (np.ndarray, np.generic)):
        result = np.asarray(result)
        stream.perform(lambda: np.copyto(result, call()))
    return _on_device(result)


IN_PLACE = (np.copyto, np.ndarray.__setitem__, np.ndarray.fill)
# How many numbers these give, or whether their arguments are right, CuPy looks at on the host.
SYNCHRONIZING = (
    np.argwhere, np.bincount, np.compress, np.extract, np.flatnonzero, np.nonzero, np.repeat,
    np.unique,
)  # fmt: skip
# What NumPy takes and CuPy 14 does not.
UNKNOWN = {np.take: {"mode"}, np.clip: {"dtype", "where"}, np.sum: {"where", "initial"}}
REDUCED = ("add", "multiply")


def _refuse_unknown(name: str, unknown: set[str]) -> None:
    if unknown:
        raise TypeError(f"CuPy's {name} does not take {', '.join(sorted(unknown))}")


class DeviceArray(np.ndarray):
    """An array "on the device": whatever is done to it goes through the stream."""

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "__call__":
            _refuse_unknown(ufunc.__name__, kwargs.keys() - {"out", "casting", "dtype"})
        elif method == "reduce" and ufunc.__name__ not in REDUCED:
            raise NotImplementedError(f"CuPy's {ufunc.__name__} has no reduce")
        out = kwargs.get("out")
        result = _call(getattr(ufunc, method), args, kwargs)
        return out[0] if out else result

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        _refuse_unknown(function.__name__, UNKNOWN.get(function, set()) & kwargs.keys())
        result = _call(function, args, kwargs)
        return kwargs["out"] if kwargs.get("out") is not None else result

    def __getitem__(self, key: Any) -> Any:
        plain, key = self.view(np.ndarray), _plain(key)
        part = plain[key]
        if isinstance(part, np.generic):  # CuPy gives an array without axes, not a number
            part = plain[(*(key if isinstance(key, tuple) else (key,)), Ellipsis)]
        if np.may_share_memory(part, plain) or not part.size:
            return part.view(DeviceArray)
        if any(np.asarray(k).dtype == bool for k in (key if isinstance(key, tuple) else (key,))):
            current_stream().synchronize()  # how many there are is counted on the host
        return _call(lambda: plain[key], (), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        _call(np.ndarray.__setitem__, (self, key, value), {})

    @property
    def data(self) -> Any:  # CuPy has its pointer there
        return SimpleNamespace(ptr=self.ctypes.data)

    def astype(self, *args: Any, **kwargs: Any) -> Any:
        return _call(np.ndarray.astype, (self, *args), kwargs)

    def fill(self, value: Any) -> None:
        _call(np.ndarray.fill, (self, value), {})

    def copy(self, order: Any = "C") -> Any:
        return _call(np.ndarray.copy, (self, order), {})

    def _wait(self) -> Any:
        current_stream().refuse("look at a number of the device")
        current_stream().synchronize()
        return self.view(np.ndarray)

    def item(self, *args: Any) -> Any:
        return self._wait().item(*args)

    def tolist(self) -> Any:
        return self._wait().tolist()

    def __bool__(self) -> bool:
        return bool(self._wait())

    def __float__(self) -> float:
        return float(self._wait())

    def __int__(self) -> int:
        return int(self._wait())

    def __index__(self) -> int:
        return self._wait().__index__()


def _method(name: str) -> Any:
    return lambda self, *args, **kwargs: getattr(np, name)(self, *args, **kwargs)


for _name in ("max", "min", "mean", "any", "all"):  # NumPy's own go through reduce
    setattr(DeviceArray, _name, _method(_name))


class ArrayModule:
    """NumPy, with arrays on the device."""

    ndarray = DeviceArray

    def __getattr__(self, name: str) -> Any:
        member = getattr(np, name)
        if not callable(member) or isinstance(member, (type, np.ufunc)):
            return member

        def function(*args: Any, **kwargs: Any) -> Any:
            _refuse_unknown(name, UNKNOWN.get(member, set()) & kwargs.keys())
            out = kwargs.get("out")
            result = _call(member, args, kwargs)
            return result if out is None else out

        return function

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        """A copy of what is on the host; what is on the device, as it stands."""
        if isinstance(x, DeviceArray):
            return x if dtype in (None, x.dtype) else x.astype(dtype)
        values = np.array(x, dtype)
        array = self.empty(values.shape, values.dtype)
        if values.ndim:  # a single number is an argument of a kernel
            current_stream().refuse("copy from the host")
        current_stream().perform(lambda: np.copyto(array.view(np.ndarray), values))
        return array

    def empty(self, shape: Any, dtype: Any = np.float64) -> Any:
        """Filled with what shows if nobody writes it; of the current stream's memory."""
        if current_stream() is NULL:
            raise RuntimeError("memory of the null stream: it is given out again too early")
        size = math.prod(np.atleast_1d(shape).tolist()) * np.dtype(dtype).itemsize
        chunk = MEMORY.take(size)
        array = np.empty(shape, dtype)
        poison(array)
        return MEMORY.hold(array, chunk)

    def get_default_memory_pool(self) -> Any:
        return MEMORY


class EmulatedKernels(HostKernels):
    """The kernels on the CPU, refusing arrays of the host as a card would."""

    def prepare(self, kernel: Kernel) -> Any:
        run = super().prepare(kernel)

        def launch(grid: tuple[int, ...], block: tuple[int, ...], arguments: list[Any]) -> None:
            for parameter, value in zip(kernel.parameters, arguments, strict=True):
                if parameter.pointer and np.ndim(value) and not isinstance(value, DeviceArray):
                    raise TypeError(f"{kernel.name}: {parameter.name} is an array of the host")
            STREAM.perform(lambda: run(grid, block, arguments))

        return launch


class Products:
    """The matrix product as cuBLAS does it: from flat memory, column by column.

    Args:
        epilogues: kinds of them that it offers; a card may have none.
    """

    precisions = PRECISIONS

    def __init__(self, epilogues: Sequence[str] = ()) -> None:
        self.epilogues = epilogues

    def __call__(self, asked: Matmul) -> None:
        layout = column_major(asked)
        a, b, out, _, _, accumulate, precision, epilogue = asked
        kind, vector = epilogue or ("", None)
        assert not kind or (kind in self.epilogues and not accumulate)

        def columns(x: Any, rows: int, count: int, stride: int) -> np.ndarray:
            assert x.flags.c_contiguous
            steps = (x.itemsize, stride * x.itemsize)
            return np.lib.stride_tricks.as_strided(x.view(np.ndarray), (rows, count), steps)

        def product() -> None:
            m, n, k = layout.m, layout.n, layout.k
            first = columns(b, *((k, m) if layout.transpose_first else (m, k)), layout.first_stride)
            second = columns(
                a, *((n, k) if layout.transpose_second else (k, n)), layout.second_stride
            )
            first = first.T if layout.transpose_first else first
            second = second.T if layout.transpose_second else second
            result = columns(out, m, n, m)
            value = rounded(first, precision) @ rounded(second, precision)
            if kind == "bias_gradient":
                vector.view(np.ndarray)[...] = first.sum(1)
            elif kind:
                value = value + vector.view(np.ndarray)[:, None]
            if kind == "relu":
                value = np.maximum(value, 0)
            result[...] = value + (result if accumulate else 0)

        STREAM.perform(product)

    def offers(self, asked: Matmul) -> bool:
        assert STREAM.captured is None, "too late to choose"
        return asked.epilogue is not None and asked.epilogue.kind in self.epilogues


def make_backend(mode: str = "plain") -> CupyBackend:
    """A CuPy backend on the CPU.

    Unless GPUNN_LAUNCH_MODE or ``mode`` says otherwise, its steps are not traced: each trace would
    be compiled anew. `test_launch_modes.py` is about those that are.
    """
    return CupyBackend(
        ArrayModule(), EmulatedKernels(), Products(), STREAM, "emulated", MEMORY.free,
        os.environ.get("GPUNN_LAUNCH_MODE") or mode,
    )  # fmt: skip


gpunn.backends.register_backend("emulated", make_backend)
