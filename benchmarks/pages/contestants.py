"""Contestants on a page: gpunn's engine, TensorFlow.js, and the well-known playground's code."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gpunn.apps.web
from benchmarks import ROOT
from gpunn.apps.web.parts import parts
from gpunn.apps.web.playground import playground_page

MODULE = Path(gpunn.apps.web.__file__).parent / "gpunn.wasm"
PACKAGES = {"@tensorflow/tfjs": "4.22.0", "@tensorflow/tfjs-backend-wasm": "4.22.0"}
FOLDER = ROOT / "runs" / "pages"  # where they are installed
REFERENCE = "gpunn"
NETWORK_CODE = "the well-known playground's network code"


class Contestant(NamedTuple):
    """A script in this folder, its arguments and the files that its page loads."""

    script: str
    given: dict[str, Any]
    files: Mapping[str, Path] = {}  # by their path in the page's address
    before: tuple[str, ...] = ()  # which of these are scripts of the page
    isolated: bool = False  # whether the page may have threads


def contestants(network_code: Path | None) -> tuple[dict[str, Contestant], dict[str, str]]:
    """Return the available contestants by name, and why others are absent.

    Args:
        network_code: an ES module with the names of ``src/nn.ts`` of tensorflow/playground.
    """
    wasm = base64.b64encode(MODULE.read_bytes()).decode()
    there = {REFERENCE: Contestant("gpunn.js", {"wasm": wasm, "parts": parts()})}
    absent = {}
    if why_not := installed():
        absent["TensorFlow.js"] = why_not
    else:
        there |= {
            "TensorFlow.js, wasm": tensorflow("wasm"),
            "TensorFlow.js, wasm with threads": tensorflow("wasm", isolated=True),
            "TensorFlow.js, cpu": tensorflow("cpu"),
        }
    if network_code is None:
        absent[NETWORK_CODE] = "--network-code was not given"
    else:
        files = {"/nn.js": network_code}
        there[NETWORK_CODE] = Contestant("network_code.js", {"address": "/nn.js"}, files)
    return there, absent


def installed() -> str | None:
    """Install TensorFlow.js if it is missing; return the reason of a failure, if any."""
    if all(_version(package) == version for package, version in PACKAGES.items()):
        return None
    npm = shutil.which("npm")
    if npm is None:
        return "there is no npm"
    FOLDER.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--no-save", "--no-package-lock", "--ignore-scripts", "--prefix"]
    command += [str(FOLDER), *(f"{package}@{version}" for package, version in PACKAGES.items())]
    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER)
    return f"npm ended with status {done.returncode}" if done.returncode else None


def tensorflow(backend: str, *, isolated: bool = False) -> Contestant:
    scripts, binaries = _parts_of_tensorflow()
    files = {f"/{path.name}": path for path in scripts}
    return Contestant(
        "tensorflow.js", {"backend": backend, "wasm": "/wasm/"},
        files | {f"/wasm/{path.name}": path for path in binaries}, tuple(files), isolated,
    )  # fmt: skip


def sizes() -> dict[str, list[int]]:
    """Return the bytes that pages contain or load, plain and compressed by gzip."""
    found = {
        "gpunn's playground, the whole page": _size([playground_page().encode()]),
        "gpunn.wasm": _size([MODULE.read_bytes()]),
    }
    if _version("@tensorflow/tfjs"):
        scripts, binaries = _parts_of_tensorflow()
        loaded = [path for path in binaries if path.stem.endswith("wasm-simd")]
        for what, paths in (
            ("TensorFlow.js: `tf.es2017.min.js`", scripts[:1]),
            ("TensorFlow.js: that, the script of the wasm backend and its SIMD module",
             [*scripts, *loaded]),
        ):  # fmt: skip
            found[what] = _size(path.read_bytes() for path in paths)
    return found


def _parts_of_tensorflow() -> tuple[list[Path], list[Path]]:
    """Return its scripts, in order, and the WebAssembly files from which the second one chooses."""
    core, wasm = (FOLDER / "node_modules" / package / "dist" for package in PACKAGES)
    scripts = [core / "tf.es2017.min.js", wasm / "tf-backend-wasm.es2017.min.js"]
    return scripts, sorted(wasm.glob("*.wasm"))


def _size(contents: Iterable[bytes]) -> list[int]:
    each = [(len(content), len(gzip.compress(content, 9))) for content in contents]
    return [sum(numbers) for numbers in zip(*each, strict=True)]


def _version(package: str) -> str | None:
    try:
        text = (FOLDER / "node_modules" / package / "package.json").read_text("utf-8")
    except OSError:
        return None
    return str(json.loads(text)["version"])
