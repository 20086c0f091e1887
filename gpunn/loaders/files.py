"""Files from the web, checked and kept, and archives unpacked into a folder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from gpunn.common.cache import cache_folder
from gpunn.datasets.dataset import DatasetUnavailable
from gpunn.datasets.keras_files import digest_of
from gpunn.datasets.routes import FAILURES, download, is_offline

if TYPE_CHECKING:
    import tarfile
    import zipfile

SCHEMES = ("http", "https", "ftp", "file")
MAX_BYTES = 64 << 30  # of a download
MAX_SECONDS = 4 * 3600.0
MAX_MEMBERS = 4_000_000  # of an archive
MOST_UNPACKED = 1 << 30, 200  # bytes of an archive's content: these, or so many times its own size


def get_file(
    fname: str | os.PathLike[str] | None = None, origin: str | None = None, untar: bool = False,
    md5_hash: str | None = None, file_hash: str | None = None, cache_subdir: str = "datasets",
    hash_algorithm: str = "auto", extract: bool = False, archive_format: Any = "auto",
    cache_dir: str | os.PathLike[str] | None = None, force_download: bool = False,
) -> str:
    """Download a file unless it is there already, and unpack it if it is an archive.

    The file appears when it is complete and has the given hash; so does the folder of an archive.
    Of archives, only files and folders inside are written: a link, a device or a path that leads
    out is refused, and so is a content of more than 1 GB and 200 times the archive.
    ``GPUNN_OFFLINE=1`` prevents downloads.

    Args:
        fname: Name of the file, without a folder; by default the last part of the address.
        origin: The address, of http, https, ftp or file.
        untar, md5_hash: Older forms of ``extract`` and ``file_hash``.
        file_hash: Expected SHA-256 or MD5, as hexadecimal digits.
        cache_subdir: Folder inside the cache folder, or an absolute path.
        hash_algorithm: "auto", "sha256" or "md5".
        extract: Whether to unpack an archive.
        archive_format: "auto", "tar" (also compressed), "zip", or a list of them.
        cache_dir: The cache folder; by default Keras's, ``KERAS_HOME`` or ``~/.keras``.
        force_download: Whether to download even if the file is there.

    Returns:
        The path of the file, or of the folder of the archive's content, named as in Keras.

    Raises:
        FileNotFoundError: if the file can be neither found nor downloaded, saying where to put it.
        ValueError: for a wrong hash, an unusable archive or an unusable argument.

    >>> import pathlib, tempfile
    >>> from gpunn.utils import get_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source = pathlib.Path(folder, "a.txt")
    ...     _ = source.write_text("hello")
    ...     path = get_file(origin=source.as_uri(), cache_dir=folder)
    ...     pathlib.Path(path).read_text(), pathlib.Path(path).parent.name
    ('hello', 'datasets')
    """
    import urllib.parse

    address = urllib.parse.urlsplit(origin or "")
    if origin is None or address.scheme not in SCHEMES:
        raise ValueError(f"origin must be an address of {', '.join(SCHEMES)}; got {origin!r}.")
    given = None if fname is None else os.fspath(fname)
    name = given or PurePosixPath(urllib.parse.unquote(address.path)).name
    if not name or name in (".", "..") or any(c in name for c in ("/", "\\", "\0")):
        raise ValueError(f"fname must be the name of a file, without a folder; got {name!r}.")
    digest = (file_hash or md5_hash or "").lower()
    kind = {32: "md5", 64: "sha256"}.get(len(digest) or 64)
    known = ("auto", kind) if file_hash else ("auto", "md5", "sha256")
    if kind is None or hash_algorithm not in known:
        raise ValueError(
            f"file_hash must have 64 hexadecimal digits for hash_algorithm='sha256', or 32 for "
            f"'md5'; got {digest!r} for {hash_algorithm!r}."
        )
    folder = _folder(cache_dir) / cache_subdir
    unpacks, target = extract or untar, folder / name
    unpacked = folder / name
    if unpacks:  # the names that Keras gives
        if given and "." in given:
            unpacked = folder / f"{given.partition('.')[0]}_extracted"
        else:
            target = folder / f"{name}_archive"
    there = target.is_file() and not force_download
    if there and digest and digest_of(target, kind) != digest:
        print(f"{target} has another {kind.upper()} than expected.", file=sys.stderr)
        there = False
    if not there:
        _fetch(origin, target, kind, digest)
    if unpacks and not (there and unpacked.is_dir()):
        _unpack(target, unpacked, ["tar"] if untar else archive_format)
    return str(unpacked if unpacks else target)


def _folder(given: str | os.PathLike[str] | None) -> Path:
    home = Path(given or os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
    return home if os.access(home, os.W_OK) else cache_folder()


def _fetch(origin: str, target: Path, kind: str, digest: str) -> None:
    """Download ``origin`` to ``target``, which appears when it is complete."""
    import tempfile

    hint = f"To fix it, put the file from {origin} at {target}."
    if is_offline():
        raise DatasetUnavailable(f"{origin}: not tried, GPUNN_OFFLINE is set. {hint}")
    print(f"fetching {origin} ...", file=sys.stderr, flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as scratch:
        made = Path(scratch, "file")
        try:
            download(origin, made, MAX_BYTES, MAX_SECONDS, _tell)
        except FAILURES as error:
            reason = error or type(error).__name__
            raise DatasetUnavailable(f"{origin}: {reason}. {hint}") from error
        found = digest_of(made, kind) if digest else ""
        if found != digest:
            raise ValueError(
                f"{origin}: a file whose {kind.upper()} is {digest} was expected; got {found}. It "
                f"was not kept."
            )
        made.replace(target)


def _tell(size: int) -> None:
    print(f"  {size / 1e6:,.0f} MB", file=sys.stderr, flush=True)


def _unpack(archive: Path, folder: Path, formats: Any) -> None:
    """Unpack an archive into ``folder``, which appears, or is replaced, when it is complete."""
    import tarfile
    import tempfile
    import zipfile

    formats = ("tar", "zip") if formats == "auto" else formats or ()
    wanted = [formats] if isinstance(formats, str) else [*formats]
    if unknown := {*wanted} - {"tar", "zip"}:
        raise ValueError(f"archive_format must be 'auto', 'tar' or 'zip'; got {sorted(unknown)}.")
    most = max(MOST_UNPACKED[0], MOST_UNPACKED[1] * archive.stat().st_size)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as scratch:
        made = Path(scratch, "content")
        made.mkdir()
        try:
            if "tar" in wanted and tarfile.is_tarfile(archive):
                with tarfile.open(archive) as tar:
                    _write(archive, made, most, _of_tar(archive, tar))
            elif "zip" in wanted and zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as packed:
                    _write(archive, made, most, _of_zip(packed))
            else:
                raise ValueError(f"{archive} is no archive of {wanted}: it cannot be unpacked.")
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, *FAILURES, RuntimeError) as error:
            raise ValueError(f"{archive} cannot be unpacked: {error}") from error
        if folder.exists():
            folder.replace(Path(scratch, "before"))
        made.replace(folder)


Member = tuple[str, int, IO[bytes] | None]  # name, size, and content; None of a folder


def _of_tar(archive: Path, tar: tarfile.TarFile) -> Iterator[Member]:
    for entry in tar:
        if not (entry.isreg() or entry.isdir()):
            raise ValueError(f"{archive}: {entry.name} is a link or a device: refused.")
        yield entry.name, entry.size, tar.extractfile(entry)


def _of_zip(packed: zipfile.ZipFile) -> Iterator[Member]:
    for entry in packed.infolist():
        if entry.is_dir():
            yield entry.filename, 0, None
        else:
            with packed.open(entry) as content:
                yield entry.filename, entry.file_size, content


def _write(archive: Path, folder: Path, most: int, members: Iterator[Member]) -> None:
    """Write the members of an archive, after checking each one's path and size."""
    import shutil

    total = 0
    for number, (name, size, content) in enumerate(members):
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or name.startswith(("/", "\\")) or any(c in name for c in ":\0"):
            raise ValueError(f"{archive}: {name!r} leads out of the folder: refused.")
        total += size
        if total > most or number >= MAX_MEMBERS:
            raise ValueError(
                f"{archive}: its content is larger than {most:,} bytes, or more than "
                f"{MAX_MEMBERS:,} files: refused."
            )
        target = folder.joinpath(*parts)
        if content is None:
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
