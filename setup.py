"""The packages, and the compiled CPU kernels: a module for each instruction set, all optional.

What else there is to say of the package stands in ``pyproject.toml``. Without a compiler the
package installs as pure Python, and keeps what the compiler said for `gpunn doctor`.
``GPUNN_BUILD`` names the instruction sets to build for: one that cannot be built is an error then.
With ``all`` each one is built that can be, for a wheel that is installed anywhere; with ``none``
nothing is compiled. Without it a source tree gets the one that suits this CPU, and a wheel, such
as ``pip install .`` builds, that one and the baseline. The compiler is ``CC`` and
``CXX``, as everywhere; ``CFLAGS`` and ``CXXFLAGS`` come last, so they win.
"""

import copy
import json
import os
import shlex
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy
from setuptools import Extension, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.editable_wheel import editable_wheel
from setuptools.errors import BaseError, CCompilerError
from setuptools.modified import newer_group

COMPILED = "gpunn.backends.compiled"
IN_PLACE = Path(*COMPILED.split("."))
KERNELS = Path("kernels")
SOURCES = sorted(str(file) for file in KERNELS.glob("cpu/*.cpp"))
HEADERS = sorted(map(str, [*KERNELS.glob("formulas/*.cuh"), *KERNELS.glob("cpu/*.hpp")]))
NOT_BUILT = "not_built.json"  # which could not be compiled, and what the compiler said
COMPILERS = ThreadPoolExecutor(min(os.cpu_count() or 1, 8))  # of all modules together

# No fast mathematics: the formulas mean what they say. What the two switches give up, the value
# of errno and of the flags of the arithmetic, nobody reads, and without them loops stay scalar.
# Multiplications and additions are not contracted, so that a formula gives the same bits on
# each instruction set.
UNIX = ["-O3", "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
UNIX += ["-fvisibility=hidden", "-g0"]
WINDOWS = ["/O2", "/std:c++17", "/fp:precise"]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]


def is_for_x86():
    """Whether the compiler compiles for x86-64, whatever machine this is; without a compiler, what
    Python says. Not on Windows, where the kernels do not find out what the CPU has."""
    if os.name == "nt":
        return False
    named = [os.environ.get("CXX"), os.environ.get("CC"), sysconfig.get_config_var("CXX"), "c++"]
    own = [os.environ.get(flags, "") for flags in ("CFLAGS", "CXXFLAGS")]
    command = shlex.split(" ".join([next(filter(None, named)), *own]))
    try:
        asked = subprocess.run(
            [*command, "-E", "-dM", "-x", "c++", os.devnull], capture_output=True, text=True
        )
    except OSError:
        asked = None
    if asked is None or asked.returncode or "#define" not in asked.stdout:
        return sysconfig.get_platform().endswith(("x86_64", "amd64"))
    return "#define __x86_64__ " in asked.stdout


# From Python 3.12 on, modules that use Python's stable interface only serve all later versions. A
# Python without the GIL has no such interface.
STABLE = sys.implementation.name == "cpython" and sys.version_info >= (3, 12)
STABLE = STABLE and not sysconfig.get_config_var("Py_GIL_DISABLED")
INTERFACE = [("Py_LIMITED_API", "0x030c0000")] if STABLE else []

INSTRUCTIONS = {"baseline": []}
if is_for_x86():
    # Vectors of 8 bytes would be MMX, which leaves NumPy's long doubles without their registers.
    INSTRUCTIONS["baseline"] = ["-mno-mmx"]
    INSTRUCTIONS |= {"avx2": ["-mavx2", "-mfma"], "avx512": ["-mavx2", "-mfma", *AVX512]}


