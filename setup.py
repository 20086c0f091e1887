"""The packages, and the compiled CPU kernels: a module for each instruction set, all optional.

What else there is to say of the package stands in ``pyproject.toml``. Without a compiler the
package installs as pure Python. ``GPUNN_BUILD`` names the instruction sets to build for. Without
it a wheel gets ``all``, since it may be installed anywhere, and a source tree the one that suits
this CPU; with ``none`` nothing is compiled. The compiler is ``CC`` and ``CXX``, as everywhere;
``CFLAGS`` and ``CXXFLAGS`` come last, so they win.
"""

import copy
import os
import platform
import re
import shlex
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

COMPILED = "gpunn.backends.compiled"
IN_PLACE = Path(*COMPILED.split("."))
KERNELS = Path("kernels")
FORMULAS = KERNELS / "cpu" / "formulas.hpp"
SOURCES = sorted(str(file) for file in KERNELS.glob("cpu/*.cpp"))
HEADERS = sorted(map(str, [*KERNELS.glob("formulas/*.cuh"), *KERNELS.glob("cpu/*.hpp")]))
FORMULA = re.compile(r"^(?:template <typename T> )?struct (\w+) : (\w+) \{", re.MULTILINE)
COMPILERS = ThreadPoolExecutor(min(os.cpu_count() or 1, 8))  # of all modules together

# No fast mathematics: the formulas mean what they say. What the two switches give up, the value
# of errno and of the flags of the arithmetic, nobody reads, and without them loops stay scalar.
# Multiplications and additions are not contracted, so that a formula gives the same bits on
# each instruction set.
UNIX = ["-O3", "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
UNIX += ["-fvisibility=hidden", "-g0"]
WINDOWS = ["/O2", "/std:c++17", "/fp:precise"]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]
INSTRUCTIONS = {"baseline": []}
# Not on Windows ("AMD64"), where the kernels do not find out what the CPU has.
if platform.machine() in ("x86_64", "amd64"):
    # Vectors of 8 bytes would be MMX, which leaves NumPy's long doubles without their registers.
    INSTRUCTIONS["baseline"] = ["-mno-mmx"]
    INSTRUCTIONS |= {"avx2": ["-mavx2", "-mfma"], "avx512": ["-mavx2", "-mfma", *AVX512]}


