"""`get_file`: downloads from a server on this machine, hashes, and hostile archives."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpunn.datasets import DatasetUnavailable
from gpunn.loaders import files
from gpunn.utils import get_file

CONTENT = b"a file" * 1000
SHA, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GPUNN_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))


@pytest.fixture
def server() -> Iterator[Any]:
    """Serve ``files``, by path; record what was asked for, and claim ``longer`` bytes more."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            body = served.files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + served.longer))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None: ...

    served: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.files, served.asked, served.longer = {"/a/data.txt": CONTENT}, [], 0
    served.url = f"http://127.0.0.1:{served.server_port}"
    thread = threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def test_a_file_is_downloaded_once(server: Any, tmp_path: Path) -> None:
    url = f"{server.url}/a/data.txt?version=3"
    server.files["/a/data.txt?version=3"] = CONTENT
    for _ in range(2):
        path = get_file(origin=url)
        assert path == str(tmp_path / "home" / "datasets" / "data.txt")
        assert Path(path).read_bytes() == CONTENT
    assert len(server.asked) == 1
    get_file("other.txt", url, cache_dir=tmp_path, cache_subdir="sub")
    assert (tmp_path / "sub" / "other.txt").read_bytes() == CONTENT
    get_file(origin=url, force_download=True)
    assert len(server.asked) == 3
    assert get_file(origin=url, cache_subdir=str(tmp_path / "own")).startswith(
        str(tmp_path / "own")
    )


@pytest.mark.parametrize(
    "given",
    [
        {"file_hash": SHA}, {"file_hash": MD5}, {"md5_hash": MD5.upper()},
        {"file_hash": SHA, "hash_algorithm": "sha256"}, {"md5_hash": MD5, "hash_algorithm": "md5"},
    ],
)  # fmt: skip
def test_hashes(server: Any, tmp_path: Path, given: dict[str, str]) -> None:
    url = f"{server.url}/a/data.txt"
    path = Path(get_file(origin=url, **given))
    path.write_bytes(b"changed")
    assert Path(get_file(origin=url, **given)).read_bytes() == CONTENT and len(server.asked) == 2
    server.files["/a/data.txt"] = b"something else"
    with pytest.raises(ValueError, match="was expected; got"):
        get_file(origin=url, force_download=True, **given)
    assert path.read_bytes() == CONTENT and [*path.parent.iterdir()] == [path]


def test_what_fails_leaves_nothing(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "datasets"
    with pytest.raises(DatasetUnavailable, match=r"404.*put the file from .* at .*none.txt"):
        get_file(origin=f"{server.url}/none.txt")
    server.longer = 10
    with pytest.raises(DatasetUnavailable, match="broke off after 6000 of 6010 bytes"):
        get_file(origin=f"{server.url}/a/data.txt")
    server.longer = 0
    monkeypatch.setattr(files, "MAX_BYTES", 100)
    with pytest.raises(DatasetUnavailable, match="at most 100 bytes"):
        get_file(origin=f"{server.url}/a/data.txt")
    assert [*home.iterdir()] == []
    monkeypatch.setenv("GPUNN_OFFLINE", "1")
    with pytest.raises(DatasetUnavailable, match=r"GPUNN_OFFLINE is set. To fix it, put the file"):
        get_file(origin=f"{server.url}/a/data.txt")
    (home / "data.txt").write_bytes(CONTENT)
    assert get_file(origin=f"{server.url}/a/data.txt", file_hash=SHA) == str(home / "data.txt")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"origin": None}, "origin must be an address"),
        ({"origin": "data.txt"}, "origin must be an address"),
        ({"origin": "data:text/plain,x"}, "origin must be an address"),
        ({"origin": "http://127.0.0.1/"}, "name of a file"),
        ({"origin": "http://127.0.0.1/a/.."}, "name of a file"),
        ({"origin": "http://127.0.0.1/..%2Fx%5Cy"}, "name of a file"),
        ({"fname": "../x"}, "without a folder"),
        ({"fname": "/etc/x"}, "without a folder"),
        ({"file_hash": "abc"}, "64 hexadecimal digits"),
        ({"file_hash": SHA, "hash_algorithm": "md5"}, "64 hexadecimal digits"),
        ({"file_hash": SHA, "hash_algorithm": "sha1"}, "64 hexadecimal digits"),
    ],
)
def test_unusable_arguments_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        get_file(**({"origin": "http://127.0.0.1:1/x.txt"} | given))