class BuildKernels(build_ext):
    """Compiles as many files at once as there are cores."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or len(INSTRUCTIONS)  # threads that wait for compilers
        self.in_place = bool(self.inplace)  # as an editable installation too; run() resets it
        self.not_built = {}

    def run(self):
        super().run()
        there = (IN_PLACE if self.in_place else Path(self.build_lib) / IN_PLACE) / NOT_BUILT
        there.unlink(missing_ok=True)
        if self.not_built:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_text(json.dumps(self.not_built, indent=1) + "\n", encoding="utf-8")

    def build_extensions(self):
        windows = self.compiler.compiler_type == "msvc"
        own = shlex.split(" ".join(os.environ.get(name, "") for name in ("CFLAGS", "CXXFLAGS")))
        for extension in self.extensions:
            flags = UNIX + INSTRUCTIONS.get(extension.name.rpartition("_")[2], [])
            extension.extra_compile_args = [*(WINDOWS if windows else flags), *own]
            extension.extra_link_args = [] if windows else ["-pthread"]
        if self.in_place:
            self.remove_what_is_out_of_date()
        if not os.environ.get("GPUNN_BUILD"):
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
        """The chooser and the module that it chooses, or the best one that can be compiled; in a
        wheel, which may be moved to another CPU, also the baseline."""
        first, *modules = self.extensions
        self.extensions = [first]
        super().build_extensions()
        best = list(INSTRUCTIONS).index(self.choice_of(first))
        built = [first]
        for module in reversed(modules[: best + 1]):
            beside = [] if self.in_place or len(built) > 1 else modules[: min(best, 1)]
            self.extensions = [*beside, module]
            super().build_extensions()
            built += [each for each in self.extensions if each not in built]
            if Path(self.get_ext_fullpath(module.name)).exists():
                break
        self.extensions = built

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
        name = extension.name.rpartition("_kernels_")[2]
        try:
            build_ext.build_extension(alone, extension)
        except (BaseError, CCompilerError) as error:
            output = words_of_the_compiler(error)
            if not extension.optional:
                raise type(error)(f"GPUNN_BUILD asks for {asked()!r}. {name}: {output}") from error
            self.not_built[name] = output
            raise

    def place_of(self, extension):
        """Where a build in place leaves it."""
        return IN_PLACE / Path(self.get_ext_filename(extension.name)).name

    def compile_together(self, sources, **options):
        begin = partial(COMPILERS.submit, self.compiler.compile, **options)
        large_first = sorted(sources, key=os.path.getsize, reverse=True)
        waiting = {source: begin([source]) for source in large_first}  # no core waits at the end
        try:
            return [objects for source in sources for objects in waiting[source].result()]
        finally:
            for one in waiting.values():  # where one has failed, the others are not begun
                one.cancel()


def words_of_the_compiler(error):
    """What a compiler says that failed: it is run again, for setuptools only shows its words."""
    cause = error
    while cause is not None and not isinstance(cause, subprocess.CalledProcessError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return str(error)
    again = subprocess.run(
        cause.cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    lines = again.stdout.splitlines()[:20]
    return "\n".join([*lines, f"{cause.cmd[0]} ended with exit status {cause.returncode}"])


class Wheel(bdist_wheel):
    """Named after what is in it: one without compiled kernels fits each Python and system."""

    def run(self):
        if self.distribution.has_ext_modules():
            self.run_command("build_ext")
            build = self.get_finalized_command("build_ext")
            if not any(map(os.path.exists, build.get_outputs())):
                self.distribution.ext_modules = []
                self.root_is_pure = True
        super().run()


class EditableWheel(editable_wheel):
    """An editable installation that a folder named gpunn does not hide.

    Python takes any folder for a package of its name where nothing else is found in the folders
    that it searches, and asks what an editable installation answers after that. So in the folder
    that holds a clone, `import gpunn` would give an empty package.
    """

    def _select_strategy(self, *args):
        return BeforeFolders(super()._select_strategy(*args))


class BeforeFolders:
    """What a strategy of setuptools puts into the wheel, and a module that is asked first."""

    MODULE = "__editable___gpunn_before_folders"

    def __init__(self, strategy):
        self.strategy = strategy

    def __enter__(self):
        self.strategy.__enter__()
        return self

    def __exit__(self, *error):
        return self.strategy.__exit__(*error)

    def __call__(self, wheel, *args):
        self.strategy(wheel, *args)
        source = Path("gpunn", "__init__.py").resolve()
        wheel.writestr(f"{self.MODULE}.py", BEFORE_FOLDERS.format(source=str(source)))
        wheel.writestr("__editable__.gpunn_before_folders.pth", f"import {self.MODULE}\n")


BEFORE_FOLDERS = '''"""gpunn of a source tree, where a folder of that name would hide it."""

import sys
from importlib.machinery import PathFinder
from importlib.util import spec_from_file_location

SOURCE = {source!r}


class BeforeFolders:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "gpunn":
            return None
        found = PathFinder.find_spec(name, path, target)
        if found is None or found.origin is not None:
            return None
        return spec_from_file_location(name, SOURCE)  # what was found has no __init__.py


sys.meta_path.insert(0, BeforeFolders)
'''


def chooser():
    """The module that says which of the others suits the CPU that it runs on."""
    return Extension(
        f"{COMPILED}._kernels_chooser",
        [str(KERNELS / "chooser.cpp")],
        define_macros=INTERFACE,
        py_limited_api=STABLE,
        depends=["setup.py"],
        language="c++",
        optional=asked() == "all",
    )


def kernels(instructions):
    """The module of all kernels for an instruction set."""
    return Extension(
        f"{COMPILED}._kernels_{instructions}",
        SOURCES,
        include_dirs=[numpy.get_include()],
        define_macros=[("MODULE", f"_kernels_{instructions}"), *INTERFACE],
        py_limited_api=STABLE,
        depends=[*HEADERS, "setup.py"],
        language="c++",
        optional=asked() == "all",
    )


def asked():
    """What `GPUNN_BUILD` asks for."""
    return " ".join((os.environ.get("GPUNN_BUILD") or "all").replace(",", " ").split())


def extensions():
    """What `GPUNN_BUILD` asks for, the chooser first; `BuildKernels` may build less in place."""
    if asked() == "none":
        return []
    names = list(INSTRUCTIONS) if asked() == "all" else asked().split()
    if unknown := set(names) - INSTRUCTIONS.keys():
        raise SystemExit(
            f"GPUNN_BUILD must be all, none, or some of {', '.join(INSTRUCTIONS)} here; "
            f"got {', '.join(sorted(unknown))}."
        )
    return [chooser(), *map(kernels, names)]


PACKAGES = [*find_packages(include=["gpunn", "gpunn.*"]), "gpunn.kernels"]
COMMANDS = {
    "bdist_wheel": Wheel,
    "build_ext": BuildKernels,
    "editable_wheel": EditableWheel,
}
OPTIONS = {"bdist_wheel": {"py_limited_api": "cp312"}} if STABLE else {}
setup(packages=PACKAGES, ext_modules=extensions(), cmdclass=COMMANDS, options=OPTIONS)
