"""Count the cost of some work: passes over arrays, calls, instructions, allocations.

None of these depends on the load or the speed of the machine.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import gpunn

OURS = str(Path(gpunn.__file__).parent)
PASSES = ("argmax", "copyto", "dot", "matmul", "put", "sum", "take")  # besides the ufuncs
Counters = dict[str, int]
Prepare = Callable[[], tuple[Callable[[], Any], Any]]  # returns the work, and its backend


# -- passes over arrays


class _Counted:
    """Replaces a function of NumPy, and records the bytes of the arrays in its arguments."""

    def __init__(self, function: Any, seen: list[int]) -> None:
        self._function = function
        self._seen = seen

    @property
    def __class__(self) -> type:  # for isinstance checks for ufuncs
        return type(self._function)

    def __eq__(self, other: object) -> bool:
        return self._function is getattr(other, "_function", other)

    def __hash__(self) -> int:
        return hash(self._function)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        result = self._function(*arguments, **options)
        given: list[Any] = [result] if options.get("out") is None else []
        for value in (*arguments, *options.values()):
            given += value if isinstance(value, tuple) else [value]
        self._seen.append(sum(a.nbytes for a in given if isinstance(a, np.ndarray)))
        return result

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._function, name)
        return _Counted(found, self._seen) if callable(found) else found


class _NumPy:
    """Replaces NumPy in a module of gpunn."""

    def __init__(self, seen: list[int]) -> None:
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        return _watched(getattr(np, name), self._seen)


def _watched(value: Any, seen: list[int]) -> Any:
    """Return ``value``, or a counting replacement of NumPy and functions that pass over arrays."""
    if value is np:
        return _NumPy(seen)
    if type(value) is _Counted:
        return value
    function = value.func if isinstance(value, functools.partial) else value
    known = (
        isinstance(function, np.ufunc)
        or isinstance(getattr(function, "__self__", None), np.ufunc)  # np.add.reduce
        or any(function is getattr(owner, name) for owner in (np, np.ndarray) for name in PASSES
               if hasattr(owner, name))
    )  # fmt: skip
    return _Counted(value, seen) if known else value


def passes(prepare: Prepare) -> Counters:
    """Count calls of ufuncs, products and copies by gpunn, and the bytes they read and write.

    The model is built again, so that a step that looks up its functions in advance finds
    the counting ones. Operators of arrays are not counted; the arrays they allocate are.
    """
    seen: list[int] = []
    modules = [m for name, m in sys.modules.items() if name.split(".")[0] == "gpunn"]
    values = [v for m in modules for v in vars(m).values()]
    classes = {v for v in values if isinstance(v, type) and v.__module__.startswith("gpunn")}
    undo: list[Callable[[], None]] = []
    for owner in (*modules, *classes):
        for name, value in list(vars(owner).items()):
            if (other := _watched(value, seen)) is not value:
                undo.append(functools.partial(setattr, owner, name, value))
                setattr(owner, name, other)
    for table in (v for v in values if type(v) is dict):
        for key, value in list(table.items()):
            if (other := _watched(value, seen)) is not value:
                undo.append(functools.partial(table.__setitem__, key, value))
                table[key] = other
    try:
        work, _ = prepare()
        seen.clear()
        work()
    finally:
        for restore in reversed(undo):
            restore()
    return {"passes": len(seen), "passes' bytes": sum(seen)}


# -- calls and instructions


def _counts(frame: Any) -> bool:
    # The calls of threadpoolctl depend on the loaded libraries.
    return "threadpoolctl" not in frame.f_code.co_filename


def calls(work: Callable[[], Any]) -> Counters:
    """Count calls of Python functions, of gpunn's functions among them, and of C functions.

    A comprehension does not count as a call: since Python 3.12 it runs in the enclosing function.
    NumPy's ufuncs are callable objects, whose calls Python profilers do not see.
    """
    python = ours = c = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal python, ours, c
        if not _counts(frame):
            return
        if event == "c_call":
            c += argument is not sys.setprofile
        elif event == "call" and not frame.f_code.co_name.endswith(("comp>", "<genexpr>")):
            python += 1
            ours += frame.f_code.co_filename.startswith(OURS)

    before = sys.getprofile()
    with _undisturbed():
        sys.setprofile(profile)
        try:
            work()
        finally:
            sys.setprofile(before)
    return {"calls into gpunn": ours, "Python calls": python, "C calls": c}


def instructions(work: Callable[[], Any]) -> int:
    """Count executed instructions of Python's virtual machine."""
    count = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        if not _counts(frame):
            return None
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    with _undisturbed():
        for traced in (_nothing, work):  # Python 3.12 reports nothing the first time in a process
            count = 0
            sys.settrace(trace)
            try:
                traced()
            finally:
                sys.settrace(before)
    return count


def _nothing() -> None:
    pass


@contextmanager
def _undisturbed() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# -- allocations: NumPy gets the memory of its arrays from a handler, here ours (NEP 49)

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t
_MALLOC = ctypes.CFUNCTYPE(_POINTER, _POINTER, _SIZE)
_CALLOC = ctypes.CFUNCTYPE(_POINTER, _POINTER, _SIZE, _SIZE)
_REALLOC = ctypes.CFUNCTYPE(_POINTER, _POINTER, _POINTER, _SIZE)
_FREE = ctypes.CFUNCTYPE(None, _POINTER, _POINTER, _SIZE)
_SET_HANDLER = 304  # the index of PyDataMem_SetHandler in NumPy's table of functions


class _Handler(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", _POINTER),
        ("malloc", _MALLOC),
        ("calloc", _CALLOC),
        ("realloc", _REALLOC),
        ("free", _FREE),
    )


def allocated(work: Callable[[], Any]) -> list[int]:
    """Return the bytes of each NumPy array that ``work`` allocates, without views."""
    sizes: list[int] = []
    c = ctypes.PyDLL("msvcrt" if sys.platform == "win32" else None)
    c.malloc.restype = c.calloc.restype = c.realloc.restype = _POINTER

    def malloc(context: Any, size: int) -> Any:
        sizes.append(size)
        return c.malloc(_SIZE(size))

    def calloc(context: Any, number: int, size: int) -> Any:
        sizes.append(number * size)
        return c.calloc(_SIZE(number), _SIZE(size))

    def realloc(context: Any, old: Any, size: int) -> Any:
        sizes.append(size)
        return c.realloc(_POINTER(old), _SIZE(size))

    def free(context: Any, old: Any, size: int) -> None:
        c.free(_POINTER(old))

    handler = _Handler(
        b"counting", 1, None, _MALLOC(malloc), _CALLOC(calloc), _REALLOC(realloc), _FREE(free)
    )
    # An array may outlive this call, and is freed by its handler, so the handler is never freed.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(handler))
    new = ctypes.pythonapi.PyCapsule_New
    new.argtypes, new.restype = (_POINTER, ctypes.c_char_p, _POINTER), ctypes.py_object
    capsule = new(ctypes.addressof(handler), b"mem_handler", None)
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.argtypes, get.restype = (ctypes.py_object, ctypes.c_char_p), _POINTER
    functions = np._core._multiarray_umath._ARRAY_API  # type: ignore[attr-defined]
    table = ctypes.cast(get(functions, None), ctypes.POINTER(_POINTER))
    set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[_SET_HANDLER])
    with _undisturbed():
        before = set_handler(capsule)
        try:
            work()
        finally:
            set_handler(before)
    return sizes