class BuildKernels(build_ext):
    """Renews the list of formulas, then compiles, as many files at once as cores."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or len(INSTRUCTIONS)  # threads that wait for compilers
        self.in_place = bool(self.inplace)  # as an editable installation too; run() resets it

    def build_extensions(self):
        if FORMULAS.read_text(encoding="utf-8") != (now := formulas()):
            FORMULAS.write_text(now, encoding="utf-8")
        windows = self.compiler.compiler_type == "msvc"
        own = shlex.split(" ".join(os.environ.get(name, "") for name in ("CFLAGS", "CXXFLAGS")))
        for extension in self.extensions:
            flags = UNIX + INSTRUCTIONS.get(extension.name.rpartition("_")[2], [])
            extension.extra_compile_args = [*(WINDOWS if windows else flags), *own]
            extension.extra_link_args = [] if windows else ["-pthread"]
        if self.in_place:
            self.remove_what_is_out_of_date()
        if self.in_place and not os.environ.get("GPUNN_BUILD"):
            self.build_what_suits_this_cpu()
        else:
            super().build_extensions()

    def remove_what_is_out_of_date(self):
        """Also what is not built now: better none than one of older kernels."""
        for extension in [chooser(), *map(kernels, INSTRUCTIONS)]:
            there = self.place_of(extension)
            if newer_group([*extension.sources, *extension.depends], str(there)):
                there.unlink(missing_ok=True)

    def build_what_suits_this_cpu(self):
        """The chooser and the module that it chooses, or the best one that can be compiled."""
        first, *modules = self.extensions
        self.extensions = [first]
        super().build_extensions()
        best = list(INSTRUCTIONS).index(self.choice_of(first))
        for module in reversed(modules[: best + 1]):
            self.extensions = [module]
            super().build_extensions()
            if Path(self.get_ext_fullpath(module.name)).exists():
                break
        self.extensions = [first, module]

    def choice_of(self, extension):
        """What the chooser says, in a process of its own: a sanitizer in CFLAGS may end that."""
        path = Path(self.get_ext_fullpath(extension.name))
        script = f"import sys; sys.path.insert(0, {str(path.parent)!r})\n"
        script += "import _kernels_chooser; print(_kernels_chooser.best())"
        asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        return asked.stdout.strip() or "baseline"

    def build_extension(self, extension):
        there = self.place_of(extension)
        if self.in_place and there.exists() and not self.force:  # and up to date, see above
            wanted = Path(self.get_ext_fullpath(extension.name))
            wanted.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(there), str(wanted))
            return
        alone = copy.copy(self)  # the modules are made of the same files, which get the same names
        alone.build_temp = str(Path(self.build_temp) / extension.name)
        alone.compiler = copy.copy(self.compiler)
        alone.compiler.compile = self.compile_together
        build_ext.build_extension(alone, extension)

    def place_of(self, extension):
        """Where a build in place leaves it."""
        return IN_PLACE / Path(self.get_ext_filename(extension.name)).name

    def compile_together(self, sources, **options):
        waiting = [COMPILERS.submit(self.compiler.compile, [s], **options) for s in sources]
        return [objects for done in waiting for objects in done.result()]


def formulas():
    """The text of kernels/cpu/formulas.hpp, from the structs in kernels/formulas."""
    found = {}
    for header in sorted(KERNELS.glob("formulas/*.cuh")):
        for name, kind in FORMULA.findall(header.read_text(encoding="utf-8")):
            found.setdefault(re.sub(r"(?<!^)(?=[A-Z])", "_", kind).upper(), []).append(name)
    text = [
        "// Every formula there is, by its kind: EACH_KIND(X) is X(Name) for each",
        "// `struct Name : Kind` in ../formulas/*.cuh. setup.py renews this file when it compiles.",
        "#pragma once",
    ]
    for kind, names in found.items():
        calls = " ".join(f"X({name})" for name in names)
        text += ["", f"#define EACH_{kind}(X) \\", *textwrap.wrap(calls, 90)]
    return "\n".join(text).replace(")\nX(", ") \\\nX(").replace("\nX(", "\n    X(") + "\n"


def chooser():
    """The module that says which of the others suits the CPU that it runs on."""
    return Extension(
        f"{COMPILED}._kernels_chooser",
        [str(KERNELS / "chooser.cpp")],
        depends=["setup.py"],
        language="c++",
        optional=True,
    )


def kernels(instructions):
    """The module of all kernels for an instruction set."""
    return Extension(
        f"{COMPILED}._kernels_{instructions}",
        SOURCES,
        include_dirs=[numpy.get_include()],
        define_macros=[("MODULE", f"_kernels_{instructions}")],
        depends=[*HEADERS, "setup.py"],
        language="c++",
        optional=True,
    )


def extensions():
    """What `GPUNN_BUILD` asks for, the chooser first; `BuildKernels` may build less in place."""
    asked = (os.environ.get("GPUNN_BUILD") or "all").replace(",", " ").split()
    if asked == ["none"]:
        return []
    names = list(INSTRUCTIONS) if asked == ["all"] else asked
    if unknown := set(names) - INSTRUCTIONS.keys():
        raise SystemExit(
            f"GPUNN_BUILD must be all, none, or some of {', '.join(INSTRUCTIONS)} here; "
            f"got {', '.join(sorted(unknown))}."
        )
    return [chooser(), *map(kernels, names)]


PACKAGES = [*find_packages(include=["gpunn", "gpunn.*"]), "gpunn.kernels"]
setup(packages=PACKAGES, ext_modules=extensions(), cmdclass={"build_ext": BuildKernels})
