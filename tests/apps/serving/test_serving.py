"""`gpunn.apps.serving` over real sockets: the bits of `predict`, limits, and what is refused."""

from __future__ import annotations

import json
import re
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from served import Client, Held, answer_on, serving

import gpunn
from gpunn.apps.serving import Limits, Server

CLIENTS, REQUESTS = 8, 25
GOOD = json.dumps({"inputs": [[0.5, -1.5, 2.0]]})


def network() -> Any:
    gpunn.utils.set_random_seed(3)
    model = gpunn.Sequential(
        [gpunn.Input((3,)), gpunn.layers.Dense(16, "relu"), gpunn.layers.Dense(2)]
    )
    # Large weights, so that an output can overflow.
    model.set_weights([8 * weights for weights in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def model() -> Any:
    return network()


@pytest.fixture(scope="module")
def running(model: Any) -> Iterator[Client]:
    with serving(model, limits=Limits(body=1_000_000)) as client:
        yield client


def ask_all(client: Client, model: Any, check: Any) -> None:
    """Ask by several clients at once, each several times on one connection."""
    together = threading.Barrier(CLIENTS)

    def one(number: int) -> None:
        random = np.random.default_rng(number)
        together.wait(60)
        with closing(client.connect()) as connection:
            for _ in range(REQUESTS):
                x = random.normal(size=(random.integers(1, 6), 3)).astype(np.float32)
                connection.request("POST", "/predict", json.dumps({"inputs": x.tolist()}))
                answer = connection.getresponse()
                outputs = np.array(json.loads(answer.read())["outputs"])
                assert answer.status == 200 and outputs.shape == (len(x), 2)
                check(outputs, model.predict(x, verbose=0).astype(np.float64))

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(one, range(CLIENTS)))


def test_many_clients_get_the_bits_of_predict(running: Client, model: Any) -> None:
    ask_all(running, model, np.testing.assert_array_equal)


def wide() -> Any:
    return gpunn.Sequential(
        [gpunn.Input((3,)), gpunn.layers.Dense(300, "tanh"), gpunn.layers.Dense(2)]
    )


def of_sequences() -> Any:
    layers = gpunn.layers
    return gpunn.Sequential(
        [gpunn.Input((3,)), layers.Reshape((3, 1)), layers.GRU(65), layers.Dense(2)]
    )


@pytest.mark.parametrize("make", [wide, of_sequences])
def test_requests_computed_together_get_the_bits_of_predict(make: Any, backend: str) -> None:
    gpunn.use_backend(backend)
    model = make()
    with serving(model, gather=0.002) as client:
        ask_all(client, model, np.testing.assert_array_equal)


def test_requests_that_arrive_together_are_one_predict(model: Any) -> None:
    counted = Counted(model)
    with serving(counted, gather=0.05) as client, ThreadPoolExecutor(CLIENTS) as pool:
        for _ in range(100):  # the first time, unless the machine is very busy
            begun = len(counted.sizes)
            rows = [1 + k % 2 for k in range(CLIENTS)]
            bodies = [{"inputs": [[k, 1, 2]] * n} for k, n in enumerate(rows)]
            found = list(pool.map(client.predict, bodies))
            assert [len(document["outputs"]) for _, document in found] == rows
            assert sum(counted.sizes[begun:]) == sum(rows)
            if len(counted.sizes) - begun < CLIENTS:
                return
    raise AssertionError("no requests were computed together")


class Counted(Held):
    """A model that counts the rows of its predictions."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.sizes: list[int] = []

    def predict(self, x: Any, **kwargs: Any) -> Any:
        self.sizes.append(len(x))
        return self.model.predict(x, **kwargs)


def test_one_wrong_request_spoils_no_other() -> None:
    inputs = gpunn.Input((1,), dtype="int32")
    model = gpunn.Model(inputs, gpunn.layers.Embedding(5, 2)(inputs))
    expected = model.predict(np.array([[4]]), verbose=0).tolist()
    with serving(model, gather=0.02) as client, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(client.predict, [{"inputs": [[4]]}, {"inputs": [[9]]}] * 2))
    for status, document in found[::2]:
        assert (status, document) == (200, {"outputs": expected})
    for status, document in found[1::2]:
        assert status == 422 and "whole numbers from 0 to 4" in document["error"]


def test_a_model_that_refuses_unknown_texts_also_the_empty_one() -> None:
    inputs = gpunn.Input((1,), dtype="string")
    one_hot = gpunn.layers.StringLookup(
        vocabulary=["elm", "oak"], num_oov_indices=0, output_mode="one_hot"
    )
    with serving(gpunn.Model(inputs, one_hot(inputs))) as client:
        status, found = client.predict({"inputs": ["oak", "elm"]})
        assert (status, found) == (200, {"outputs": [[0, 1], [1, 0]]})
        status, found = client.predict({"inputs": ["fir"]})
        assert status == 422 and "'fir'" in found["error"]


def test_it_says_what_it_takes(running: Client) -> None:
    status, found, _ = running.ask("GET", "/")
    inputs, outputs = found["inputs"].values(), found["outputs"].values()
    assert status == 200 and [*inputs] == [{"shape": [3], "dtype": "float32"}]
    assert [*outputs] == [{"shape": [2], "dtype": "float32"}]
    assert running.ask("GET", "/health")[:2] == (200, {"status": "ok"})
    assert running.ask("GET", "/health?verbose=1")[0] == 200
    with closing(running.connect()) as connection:
        connection.request("HEAD", "/health")
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read() == b""


def test_a_whole_number_of_any_length_is_a_number(running: Client) -> None:
    """As JavaScript writes 1e20."""
    _, expected = running.predict({"inputs": [[1e20, 2.0, -1e20]]})
    assert "outputs" in expected
    assert running.predict({"inputs": [[10**20, 2, -(10**20)]]}) == (200, expected)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"inputs": [[1, 2', "not JSON"),
        ("", "empty"),
        (b'{"inputs": [[1, 2, \xff]]}', "not UTF-8"),
        ("[" * 100_000, "not JSON"),
        ('{"inputs": ' + "[" * 200 + "]" * 200 + "}", "shape [3]"),
        ("[[1, 2, 3]]", "a list; an object is expected"),
        ('{"inputs": [[1, 2, 3]], "more": 1}', 'the body must be {"inputs"'),
        ('{"inputs": [[1, 2, 3]], "inputs": [[4, 5, 6]]}', "'inputs' stands twice"),
        ("{" + "".join(f'"{k}":1,' for k in range(100_000)) + '"7":1}', "'7' stands twice"),
        ("{}", 'the body must be {"inputs"'),
        ('{"rows": [[1, 2, 3]]}', 'the body must be {"inputs"'),
        ('{"pictures": []}', 'the body must be {"inputs"'),
        ('{"inputs": []}', "no row"),
        ('{"inputs": [[]]}', "shape [3]"),
        ('{"inputs": [1, 2, 3]}', "shape [3]"),
        ('{"inputs": 1}', "shape [3]"),
        ('{"inputs": null}', "shape [3]"),
        ('{"inputs": {"x": [[1, 2, 3]]}}', "inputs has 'x'"),
        ('{"inputs": [[1, 2]]}', "shape [3]"),
        ('{"inputs": [[1, 2, 3], [1, 2]]}', "shape [3]"),
        ('{"inputs": [[[1, 2, 3]]]}', "shape [3]"),
        ('{"inputs": [[1, 2, "3"]]}', "of numbers"),
        ('{"inputs": [[1, 2, null]]}', "of numbers"),
        ('{"inputs": [[true, false, true]]}', "of numbers"),
        ('{"inputs": [[1, 2, 3], [true, 2.5, 3]]}', "of numbers"),
        ('{"inputs": [[1, 2, {}]]}', "of numbers"),
        ('{"inputs": [[1, 2, NaN]]}', "NaN is not a finite number"),
        ('{"inputs": [[1, 2, -Infinity]]}', "-Infinity is not a finite number"),
        ('{"inputs": [[1, 2, 1e39]]}', "beyond float32"),
        ('{"inputs": [[1, 2, 1e400]]}', "beyond float32"),
        (f'{{"inputs": [[1, 2, {10**40}]]}}', "beyond float32"),
        (f'{{"inputs": [[1, {10**20}, "3"]]}}', "of numbers"),
        (f'{{"inputs": [[true, 2, {10**20}]]}}', "of numbers"),
        ('{"inputs": [[1, 2, 1' + "0" * 400 + "]]}", "of numbers"),
        ('{"inputs": [[1, 2, 1' + "0" * 5000 + "]]}", "not JSON"),
    ],
)
def test_wrong_bodies(running: Client, body: str | bytes, reason: str) -> None:
    status, document, headers = running.ask("POST", "/predict", body)
    assert status == 400 and reason in document["error"]
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("", 200), ("application/json; charset=utf-8", 200), ("Application/JSON", 200),
        ("application/x-www-form-urlencoded", 200),  # of curl -d
        ("text/csv", 415), ("application/octet-stream", 415), ("image/png", 415),
    ],
)  # fmt: skip
def test_content_types(running: Client, kind: str, status: int) -> None:
    assert running.ask("POST", "/predict", GOOD, kind)[0] == status


def test_a_body_may_have_a_million_bytes_and_no_more(running: Client) -> None:
    assert running.ask("POST", "/predict", GOOD.ljust(1_000_000))[0] == 200
    for size in (1_000_001, 3_000_000):
        status, document, _ = running.ask("POST", "/predict", GOOD.ljust(size))
        assert status == 413 and "1,000,000 bytes" in document["error"]
    # The length alone decides: of this body, nothing is sent.
    for length in (10**15, 10**40):
        assert running.send(f"POST /predict HTTP/1.1\nContent-Length: {length}")[0] == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Host: localhost", 411),
        ("Transfer-Encoding: chunked", 411),
        (f"Transfer-Encoding: chunked\nContent-Length: {len(GOOD)}", 411),
        ("Content-Length: many", 400),
        ("Content-Length: -1", 400),
        ("Content-Length: 1e3", 400),
        ("Content-Length: ²", 400),
        ("Content-Length: 1\nContent-Length: 2", 400),
        (f"Content-Length:  {len(GOOD)}  ", 200),
        (f"Content-Length: {len(GOOD)}", 200),
    ],
)
def test_lengths(running: Client, headers: str, status: int) -> None:
    got, document = running.send(f"POST /predict HTTP/1.1\n{headers}", GOOD.encode())
    assert got == status and ("error" in document) == (status != 200)


def test_other_sites_that_name_this_machine_are_refused(running: Client) -> None:
    head = "POST /predict HTTP/1.1\nContent-Length: {}\nHost: {}"
    for host, status in (
        ("evil.example", 403), ("evil.example:80", 403), ("localhost:1", 200), ("[::1]:80", 200),
        ("localhost\nHost: evil.example", 403),
    ):  # fmt: skip
        assert running.send(head.format(len(GOOD), host), GOOD.encode())[0] == status


def test_a_server_on_another_address_of_the_loopback(model: Any) -> None:
    head = f"POST /predict HTTP/1.1\nContent-Length: {len(GOOD)}\nHost: "
    with serving(model, host="127.0.0.2") as client:
        for host, status in (("127.0.0.2:80", 200), ("localhost", 200), ("evil.example", 403)):
            assert client.send(head + host, GOOD.encode())[0] == status


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST /predict HTTP/1.1\nContent-Length: 1000001", 413),
        ("POST /elsewhere HTTP/1.1\nContent-Length: 9", 404),
        ("POST /predict HTTP/1.1\nTransfer-Encoding: chunked", 411),
        ("POST /predict HTTP/1.1\nContent-Length: 9\nHost: evil.example", 403),
    ],
)
def test_a_client_that_asks_before_it_sends_is_refused_at_once(
    running: Client, head: str, status: int
) -> None:
    lines = *head.split("\n"), "Expect: 100-continue", "", ""
    with socket.create_connection(running.address, timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode())
        said = f"HTTP/1.1 {status} "  # and not 100
        assert connection.recv(len(said), socket.MSG_WAITALL).decode() == said


def test_a_client_that_asks_before_it_sends_is_told_to(running: Client) -> None:
    head = f"POST /predict HTTP/1.1\r\nContent-Length: {len(GOOD)}\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(running.address, timeout=60) as connection:
        connection.sendall(head.encode())
        said = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert connection.recv(len(said), socket.MSG_WAITALL) == said
        connection.sendall(GOOD.encode())
        assert answer_on(connection)[0] == 200


def test_a_body_that_ends_early(running: Client) -> None:
    with socket.create_connection(running.address, timeout=60) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: 50\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        assert answer_on(connection)[0] == 400


def test_paths_and_methods(running: Client) -> None:
    assert running.ask("POST", "/elsewhere", GOOD)[0] == 404
    assert running.ask("GET", "/../../etc/passwd")[0] == 404
    for method, path, allowed in (
        ("GET", "/predict", "POST"), ("POST", "/health", "GET"), ("DELETE", "/predict", "POST"),
        ("PUT", "/", "GET"),
    ):  # fmt: skip
        status, document, headers = running.ask(method, path)
        assert status == 405 and headers["Allow"] == allowed and document["error"]
    assert running.ask("GET", "/health", "a body")[0] == 400


def test_clients_that_go_early_do_no_harm(running: Client) -> None:
    for sent in (
        b"",
        b"no HTTP\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Le",
        b"POST /predict HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n",
        f"POST /predict HTTP/1.1\r\nContent-Length: {len(GOOD)}\r\n\r\n{GOOD}".encode(),
    ):
        with socket.create_connection(running.address, timeout=60) as connection:
            # Closing resets the connection.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(sent)
    assert running.ask("POST", "/predict", GOOD)[0] == 200


def test_slow_clients_are_not_waited_for(model: Any) -> None:
    with serving(model, limits=Limits(seconds=0.2)) as client:
        with socket.create_connection(client.address, timeout=60) as idle:
            assert idle.recv(1) == b""
        with socket.create_connection(client.address, timeout=60) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: ")  # and no more
            assert connection.recv(1) == b""
        with socket.create_connection(client.address, timeout=60) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")
            connection.settimeout(0.02)
            for _ in range(10_000):  # a byte now and then
                try:
                    status, _ = answer_on(connection)
                except TimeoutError:
                    connection.sendall(b"[")
                else:
                    break
            assert status == 408
        assert client.ask("POST", "/predict", GOOD)[0] == 200


def test_requests_beyond_the_queue_are_refused_at_once(model: Any) -> None:
    held = Held(model)
    held.go.set()  # for the first prediction, by which the model is prepared
    with serving(held, limits=Limits(queue=2)) as client, ThreadPoolExecutor(2) as pool:
        assert held.begun.acquire(timeout=60)
        held.go.clear()
        first = [pool.submit(client.ask, "POST", "/predict", GOOD) for _ in range(2)]
        for _ in first:
            assert held.begun.acquire(timeout=60)
        status, document, headers = client.ask("POST", "/predict", GOOD)
        assert status == 503 and headers["Retry-After"] == "1" and "waiting" in document["error"]
        assert client.ask("GET", "/health")[0] == 200
        held.go.set()
        assert [one.result()[0] for one in first] == [200, 200]
        assert client.ask("POST", "/predict", GOOD)[0] == 200


def test_connections_beyond_the_limit_are_refused(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpunn.apps.serving.server.CONNECTIONS", 2)
    with serving(model) as client, closing(client.connect()) as a, closing(client.connect()) as b:
        for connection in (a, b):
            connection.request("GET", "/health")
            assert connection.getresponse().read()
        with socket.create_connection(client.address, timeout=60) as third:
            status, document = answer_on(third)
            assert status == 503 and "connections" in document["error"]


def test_a_connection_without_a_thread_keeps_no_place(
    model: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gpunn.apps.serving.server.CONNECTIONS", 1)
    begin = socketserver.ThreadingMixIn.process_request

    def no_thread(*_: Any) -> None:
        monkeypatch.setattr(socketserver.ThreadingMixIn, "process_request", begin)
        raise RuntimeError("can't start new thread")

    with serving(model) as client:
        monkeypatch.setattr(socketserver.ThreadingMixIn, "process_request", no_thread)
        with socket.create_connection(client.address, timeout=60) as refused:
            assert refused.recv(1) == b""
        assert client.ask("GET", "/health")[0] == 200
    assert "can't start new thread" in capsys.readouterr().err


def test_it_ends_after_the_answers_that_it_is_computing(model: Any) -> None:
    held = Held(model)
    held.go.set()
    with Server(held) as server, ThreadPoolExecutor(1) as pool:
        assert held.begun.acquire(timeout=60)
        held.go.clear()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        client = Client(*server.server_address[:2])
        asked = pool.submit(client.ask, "POST", "/predict", GOOD)
        assert held.begun.acquire(timeout=60)
        server.shutdown()
        thread.join()
        closing_thread = threading.Thread(target=server.server_close)
        closing_thread.start()
        closing_thread.join(0.05)
        assert closing_thread.is_alive() and not asked.done()
        held.go.set()
        status, _, headers = asked.result(60)
        assert (status, headers["Connection"]) == (200, "close")
        closing_thread.join(60)
        assert not closing_thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        client.ask("GET", "/health")


def test_an_output_that_is_not_finite_is_refused(running: Client) -> None:
    status, document = running.predict({"inputs": [[3e38, 3e38, 3e38]]})
    assert status == 422 and "output" in document["error"]


def test_a_failure_is_told_to_the_terminal_and_not_to_the_client(
    model: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    class Failing(Held):
        def predict(self, x: Any, **kwargs: Any) -> Any:
            if (np.asarray(x) == 7).all():
                raise RuntimeError(f"cannot read {__file__}")
            return self.model.predict(x, **kwargs)

    with serving(Failing(model)) as client:
        status, document = client.predict({"inputs": [[7, 7, 7]]})
        assert (status, document) == (500, {"error": "the server failed"})
        assert "cannot read" in capfd.readouterr().err
        assert client.predict({"inputs": [[7, 7, 8]]})[0] == 200


def test_metrics_are_what_was_asked(model: Any) -> None:
    with serving(model) as client:
        for body in (GOOD, json.dumps({"inputs": [[1, 2, 3]] * 4}), "{"):
            client.ask("POST", "/predict", body)
        client.ask("GET", '/"x"')
        status, text, headers = client.ask("GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    # The grammar of a line: https://prometheus.io/docs/instrumenting/exposition_formats/
    label = r'[a-z_]+="[^"\\\n]*"'
    line = rf"# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{{{label}(,{label})*\}})? [\d.e+-]+"
    assert text.endswith("\n") and all(re.fullmatch(line, one) for one in text.splitlines())
    found = dict(one.rsplit(" ", 1) for one in text.splitlines() if one[0] != "#")
    assert found['gpunn_requests_total{path="/predict",status="200"}'] == "2"
    assert found['gpunn_requests_total{path="/predict",status="400"}'] == "1"
    assert found['gpunn_requests_total{path="other",status="404"}'] == "1"
    assert found["gpunn_rows_total"] == "5"
    assert found["gpunn_requests_in_flight"] == "1"  # the one for /metrics
    assert found["gpunn_predict_seconds_count"] == "3"
    assert found['gpunn_predict_seconds_bucket{le="+Inf"}'] == "3"
    buckets = [int(n) for name, n in found.items() if "_bucket" in name]
    assert buckets == sorted(buckets) and float(found["gpunn_predict_seconds_sum"]) > 0


def several() -> Any:
    """A model of three inputs, one of them texts and one of any length, and two outputs."""
    gpunn.utils.set_random_seed(5)
    sizes, words = gpunn.Input((2,), name="sizes"), gpunn.Input((1,), dtype="string", name="word")
    codes = gpunn.Input((None,), dtype="int32", name="codes")
    known = gpunn.layers.StringLookup(vocabulary=["elm", "oak"], output_mode="one_hot")(words)
    mean = gpunn.layers.GlobalAveragePooling1D()(gpunn.layers.Embedding(9, 3)(codes))
    x = gpunn.layers.Concatenate()([sizes, known, mean])
    outputs = {"q": gpunn.layers.Dense(2)(x), "p": gpunn.layers.Dense(1)(x)}
    return gpunn.Model({"sizes": sizes, "word": words, "codes": codes}, outputs)


def test_inputs_and_outputs_by_name() -> None:
    model = several()
    sizes, codes = [[1.5, 2], [3, 4]], [[1, 2, 8], [4, 5, 0]]
    expected = model.predict(
        {"sizes": np.array(sizes), "codes": np.array(codes),
         "word": np.array([["oak"], ["fir"]], object)}, verbose=0,
    )  # fmt: skip
    with serving(model) as client:
        for words in ([["oak"], ["fir"]], ["oak", "fir"]):  # rows of one text may be texts
            given = {"codes": codes, "word": words, "sizes": sizes}
            status, found = client.predict({"inputs": given})
            assert status == 200
            assert found["outputs"] == {name: values.tolist() for name, values in expected.items()}
        assert client.ask("GET", "/")[1]["inputs"]["codes"] == {"shape": [None], "dtype": "int32"}
        for changed, reason in (
            ({"word": [["oak"]]}, "as many rows each"),
            ({"word": [["oak"], [3]]}, "inputs['word'] must be rows of texts"),
            ({"codes": [[1.5], [2]]}, "inputs['codes'] must be rows of whole numbers"),
            ({"codes": [[2**40], [2]]}, "beyond int32"),
            ({"codes": [[], [2]]}, "inputs['codes']"),
            ({"colour": [1]}, "inputs has 'colour'"),
        ):
            status, found = client.predict({"inputs": given | changed})
            assert status == 400 and reason in found["error"]
        far = json.dumps({"inputs": given | {"codes": [[-7], [2]]}}).replace("-7", "1e400")
        assert "beyond int32" in client.ask("POST", "/predict", far)[1]["error"]
        del given["codes"]
        assert "lacks 'codes'" in client.predict({"inputs": given})[1]["error"]
        assert "an object with" in client.predict({"inputs": sizes})[1]["error"]


def test_truths_are_inputs_of_their_dtype_alone() -> None:
    truths = gpunn.Input((2,), dtype="bool")
    model = gpunn.Model(truths, gpunn.layers.Dense(1)(truths))
    expected = model.predict(np.array([[True, False]]), verbose=0).tolist()
    with serving(model) as client:
        for row in ([True, False], [1, 0], [True, 0]):
            assert client.predict({"inputs": [row]}) == (200, {"outputs": expected})
        assert client.predict({"inputs": [["true", False]]})[0] == 400
        assert client.predict({"inputs": [[2, False]]})[0] == 422


def bidirectional() -> Any:
    return gpunn.layers.Bidirectional(gpunn.layers.GRU(2, stateful=True))


@pytest.mark.parametrize("gather", [0.0, 0.01])
@pytest.mark.parametrize("make", [lambda: gpunn.layers.LSTM(2, stateful=True), bidirectional])
def test_the_states_of_a_layer_do_not_pass_to_other_requests(make: Any, gather: float) -> None:
    model = gpunn.Sequential(
        [gpunn.Sequential([gpunn.Input(batch_shape=(1, 3, 1)), make()]), gpunn.layers.Dense(1)]
    )
    x = np.random.default_rng(0).normal(size=(12, 1, 3, 1)).astype(np.float32)
    expected = []
    for rows in x:
        for layer in model.layers[0].layers:
            layer.reset_state()
        expected.append(model.predict(rows, verbose=0).tolist())
    with serving(model, gather=gather) as client, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda rows: client.predict({"inputs": rows.tolist()}), x))
    assert found == [(200, {"outputs": outputs}) for outputs in expected]


def sent(server: Server, requests: int = 1) -> socket.socket:
    """Return a connection on which requests were sent, of which no answer was read."""
    request = f"POST /predict HTTP/1.1\r\nContent-Length: {len(GOOD)}\r\n\r\n{GOOD}"
    connection = socket.create_connection(server.server_address[:2])
    connection.sendall(request.encode() * requests)
    return connection


def answers_on(connection: socket.socket) -> int:
    """Return how many good answers come until the server closes the connection."""
    with connection, connection.makefile("rb") as stream:
        return stream.read().count(b"HTTP/1.1 200")


@pytest.mark.parametrize("gather", [0.0, 0.005])
def test_requests_that_have_arrived_are_answered_when_the_server_ends(
    model: Any, gather: float
) -> None:
    server = Server(model, gather=gather)
    waiting = [sent(server) for _ in range(50)]  # the system has taken the connections
    server.server_close()
    assert [*map(answers_on, waiting)] == [1] * 50
    with pytest.raises(OSError):
        sent(server)


def test_idle_connections_are_closed_when_the_server_ends(model: Any) -> None:
    with serving(model, limits=Limits(seconds=3600)) as client:
        idle, unused = client.connect(), socket.create_connection(client.address)
        idle.request("POST", "/predict", GOOD)
        assert idle.getresponse().read()
    # `serving` has ended the server, which waited for no next request.
    with closing(idle), unused:
        assert idle.sock.recv(1) == unused.recv(1) == b""


def test_class_names_of_the_model_are_in_the_answer(model: Any) -> None:
    named = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(2, "softmax")])
    named.trained_on = {"classes": ["elm", "oak"], "unsure_below": 0.99}
    x = [[0.1, 0.2, 0.3], [9, -9, 9]]
    outputs = named.predict(np.array(x), verbose=0)
    with serving(named) as client:
        found = client.predict({"inputs": x})[1]
        assert client.ask("GET", "/")[1]["classes"] == ["elm", "oak"]
    assert found["outputs"] == outputs.tolist()
    for entry, row in zip(found["predictions"], outputs, strict=True):
        assert entry["class"] == ["elm", "oak"][row.argmax()]
        assert entry["probability"] == row.max() and entry["unsure"] == (row.max() < 0.99)
