"""The kernels on the CPU: the source that NVRTC gets, compiled by g++ and called through ctypes.

``tests/support/host/cuda_on_cpu.h`` and ``.cpp`` replace CUDA. The libraries are cached under a
name derived from their source, so an unchanged kernel is compiled once, see `compiled_once`.

With GPUNN_FIND_RACES=1 in the environment, a launch fails if two of its blocks race for a memory
location, see ``tests/support/host/races.cpp``. That takes about ten times as long.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import compiled_once
import numpy as np
import ptx

from gpunn.backends.cupy.driver.nvrtc import compile_source
from gpunn.backends.cupy.launch import kernel_source
from gpunn.backends.cupy.launch.codegen import Kernel, every_kernel
from gpunn.backends.cupy.launch.kernel_source import (
    NULL,
    KernelParameter,
    dtype_named,
    part_named,
)
from gpunn.backends.cupy.launch.known_gpus import GPUS

from .memory import POISON, Copies, poison

__all__ = ["POISON", "HostKernels", "compile_file", "compile_library", "compile_text", "poison"]

HEADER = Path(__file__).parents[1] / "host" / "cuda_on_cpu.h"
CACHE = compiled_once.folder("host")
# A fifth faster for a small kernel. Searched where it is installed, whatever PATH a test sets.
LINKER = ["-fuse-ld=gold"] if shutil.which("ld.gold", path=os.defpath) else []
COMPILER = (
    *("g++", "-std=c++17", "-O1", "-ffp-contract=off", "-fno-gnu-unique", "-fmax-errors=3"),
    *("-shared", "-fPIC"),
    *LINKER,
    *os.environ.get("GPUNN_HOST_OPTIONS", "").split(),  # such as -fsanitize=address
)

# Every memory access of a kernel calls a function in races.cpp instead of ThreadSanitizer itself.
FIND_RACES = os.environ.get("GPUNN_FIND_RACES") == "1"
RACES = HEADER.with_name("races.cpp")
OBSERVED = (
    *("-fsanitize=thread", "--param=tsan-distinguish-volatile=1", "-DFIND_RACES", "-g1"),
    "-gdwarf-4",  # with a later one, addr2line cannot find lines of source that is not in a file
)
WITHOUT_SANITIZER = ("-nodefaultlibs", "-lstdc++", "-lm", "-lc", "-lgcc_s")

# A kernel that has wide elements checks each address.
WIDE = "alignas("
ALIGNED = ("-fsanitize=alignment",)

PARAMETER_SPACE = 4096  # bytes of kernel parameters on older GPUs, such as compute capability 6.1

_NUMBERED = re.compile(r"(\w+?)((?:_\d+)?)")  # a parameter's name and the number of its part
_OF_EXPRESSION = re.compile(r"into\d+")  # what is added to, see `expressions`
_ADDRESS = re.compile(r"<address (\w+)>")
_CODE = re.compile(r"<code (\w+)>")
_DYNAMIC = re.compile(r"extern __shared__ ([\w ]+) (\w+)\[\];")


def compile_text(
    source: str,
    entries: Sequence[str],
    find_races: bool = FIND_RACES,
    architecture: int | None = None,
) -> dict[str, Launch]:
    """Compile kernels; return functions by name that launch them: (grid, block, arguments).

    They also take `order`, the order in which threads run (0 ascending, 1 descending, others
    shuffled), and `shared`, the bytes of dynamic shared memory. With an `architecture`, such as
    61, they run the PTX that NVRTC makes for it, instead of the text.
    """
    if architecture is not None:
        assembly = compile_source(source, f"compute_{architecture}").code
        source = ptx.to_cpp(assembly.rstrip(b"\0").decode())
    text = f'#line 1 "kernel"\n{source}'
    dynamic = "nullptr"
    for type_, name in _DYNAMIC.findall(source):
        text += f"\nthread_local {type_} {name}[cpu::DYNAMIC / sizeof({type_})];"
        dynamic = f"reinterpret_cast<char*>({name})"
    for number, entry in enumerate(entries):
        text += (
            f'\nextern "C" const char* launch_{number}(const unsigned* grid, const unsigned* block,'
            f" size_t shared, unsigned order, void** arguments) {{ return cpu::launch({entry}, grid"
            f", block, {{{dynamic}, shared}}, order, arguments); }}\n"
        )
    path = _compile_kernels(text, find_races)
    if find_races:
        _load_races()
    try:
        library = ctypes.CDLL(str(path))
    except OSError:  # a damaged file, which no later run should meet
        path.unlink()
        library = ctypes.CDLL(str(_compile_kernels(text, find_races)))
    return {
        entry: Launch(library, f"launch_{number}", entry, path)
        for number, entry in enumerate(entries)
    }


def compile_library(text: str) -> Path:
    """Compile C++ source to a library."""
    return _made(CACHE / f"{_name(text)}.so", _compile("-x", "c++", "-", source=text))


def _compile_kernels(text: str, find_races: bool) -> Path:
    """A library of kernels, and the code that runs them."""
    header = _host(find_races)
    options, linked = [*(OBSERVED if find_races else ())], [str(header.with_suffix(".o"))]
    how = header.parent.name
    if WIDE in text and not find_races:
        options += ALIGNED
        linked.append(str(_alignment()))
        how = f"{how} {_alignment().name}"
    if options:
        linked += WITHOUT_SANITIZER
    options += ["-include", str(header)]
    compiled = _compile(*options, "-x", "c++", "-", "-x", "none", *linked, source=text)
    return _made(CACHE / f"{_name(how, text)}.so", compiled)


@cache
def _alignment() -> Path:
    """What refuses a kernel that takes several elements at once where it must not."""
    source = HEADER.with_name("alignment.cpp")
    path = CACHE / f"{_name(HEADER.read_text(), source.read_text())}.o"
    return _made(path, _compile("-O2", "-c", str(source)))


class Launch:
    """Return a function that launches a kernel, see `compile_text`."""

    def __init__(self, library: ctypes.CDLL, symbol: str, entry: str, path: Path) -> None:
        self.function = getattr(library, symbol)
        self.function.restype = ctypes.c_char_p
        self.function.argtypes = [
            *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_void_p)
        ]
        self.entry = entry
        self.line = partial(_line, library=library, symbol=symbol, path=path)

    def __call__(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[Any],
        order: int = 0,
        shared: int = 0,
        names: Sequence[str] = (),
    ) -> None:
        self.bind(grid, block, arguments, names)(order, shared)

    def bind(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: Sequence[Any],
        names: Sequence[str] = (),
    ) -> Callable[..., None]:
        """Return a launch that can be called repeatedly: (order, shared)."""
        values = [np.asarray(a if np.isscalar(a) else a.ctypes.data) for a in arguments]
        required = _parameter_space(*(value.dtype for value in values))
        if required > PARAMETER_SPACE:  # in the words of NVIDIA's assembler
            raise RuntimeError(
                f"{self.entry}: Formal parameter space overflowed ({required} bytes required, "
                f"max {PARAMETER_SPACE} allowed)"
            )
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        kept = (_three(grid), _three(block)), pointers, values  # which the pointers refer to

        def launch(order: int = 0, shared: int = 0) -> None:
            error = self.function(*kept[0], shared, order, kept[1])
            if error:
                message = _ADDRESS.sub(
                    lambda found: _place(int(found[1], 16), arguments, names), error.decode()
                )
                message = _CODE.sub(lambda found: self.line(int(found[1], 16)), message)
                raise RuntimeError(f"{self.entry}, thread order {order}: {message}")

        return launch


@cache
def _parameter_space(*dtypes: np.dtype) -> int:
    """The size in bytes of parameters of these types, laid out like the members of a C structure
    without the padding at its end."""
    if not dtypes:
        return 0
    members = [(f"_{at}", np.ctypeslib.as_ctypes_type(each)) for at, each in enumerate(dtypes)]
    structure = type("Parameters", (ctypes.Structure,), {"_fields_": members})
    return getattr(structure, members[-1][0]).offset + dtypes[-1].itemsize


def _place(address: int, arguments: Sequence[Any], names: Sequence[str]) -> str:
    """Return which of a launch's arrays contains this byte of memory."""
    for number, array in enumerate(arguments):
        byte = -1 if np.isscalar(array) else address - array.ctypes.data
        if 0 <= byte < getattr(array, "nbytes", 0):
            return f"byte {byte} of {names[number] if names else f'argument {number}'}"
    return f"{address:#x}"


