"""Compile the kernels for browsers, gpunn/apps/web/gpunn.wasm: `make web`.

The compiler comes from the package ``ziglang``, in the version that pyproject.toml pins, so
that the same sources give the same bytes on each machine. The hashes of the sources are written
beside the module.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zig

ROOT = Path(__file__).parents[1]
MODULE = Path("gpunn/apps/web/gpunn.wasm")
HASHES = Path("gpunn/apps/web/gpunn.wasm.sha256")

# The Python extension module and its threads do not exist in pages. Layers take less space there
# as steps of an expression, attention as products and expressions.
LEFT_OUT = ("module.cpp", "arguments.hpp", "narrow.cpp", "narrow.hpp", "pool.cpp")
LEFT_OUT += ("generated_loops.cpp", "attention.cpp", "objects.hpp", "lanes.cpp", "lanes.hpp")
LEFT_OUT += ("lane_arrays.hpp", "lane_batches.hpp", "lane_operations.hpp", "lane_programs.hpp")
LEFT_OUT += ("rare_gathers.cpp",)
# As for the CPU in setup.py: no fast math, no contraction.
FLAGS = ["-target", "wasm32-wasi", "-msimd128", "-std=c++17", "-DFOR_BROWSERS"]
FLAGS += ["-fno-exceptions", "-fno-rtti", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-ffp-contract=off", "-fvisibility=hidden", "-g0", "-w"]
# Code that takes little of a step's time is optimized for size, to keep pages small.
SMALL = ("expressions.cpp", "losses.cpp", "metrics.cpp", "pooling.cpp", "rows.cpp")
LINK = ["-target", "wasm32-wasi", "-O3", "-mexec-model=reactor", "-Wl,--strip-all"]


def sources() -> list[Path]:
    """Return the sources of the module, relative to the root."""
    folders = {"formulas": "*.cuh", "cpu": "*.[ch]pp", "web": "*.[ch]pp"}
    found = [path for name, of in folders.items() for path in (ROOT / "kernels" / name).glob(of)]
    return sorted(path.relative_to(ROOT) for path in found if path.name not in LEFT_OUT)


def hashes() -> str:
    """Return a line for each source and for the module, as `sha256sum --check` reads them."""
    found = [*sources(), MODULE]
    digests = (hashlib.sha256((ROOT / path).read_bytes()).hexdigest() for path in found)
    return "".join(f"{d}  {path.as_posix()}\n" for d, path in zip(digests, found, strict=True))


def build(target: Path) -> None:
    """Write the module to ``target``."""
    with tempfile.TemporaryDirectory() as folder:
        command, variables = zig.compiler(Path(folder))

        def run(*arguments: str) -> None:
            subprocess.run(
                [*shlex.split(command), *arguments], cwd=ROOT, check=True,
                env=os.environ | variables,
            )  # fmt: skip

        objects: list[str] = []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            waiting = []
            for source in (path for path in sources() if path.suffix == ".cpp"):
                objects.append(str(Path(folder, f"{len(objects):02}_{source.stem}.o")))
                level = "-Os" if source.name in SMALL else "-O3"
                options = (*FLAGS, level, "-c", str(source), "-o", objects[-1])
                waiting.append(pool.submit(run, *options))
            for done in waiting:
                done.result()
        run(*LINK, *objects, "-o", str(target.resolve()))


def main() -> None:
    build(ROOT / MODULE)
    (ROOT / MODULE).chmod(0o644)
    (ROOT / HASHES).write_text(hashes(), encoding="utf-8")
    print(f"{MODULE}: {(ROOT / MODULE).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
