"""Test small data files that expand, text in other encodings, and slow-dripping servers."""

import gzip
import io
import struct
import threading
import zipfile
import zlib

import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.apps.cli import main
from gpunn.datasets import idx, mnist, routes
from gpunn.datasets.arrays import read_npy, read_npz
from gpunn.datasets.idx import DataFileError
from gpunn.datasets.tables import read_rows


def refused(capsys, *arguments):
    """Return the error message of a failing command, with status 1 and no traceback."""
    assert main([str(argument) for argument in arguments]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("gpunn: error: ")
    return last


# -- files of arrays


def npz(path, headers, bodies=()):
    """An .npz file of members with these headers, and that many zeros, or these bodies."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (shape, dtype) in headers.items():
            head = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                head, {"descr": dtype, "fortran_order": False, "shape": shape}
            )
            with archive.open(f"{name}.npy", "w") as member:
                member.write(head.getvalue())
                left = int(np.prod(shape)) * np.dtype(dtype).itemsize if not bodies else 0
                while left > 0:
                    left -= member.write(bytes(min(left, 1 << 22)))
    return path


@pytest.fixture(scope="module")
def bomb(tmp_path_factory):
    """1.2 GB of zeros in a few megabytes."""
    path = tmp_path_factory.mktemp("bomb") / "bomb.npz"
    return npz(path, {"x": ((150_000, 1000), "<f8"), "y": ((10,), "<i8")})


@pytest.mark.more
def test_an_npz_that_grows_is_refused_before_it_does(bomb, peak):
    def read():
        with pytest.raises(DataFileError, match=r"bomb\.npz: .* would become 1,200,000,080, .*"
                           r"pass max_bytes=1200000080"):  # fmt: skip
            read_npz(bomb)

    assert bomb.stat().st_size < 3e6
    assert peak(read) < 1e6
    assert list(read_npz(bomb, ["y", "z"])) == ["y"]


@pytest.mark.in_turn(2)
def test_the_command_names_its_argument(bomb, capsys):
    message = refused(capsys, "check-data", bomb)
    assert "bomb.npz" in message and "--max-bytes 1200000080" in message


def test_the_bound_of_an_npz_can_be_moved(tmp_path, capsys):
    path = npz(tmp_path / "a.npz", {"x": ((40, 30), "<f8"), "y": ((40,), "<i8")})
    assert read_npz(path)["x"].shape == (40, 30)
    size = 40 * 30 * 8 + 40 * 8
    assert set(read_npz(path, max_bytes=size)) == {"x", "y"}
    with pytest.raises(DataFileError, match=r"more than max_bytes \(9,919\)"):
        read_npz(path, max_bytes=size - 1)
    assert "a.npz" in refused(capsys, "check-data", path, "--max-bytes", size - 1)


@pytest.mark.parametrize("name", ["mnist.npz", "any.npz"])
def test_a_bomb_in_the_format_of_a_data_set_is_refused_by_its_header(tmp_path, name, peak):
    keys = ("x_train", "y_train", "x_test", "y_test")
    path = npz(tmp_path / name, {key: ((40_000, 1000), "|u1") for key in keys})

    def read():
        with pytest.raises(DataFileError, match=r"npz: x_train: expected uint8 \(60000, 28, 28\)"):
            mnist.load_data(path)

    assert peak(read) < 5e6


@pytest.mark.parametrize("shape", [(10**12,), (5, 10**9), (2**40, 2**40)])
def test_an_array_is_as_large_as_it_says(tmp_path, shape):
    path = npz(tmp_path / "a.npz", {"x": (shape, "<f8")}, bodies=[b""])
    with pytest.raises(DataFileError, match=r"a\.npz .*needs [\d,]+ bytes, it has \d+"):
        read_npz(path)
    with zipfile.ZipFile(path) as archive:
        (tmp_path / "a.npy").write_bytes(archive.read("x.npy"))
    with pytest.raises(DataFileError, match=r"a\.npy .*needs [\d,]+ bytes, it has \d+"):
        read_npy(tmp_path / "a.npy")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no zip", "no array", "objects"])
def test_a_damaged_npz_is_named(tmp_path, damage, capsys):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=(50, 3)), y=np.arange(50))
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[len(data) // 3] ^= 255
    elif damage == "no zip":
        data = b"PK\3\4" + b"nothing"
    elif damage == "no array":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", "text")
        data = path.read_bytes()
    else:
        np.savez(path, x=np.array([{}, {}]))
        data = path.read_bytes()
    path.write_bytes(data)
    with pytest.raises(DataFileError, match=r"a\.npz"):
        read_npz(path)
    assert "a.npz" in refused(capsys, "check-data", path)


def test_an_idx_file_that_grows_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a-idx1-ubyte.gz"
    content = struct.pack(">4BI", 0, 0, 8, 1, 1 << 20) + bytes(1 << 20)
    path.write_bytes(gzip.compress(content))
    assert idx.read(path).size == 1 << 20
    monkeypatch.setattr(idx, "MAX_UNPACKED", 1 << 16)
    with pytest.raises(DataFileError, match=r"ubyte\.gz: .* would become 1,048,576, more than"):
        idx.read(path)
    assert idx.read(path, max_bytes=1 << 20).size == 1 << 20
    plain = tmp_path / "a-idx1-ubyte"
    plain.write_bytes(content)
    assert idx.read(plain).size == 1 << 20  # it takes no more memory than its file


# -- images


def png(path, width, height):
    """A black image that compresses well."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + width // 8)) for _ in range(height)) + packer.flush()
    head = struct.pack(">2I5B", width, height, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.gpunn"
    model = gpunn.Sequential([gpunn.Input((8, 8)), layers.Flatten(), layers.Dense(3, "softmax")])
    model.save(path)
    return path


@pytest.mark.parametrize("side", [8_000, 40_000])  # Pillow itself rejects the second
def test_an_image_that_grows_is_refused_before_it_does(tmp_path, classifier, capsys, side, peak):
    path = png(tmp_path / "bomb.png", side, side)
    assert path.stat().st_size < 250_000
    found = []
    assert peak(lambda: found.append(refused(capsys, "predict", classifier, path))) < 5e6
    assert f"bomb.png is an image of {side:,} x {side:,} pixels" in found[0]
    assert "--max-pixels is 25,000,000" in found[0]


def test_the_bound_of_an_image_can_be_moved(tmp_path, classifier, capsys):
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    path = png(tmp_path / "seven.png", 80, 80)
    assert main(["predict", str(classifier), str(path), "--max-pixels", "6400"]) == 0
    capsys.readouterr()
    message = refused(capsys, "predict", classifier, path, "--max-pixels", 6399)
    assert "80 x 80 pixels, but --max-pixels is 6,399" in message
    assert before == Image.MAX_IMAGE_PIXELS


# -- tables


TABLES = {
    "long field": (b'a,b\n1,"' + b"x" * 200_000 + b'"\n', "field larger than field limit"),
    "open quote": (b'a,b\n1,"2\n' + b"3,4\n" * 50_000, "Is a quotation mark missing"),
    "latin-1": ("größe,klasse\n1,2\n".encode("latin-1"), r"not valid UTF-8 \(byte 0xf6 at 2\)"),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "encoded in UTF-16: save it as UTF-8"),
    "utf-16 big": (b"\xfe\xff" + "a,b\n1,2\n".encode("utf-16-be"), "encoded in UTF-16"),
    "utf-16 unmarked": ("a,b\n1,2\n".encode("utf-16-le"), "NUL characters"),
    "binary": (bytes(range(256)), "not valid UTF-8"),
}
GUESSED = {  # by the command line, which reports it
    "latin-1": "read as Windows-1252", "utf-16": "read as UTF-16",
    "utf-16 big": "read as UTF-16",
    "utf-16 unmarked": "read as UTF-16, guessed from its zero bytes",
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_what_is_no_table_is_named(tmp_path, capsys, name):
    content, reason = TABLES[name]
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=rf"table\.csv(.|\n)*{reason}"):
        read_rows(path)
    if name in GUESSED:
        main(["check-data", str(path), "--target", "1"])
        assert f"table.csv: {GUESSED[name]}" in capsys.readouterr().err
    else:
        assert "table.csv" in refused(capsys, "check-data", path)


def test_a_history_in_another_encoding_is_named(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "log.csv"
    path.write_bytes("epoch,loss\n0,1\n".encode("utf-16"))
    with pytest.raises(DataFileError, match=r"log\.csv is encoded in UTF-16"):
        gpunn.plots.history(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_read(tmp_path, encoding, end):
    path = tmp_path / "table.csv"
    path.write_bytes(end.join(["größe;b", '1,5;"x', 'y"', "", "2;z"]).encode(encoding))
    assert read_rows(path) == [["größe", "b"], ["1,5", f"x{end}y"], ["2", "z"]]


# -- downloads


@pytest.mark.parametrize("chunked", [False, True])
def test_a_download_that_drips_ends_at_its_deadline(tmp_path, monkeypatch, chunked):
    """Each byte arrives within the socket's timeout, but the chunk's head never ends."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", "1000000")
            self.end_headers()
            for _ in range(200):
                if over.wait(0.02):
                    return
                self.wfile.write(b"0")
                self.wfile.flush()

        def log_message(self, *args):
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(routes, "DOWNLOAD_SECONDS", 0.3)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *args: None
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        with pytest.raises(TimeoutError, match=r"/drip: not finished after 0\.3 s"):
            routes.download(f"http://127.0.0.1:{server.server_port}/drip", tmp_path / "got")
    finally:
        over.set()
        server.shutdown()
        server.server_close()