def _line(code: int, library: ctypes.CDLL, symbol: str, path: Path) -> str:
    """Return the position in the kernel's source that an instruction comes from."""
    symbols = subprocess.run(["nm", str(path)], capture_output=True, text=True, check=True).stdout
    offset = int(next(s for s in symbols.splitlines() if s.endswith(f" {symbol}")).split()[0], 16)
    start = ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value - offset
    command = ["addr2line", "-e", str(path), hex(code - start)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Path(found.split()[0]).name


def _three(size: Sequence[int]) -> Any:
    return (ctypes.c_uint * 3)(*size, *(1,) * (3 - len(size)))


def _made(path: Path, make: Callable[[Path], object]) -> Path:
    """Return ``path``; if it does not exist yet, one of the processes creates it with ``make``."""
    if not path.exists():
        import fcntl  # Windows has neither this nor what the header needs

        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                unfinished = path.with_suffix(f".{os.getpid()}")
                make(unfinished)
                unfinished.replace(path)
    return compiled_once.used(path)


def _compile(*options: str, source: str = "") -> Callable[[Path], object]:
    command = [*COMPILER, *options, "-o"]
    return lambda out: subprocess.run([*command, str(out)], input=source, text=True, check=True)


def _name(*sources: str) -> str:
    made_of = "\0".join((*COMPILER, _version(), *sources))
    return hashlib.sha256(made_of.encode()).hexdigest()[:24]


@cache
def _version() -> str:
    """The version of the compiler: the cache outlives it, and precompiled headers are of one."""
    return subprocess.run([COMPILER[0], "--version"], capture_output=True, text=True).stdout


@cache
def _host(find_races: bool) -> Path:
    """A copy of the header, with its precompiled form and the compiled kernel runner beside it."""
    sources = [HEADER.read_text(), HEADER.with_suffix(".cpp").read_text()]
    header = CACHE / _name(*sources, *(OBSERVED if find_races else ())) / HEADER.name
    _made(header, lambda out: out.write_text(sources[0]))
    observed, flags = (OBSERVED, ["-DFIND_RACES"]) if find_races else ((), [])
    _made(header.with_suffix(".h.gch"), _compile(*observed, "-x", "c++-header", str(header)))
    running = _compile(*flags, "-O2", "-c", str(HEADER.with_suffix(".cpp")))
    _made(header.with_suffix(".o"), running)
    return header


@cache
def _load_races() -> ctypes.CDLL:
    """The race detector: one library for all kernels, which find its functions by name."""
    path = CACHE / f"{_name(RACES.read_text())}.so"
    return ctypes.CDLL(str(_made(path, _compile("-O2", str(RACES)))), ctypes.RTLD_GLOBAL)


@cache
def compile_file(
    file: str, find_races: bool = FIND_RACES, architecture: int | None = None
) -> dict[str, Launch]:
    """Compile the kernels of a ``.cu`` file that single operations launch; return them by name."""
    kernels = every_kernel(file)
    text = kernel_source.source(file) + "".join(kernel.function for kernel in kernels)
    return compile_text(text, [kernel.name for kernel in kernels], find_races, architecture)


_TOGETHER: dict[Kernel, Launch] = {}
_MOST_TOGETHER = 50


def compile_together(kernels: Sequence[Kernel]) -> None:
    """Compile kernels before they are launched, many at a time: that is faster."""
    waiting = [kernel for kernel in dict.fromkeys(kernels) if kernel not in _TOGETHER]
    for start in range(0, len(waiting), _MOST_TOGETHER):
        some = waiting[start : start + _MOST_TOGETHER]
        files = dict.fromkeys(part_named(call.part).file for k in some for call in k.calls)
        text = kernel_source.source(*files) + "".join(kernel.function for kernel in some)
        launches = compile_text(text, [kernel.name for kernel in some])
        _TOGETHER.update((kernel, launches[kernel.name]) for kernel in some)


# Arrays that a kernel reads before it writes them. All others that are not const are undefined
# when a kernel begins, and so is `out` (or `dx`) unless it accumulates.
READ_FIRST = {
    "x", "into", "weights", "gradients", "slot_0", "slot_1", "slot_2", "counters", "arrivals",
    "barrier", "accumulated", "averages",
    "totals", "state", "whole", "found", "moving_mean", "moving_variance", "dgamma", "dbeta",
}  # fmt: skip


def _outputs(
    kernel: Kernel, passed: dict[str, Any], hidden: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """The arrays that this launch must fill, unless another argument, or an array whose parts are
    in a table, is the same memory."""
    named = {**dict(kernel.constants), **passed}
    # As plain NumPy arrays: NumPy functions are slow on arrays of the emulated GPU.
    arrays = {
        n: a.view(np.ndarray) for n, a in named.items() if isinstance(a, np.ndarray) and a.ndim
    }

    def read(parameter: KernelParameter) -> bool:
        name, number = _NUMBERED.fullmatch(parameter.name).groups()
        adds = "accumulate" if name == "out" else f"accumulate_{name}"
        accumulates = bool(named.get(f"{adds}{number}"))
        first = name in READ_FIRST or _OF_EXPRESSION.fullmatch(name) is not None
        return parameter.constant or accumulates or first

    def alone(name: str) -> bool:
        others = [*hidden, *(a for n, a in arrays.items() if n != name)]
        return not any(np.may_share_memory(arrays[name], a) for a in others)

    return [
        arrays[p.name]
        for p in kernel.parameters
        if p.name in arrays and not read(p) and alone(p.name)
    ]


def _general(kernel: Kernel, arguments: Sequence[Any]) -> list[Any]:
    """The arguments of the same kernel without constants: they are arguments."""
    passed = {p.name: a for p, a in zip(kernel.parameters, arguments, strict=True)}
    constants = dict(kernel.constants)

    def argument(parameter: KernelParameter) -> Any:
        if parameter.name in passed:
            return passed[parameter.name]
        value = constants[parameter.name]
        return NULL if value is None else np.array(value, dtype_named(parameter.type))[()]

    return [argument(parameter) for parameter in kernel.declared]


class HostKernels:
    """A kernel set for the CuPy backend that runs on the CPU.

    Args:
        orders: thread orders, see `compile_text`. With more than one, each launch is repeated
            in each order on copies of its arrays. It must stay within its arrays and give the
            same bits.
        replace: a piece of the kernels' source and its replacement, to check that tests notice
            the change.
        find_races: whether a launch fails in which blocks race, see ``host/races.cpp``.
        architecture: of the PTX to run, such as 61; None runs the text, compiled by g++.
        constants: whether a kernel's constants stand in its source, as on a GPU. Otherwise they
            are arguments of the same source, so that it is compiled once for all sizes. By
            default PTX has them.
    """

    blocks = 2  # of a grid-stride launch: few, since each of their threads is a fiber
    gpu = replace(GPUS[-1], name="emulated")

    def __init__(
        self,
        orders: Sequence[int] = (2,),
        replace: tuple[str, str] | None = None,
        find_races: bool = FIND_RACES,
        architecture: int | None = None,
        constants: bool | None = None,
    ) -> None:
        self.orders = orders
        self.replace = replace
        self.find_races = find_races
        self.architecture = architecture
        self.constants = architecture is not None if constants is None else constants
        self.launched: set[str] = set()

    @property
    def resident(self) -> int:
        return self.blocks

    def prepare(self, kernel: Kernel) -> Callable[..., None]:
        """Return the function that runs this kernel: f(grid, block, arguments)."""
        bind = self.bound(kernel)
        return lambda grid, block, arguments: bind(grid, block, arguments)()

    def bound(self, kernel: Kernel) -> Callable[..., Callable[[], None]]:
        """Return a function that makes a launch of this kernel, which can run repeatedly."""
        if kernel.constants and not self.constants and replace(kernel, constants=()).fits:
            bind = self.bound(replace(kernel, constants=()))
            return lambda grid, block, arguments: bind(grid, block, _general(kernel, arguments))
        name, text = kernel.name, kernel.text
        how = self.find_races, self.architecture
        if self.replace and self.replace[0] in text:
            run = compile_text(text.replace(*self.replace), [name], *how)[name]
        elif kernel in _TOGETHER and self.architecture is None and self.find_races == FIND_RACES:
            run = _TOGETHER[kernel]
        elif kernel in every_kernel(file := part_named(kernel.calls[0].part).file):
            run = compile_file(file, *how)[name]
        else:
            run = compile_text(text, [name], *how)[name]
        bind = partial(run.bind, names=[parameter.name for parameter in kernel.parameters])
        entries = {call.entry for call in kernel.calls}

        def launch_of(
            grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any]
        ) -> Callable[[], None]:
            if kernel.repeats and math.prod(grid) > self.resident:
                raise RuntimeError(f"{name}: the GPU cannot hold {math.prod(grid)} blocks at once")
            self.launched |= entries
            named = {p.name: a for p, a in zip(kernel.parameters, arguments, strict=True)}
            hidden = self.in_table(named["table"]) if "table" in named else []
            outputs = _outputs(kernel, named, hidden)
            once = bind(grid, block, arguments) if len(self.orders) == 1 else None

            def launch() -> None:
                for array in outputs:
                    poison(array)
                if once is not None:
                    once(self.orders[0])
                else:
                    self._in_all_orders(kernel, partial(bind, grid, block), named, hidden)

            return launch

        return launch_of

    def in_table(self, table: np.ndarray) -> list[np.ndarray]:
        """Return the arrays of the device that this kernel's table points into."""
        raise NotImplementedError

    def _in_all_orders(
        self,
        kernel: Kernel,
        bind: Callable[[Sequence[Any]], Callable[[int], None]],
        named: dict[str, Any],
        hidden: Sequence[np.ndarray],
    ) -> None:
        arrays = {name: a for name, a in named.items() if not np.isscalar(a)}
        table = arrays.pop("table", None)
        copies = Copies({**arrays, **{f"array {at} of table": a for at, a in enumerate(hidden)}})
        results = []
        for order in self.orders:
            memory = copies.original.copy()
            values = {**named, **{name: copies.array(memory, name) for name in arrays}}
            if table is not None:
                values["table"] = copies.moved(memory, table)
            bind(list(values.values()))(order)
            if array := copies.overrun_array(memory):
                where = f"{kernel.name}, thread order {order}"
                raise RuntimeError(f"{where}: writes outside of {array}")
            results.append(memory)
            for name in copies.arrays:
                if (copies.part(memory, name) != copies.part(results[0], name)).any():
                    raise RuntimeError(
                        f"{kernel.name}: {name} depends on the order of threads: "
                        f"order {order} gives other bits than order {self.orders[0]}"
                    )
        constant = {p.name for p in kernel.parameters if p.constant}
        copies.write_back(results[0], copies.arrays.keys() - constant)
