"""`gpunn serve`: what it prints, its options, and how it ends."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import start
from served import Client

import gpunn
from gpunn.apps.cli import main

X = [[0.5, -1.5, 2.0], [1.0, 2.0, 3.0]]


@pytest.fixture(scope="module")
def model() -> Any:
    gpunn.utils.set_random_seed(3)
    return gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(4, "tanh")], backend="numpy")


@pytest.fixture
def path(model: Any, tmp_path: Path) -> Path:
    model.save(tmp_path / "model.gpunn")
    return tmp_path / "model.gpunn"


def started(*words: Any) -> tuple[subprocess.Popen[str], Client]:
    process: subprocess.Popen[str] = start("serve", *words, "--port", 0, "--backend", "numpy")
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"http://([\d.]+):(\d+) serves model\.\w+\n", line)
    assert found is not None, process.communicate()
    return process, Client("127.0.0.1", int(found[2]))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
@pytest.mark.parametrize(
    ("number", "ending"), [(signal.SIGTERM, ".gpunn"), (signal.SIGINT, ".keras")]
)
def test_a_signal_ends_it(number: signal.Signals, ending: str, model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / f"model{ending}")
    process, client = started(tmp_path / f"model{ending}")
    idle = client.connect()
    idle.request("GET", "/health")
    assert idle.getresponse().read()
    outputs = client.predict({"inputs": X})[1]["outputs"]
    assert outputs == model.predict(np.array(X), verbose=0).tolist()
    process.send_signal(number)
    printed = process.communicate(timeout=60)
    idle.close()
    assert (process.returncode, *printed) == (0, "", "gpunn: the server has ended.\n")


SIGNALS = list(itertools.product(("SIGINT", "SIGTERM"), repeat=2))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
@pytest.mark.parametrize(("first", "second"), SIGNALS)
def test_a_second_signal_ends_it_at_once(first: str, second: str, path: Path) -> None:
    process, client = started(path)
    slow = client.connect()
    slow.putrequest("POST", "/predict")
    slow.putheader("Content-Length", "9")
    slow.endheaders(b"{")  # the server waits for the other bytes, and so does its end
    while "gpunn_requests_in_flight 2\n" not in client.ask("GET", "/metrics")[1]:
        pass
    process.send_signal(getattr(signal, first))
    while not refuses(client):
        pass
    process.send_signal(getattr(signal, second))
    printed = process.communicate(timeout=20)  # the first request may take 30 seconds
    slow.close()
    assert (process.returncode, *printed) == (128 + getattr(signal, second), "", "")


def refuses(client: Client) -> bool:
    """Whether the server has stopped listening."""
    try:
        socket.create_connection(client.address).close()
    except ConnectionError:
        return True
    return False


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
def test_signals_in_quick_succession_print_no_traceback(path: Path) -> None:
    """As a supervisor sends them; in which order they arrive is the system's."""
    for _ in range(8):
        process, _ = started(path)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        printed = process.communicate(timeout=60)
        assert printed in [("", ""), ("", "gpunn: the server has ended.\n")]


@pytest.mark.parametrize(
    ("words", "seconds"), [([], 0.002), (["--batch-ms", "0"], 0), (["--batch-ms", "7.5"], 0.0075)]
)
def test_what_arrives_within_two_milliseconds_is_computed_together(
    words: list[str], seconds: float, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Any] = []

    def server(*args: Any) -> None:
        taken.extend(args)
        raise OSError("not listening")

    monkeypatch.setattr("gpunn.apps.serving.Server", server)
    assert main(["serve", str(path), *words]) == 1
    assert taken[3] == seconds


def test_it_warns_where_other_machines_may_come(path: Path) -> None:
    process, client = started(path, "--host", "0.0.0.0", "--batch-ms", "1", "--max-bytes", "20")
    assert client.send(f"GET /health HTTP/1.1\nHost: {socket.gethostname()}")[0] == 200
    assert client.predict({"inputs": X})[0] == 413
    process.terminate()
    _, complained = process.communicate(timeout=60)
    warning, end = complained.splitlines()
    assert "http://0.0.0.0:" in warning and "passwords" in warning and "ended" in end


def test_a_port_that_is_taken(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", str(path), "--port", port]) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"gpunn: error: cannot listen on 127.0.0.1, port {port}: ")
    assert "--port" in complaint and len(complaint.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--port=70000", "a whole number from 0 to 65535"), ("--port=8e3", "a whole number"),
        ("--batch-ms=-1", "a number from 0 to 1000"), ("--batch-ms=nan", "a number from 0"),
        ("--timeout=0", "a number from 0.1 to 3600"), ("--queue=0", "at least 1"),
        ("--max-bytes=0", "at least 1"), ("--prot=1", "Did you mean '--port'?"),
    ],
)  # fmt: skip
def test_wrong_options(
    option: str, expected: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(path), option]) == 2
    assert expected in capsys.readouterr().err


def test_a_host_that_is_unknown(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(path), "--host", "[::1]"]) == 1
    complaint = capsys.readouterr().err
    assert "cannot listen on [::1]" in complaint and "as --host" in complaint


@pytest.mark.filterwarnings("ignore:.* is saved without weights")
@pytest.mark.parametrize(
    "command", [["serve"], ["predict", "x.npy"], ["export", "model.onnx"]]
)
def test_a_model_without_weights(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpunn.Sequential([gpunn.layers.Dense(1)]).save(tmp_path / "model.gpunn")
    np.save(tmp_path / "x.npy", np.ones((2, 3)))
    name, *others = command
    assert main([name, str(tmp_path / "model.gpunn"), *(str(tmp_path / f) for f in others)]) == 1
    (complaint,) = capsys.readouterr().err.splitlines()
    assert "before it was built" in complaint


def test_a_file_that_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.gpunn").write_text("no model")
    assert main(["serve", str(tmp_path / "model.gpunn")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