def tar_of(*entries: Any, mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as made:  # type: ignore[call-overload]
        for entry in entries:
            name, body = entry if isinstance(entry, tuple) else (entry, b"")
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(body)
            made.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def zip_of(*entries: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, body in entries:
            made.writestr(name, body)
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def of_bytes(content: bytes, tmp_path: Path, name: str = "data.tar.gz", **given: Any) -> Path:
    (tmp_path / "served").mkdir(exist_ok=True)
    (tmp_path / "served" / name).write_bytes(content)
    uri = (tmp_path / "served" / name).as_uri()
    return Path(get_file(origin=uri, cache_dir=tmp_path / "home", **({"extract": True} | given)))


ENTRIES = (("data/cats/1.txt", b"one"), ("data/2.txt", b"two"))


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize("fname", [None, "pets", "pets.tgz"])
def test_archives_are_unpacked_to_keras_names(
    keras: Any, make: Callable[..., bytes], fname: str | None, tmp_path: Path
) -> None:
    given = {} if fname is None else {"fname": fname}
    found = of_bytes(make(*ENTRIES), tmp_path, **given)
    assert (found / "data" / "cats" / "1.txt").read_bytes() == b"one"
    assert (found / "data" / "2.txt").read_bytes() == b"two"
    uri = (tmp_path / "served" / "data.tar.gz").as_uri()
    (tmp_path / "keras").mkdir()
    theirs = keras.utils.get_file(fname, uri, extract=True, cache_dir=tmp_path / "keras")
    assert found.relative_to(tmp_path / "home") == Path(theirs).relative_to(tmp_path / "keras")
    names = [sorted(p.relative_to(root).as_posix() for p in root.rglob("*")) for root in (
        tmp_path / "home", tmp_path / "keras")]  # fmt: skip
    assert names[0] == names[1]
    (found / "kept").write_text("")
    assert of_bytes(b"not read again", tmp_path, **given) == found and (found / "kept").exists()
    again = of_bytes(make(("new.txt", b"")), tmp_path, force_download=True, **given)
    assert [path.name for path in again.iterdir()] == ["new.txt"]


HOSTILE: dict[str, bytes] = {
    "tar: up": tar_of(("../out.txt", b"x")),
    "tar: up inside": tar_of(("a/../../out.txt", b"x")),
    "tar: absolute": tar_of(("/tmp/out.txt", b"x")),
    "tar: backslashes": tar_of(("..\\out.txt", b"x")),
    "tar: symbolic link": tar_of(special("a", tarfile.SYMTYPE, "/etc"), ("a/out.txt", b"x")),
    "tar: hard link": tar_of(special("a", tarfile.LNKTYPE, "/etc/passwd")),
    "tar: device": tar_of(special("a", tarfile.CHRTYPE)),
    "tar: pipe": tar_of(special("a", tarfile.FIFOTYPE)),
    "tar: truncated": tar_of(("a.txt", bytes(range(256)) * 900))[:-60],
    "tar: a folder where a file is": tar_of(("a", b"x"), ("a/b", b"x")),
    "zip: up": zip_of(("../out.txt", b"x")),
    "zip: absolute": zip_of(("/tmp/out.txt", b"x")),
    "zip: drive": zip_of(("C:/out.txt", b"x")),
    "zip: changed": zip_of(("a.txt", b"xyz" * 500)).replace(b"a.txt", b"b.txt", 1),
    "neither": b"no archive",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused_and_write_nothing(case: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"refused|cannot be unpacked"):
        of_bytes(HOSTILE[case], tmp_path)
    written = {p.name for p in tmp_path.rglob("*") if p.is_file() or p.is_symlink()}
    assert written == {"data.tar.gz", "data.tar.gz_archive"}


@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_bombs_are_refused(
    make: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_UNPACKED", (10_000, 2))
    with pytest.raises(ValueError, match="larger than 10,000 bytes"):
        of_bytes(make(*[(f"{n}.txt", bytes(6000)) for n in range(2)]), tmp_path)
    monkeypatch.setattr(files, "MAX_MEMBERS", 1)
    with pytest.raises(ValueError, match="more than 1 files"):
        of_bytes(make(("1", b""), ("2", b"")), tmp_path, fname="two")


def test_only_the_given_formats_are_unpacked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no archive of"):
        of_bytes(zip_of(*ENTRIES), tmp_path, archive_format="tar")
    with pytest.raises(ValueError, match="archive_format must be"):
        of_bytes(zip_of(*ENTRIES), tmp_path, archive_format="rar")
    assert of_bytes(zip_of(*ENTRIES), tmp_path, archive_format=["zip"]).is_dir()
    assert of_bytes(tar_of(*ENTRIES, mode="w:xz"), tmp_path, fname="x", untar=True).is_dir()
    path = of_bytes(b"plain", tmp_path, fname="plain", extract=False)
    assert path.read_bytes() == b"plain"
