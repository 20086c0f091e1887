"""The CuPy and cuBLAS part of the CuPy backend, on substitutes that perform the calls."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import emulated
import numpy as np
import pretended_cuda
import pytest
from interrupting import interrupt, places, tell_of_calls
from little_memory import limited
from pretended_cuda import Libraries, pretend
from products import trained

import gpunn
from gpunn import layers, ops
from gpunn.backends.cupy.driver import cuda
from gpunn.backends.cupy.launch import stream_lock
from gpunn.backends.cupy.launch.protocols import Epilogue, Matmul
from gpunn.backends.shared.precision import PRECISIONS, rounded
from gpunn.common.holds import Hold

SHAPES = [(1, 1, 1), (2, 3, 4), (5, 1, 3), (1, 6, 2), (7, 4, 1)]


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> Iterator[Libraries]:
    """A fake cuBLAS and CuPy, on an Ampere GPU."""
    made = Libraries()
    pretend(monkeypatch, made, "86")
    yield made
    pretended_cuda.STREAMS.clear()


def product(backend: Any, a: np.ndarray, b: np.ndarray, out: np.ndarray, *options: Any) -> Any:
    """The product of a and b, stored as ``options`` say; with an epilogue if that is supported."""
    transpose_a, transpose_b, *rest = options
    given = (a.T if transpose_a else a, b.T if transpose_b else b, out)
    left, right, into = (backend.upload(x) for x in given)
    if rest and isinstance(rest[-1], Epilogue):
        epilogue = rest[-1]._replace(vector=backend.upload(rest[-1].vector))
        asked = Matmul(left, right, into, transpose_a, transpose_b, False, rest[-2], epilogue)
        if not backend.blas.offers(asked):
            return None
        backend.blas(asked)
        return backend.read(into), backend.read(epilogue.vector)
    backend.blas(Matmul(left, right, into, transpose_a, transpose_b, *rest))
    return backend.read(into)


def directly(work: Callable[[], Any]) -> Any:
    return work()


def samples(dtype: Any) -> Any:
    rng = np.random.default_rng(0)
    for m, k, n in SHAPES:
        a, b, out, vector = (rng.normal(size=s).astype(dtype) for s in ((m, k), (k, n), (m, n), n))
        for options in range(4):
            yield a, b, out, vector, bool(options & 1), bool(options & 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cublas_is_asked_for_the_right_product(dtype: Any, libraries: Libraries) -> None:
    backend = cuda.make_backend()
    assert libraries.calls == [  # the stream resets the workspace
        "cublasCreate_v2", "cublasSetStream_v2", "cublasSetWorkspace_v2", "cublasLtCreate",
    ]  # fmt: skip
    for a, b, out, _, *transposed in samples(dtype):
        for accumulate in (False, True):
            result = product(backend, a, b, out, *transposed, accumulate)
            np.testing.assert_allclose(result, a @ b + accumulate * out, 1e-4, 1e-6)
    assert libraries.products == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stacks", [(3, 3), (1, 3), (3, 1), (1, 1), (0, 0)])
def test_cublas_multiplies_stacks(
    stacks: tuple[int, int], dtype: Any, libraries: Libraries
) -> None:
    """As NumPy does; a stack of one matrix is used for all."""
    backend = cuda.make_backend()
    rng = np.random.default_rng(1)
    for (m, k, n), *transposed in itertools.product(SHAPES, (False, True), (False, True)):
        a, b = (
            rng.normal(size=(count, *size)).astype(dtype)
            for count, size in zip(stacks, ((m, k), (k, n)), strict=True)
        )
        given = (
            np.ascontiguousarray(x.swapaxes(1, 2) if turned else x)
            for x, turned in zip((a, b), transposed, strict=True)
        )
        left, right = map(backend.upload, given)
        out = backend.zeros((max(stacks), m, n), dtype)
        backend.batched_matmul(left, right, out, *transposed)
        np.testing.assert_allclose(backend.read(out), a @ b, 1e-4, 1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["bias", "relu", "bias_gradient"])
def test_epilogues(kind: str, dtype: Any, libraries: Libraries) -> None:
    libraries.relu = np.maximum
    backend = cuda.make_backend()
    for a, b, out, vector, *transposed in samples(dtype):
        both = product(backend, a, b, out, *transposed, None, Epilogue(kind, vector))
        if kind == "bias_gradient" and transposed[1]:
            assert both is None
            continue
        sums, biased = b.sum(0), a @ b + vector
        expected, beside = {
            "bias": (biased, vector),
            "relu": (biased.clip(0), vector),
            "bias_gradient": (a @ b, sums),
        }[kind]
        np.testing.assert_allclose(both[0], expected, 1e-4, 1e-6)
        np.testing.assert_allclose(both[1], beside, 1e-4, 1e-6)
    assert libraries.products > 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_factors_are_rounded_as_asked_for(precision: str, libraries: Libraries) -> None:
    backend = cuda.make_backend()
    for a, b, out, vector, *transposed in samples(np.float32):
        expected = rounded(a, precision) @ rounded(b, precision)
        for accumulate in (False, True):
            result = product(backend, a, b, out, *transposed, accumulate, precision)
            np.testing.assert_allclose(result, expected + accumulate * out, 1e-4, 1e-6)
        epilogue = Epilogue("bias", vector)
        result, _ = product(backend, a, b, out, *transposed, precision, epilogue)
        np.testing.assert_allclose(result, expected + vector, 1e-4, 1e-6)
        assert not np.allclose(result, a @ b + vector, 1e-5, 1e-7)


def test_an_algorithm_is_chosen_once_and_before_a_capture(libraries: Libraries) -> None:
    libraries.relu = np.maximum
    backend = cuda.make_backend()
    rng = np.random.default_rng(0)
    x, w = (backend.upload(rng.normal(size=s).astype("f")) for s in ((8, 5), (5, 3)))
    biases = [backend.upload(rng.normal(size=3).astype("f")) for _ in range(2)]
    outs = [backend.zeros((8, 3), np.float32) for _ in range(2)]

    def step() -> None:
        for bias, out in zip(biases, outs, strict=True):
            backend.blas(Matmul(x, w, out, epilogue=Epilogue("relu", bias)))

    with pytest.raises(RuntimeError, match="The epilogue 'relu' is not offered here"):
        step()
    for bias, out in zip(biases, outs, strict=True):
        for _ in range(2):
            assert backend.blas.offers(Matmul(x, w, out, epilogue=Epilogue("relu", bias)))
    alignments = {(min(b.data.ptr & -b.data.ptr, 256), min(o.data.ptr & -o.data.ptr, 256))
                  for b, o in zip(biases, outs, strict=True)}  # fmt: skip
    assert len(libraries.chosen) == len(alignments)
    replay, _ = backend.capture(step, 1)
    assert not any(backend.read(out).any() for out in outs)
    replay()
    for bias, out in zip(biases, outs, strict=True):
        expected = (backend.read(x) @ backend.read(w) + backend.read(bias)).clip(0)
        np.testing.assert_allclose(backend.read(out), expected, 1e-5, 1e-6)
    assert len(libraries.chosen) == len(alignments)


def test_what_the_library_lacks_is_not_offered(libraries: Libraries) -> None:
    backend = cuda.make_backend()
    libraries.epilogues = {4}
    a, b, out, vector, *transposed = next(samples(np.float32))
    for kind in ("bias", "relu", "bias_gradient"):
        offered = product(backend, a, b, out, *transposed, None, Epilogue(kind, vector))
        assert (offered is not None) == (kind == "bias")
    nothing = np.zeros((1, 0), np.float32)
    epilogue = Epilogue("bias", vector)
    assert product(backend, nothing, nothing.T, out, False, False, None, epilogue) is None


@pytest.mark.parametrize("relu", [np.fmax, np.maximum])
def test_nan_goes_through_a_relu_in_a_step(relu: Any, libraries: Libraries) -> None:
    """Whatever the library's own ReLU does with NaN."""
    libraries.relu = relu
    backend = cuda.make_backend().isolated()
    backend.launch_mode = "fused"
    x = backend.upload(np.array([[np.nan], [-1], [1]], np.float32))
    w, bias = backend.upload(np.ones((1, 1), np.float32)), backend.zeros((1,), np.float32)
    out = backend.zeros((3, 1), np.float32)

    def step() -> None:
        backend.matmul(x, w, out)
        backend.bias_activation(out, bias, gpunn.activations.relu, out)

    backend.program(step, True).run(3)
    np.testing.assert_array_equal(backend.read(out), [[np.nan], [0], [1]])


def test_an_older_gpu_has_no_tensor_cores_for_these(
    libraries: Libraries, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(cuda.make_backend().blas.precisions) == set(PRECISIONS)
    pretend(monkeypatch, libraries, "75")
    assert not cuda.make_backend().blas.precisions


@pytest.mark.parametrize("function", ["cublasSetStream_v2", "cublasLtCreate"])
def test_a_failure_of_cublas_is_an_error(function: str, libraries: Libraries) -> None:
    setattr(libraries, function, lambda *arguments: 7)
    with pytest.raises(RuntimeError, match=f"{function} failed with status 7"):
        cuda.make_backend()


STATUSES = [1, 3, 7, 8, 11, 13, 14, 15]  # all failures in cublasStatus_t, except licenses
LIBRARY_CALLS = [
    "cublasLtMatmulDescCreate", "cublasLtMatmulDescSetAttribute", "cublasLtMatrixLayoutCreate",
    "cublasLtMatmulPreferenceCreate", "cublasLtMatmulPreferenceSetAttribute",
    "cublasLtMatmulAlgoGetHeuristic", "cublasLtMatmul",
]  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("function", LIBRARY_CALLS)
def test_what_fails_when_it_is_tried_is_not_offered(
    function: str, status: int, libraries: Libraries
) -> None:
    libraries.failures[function] = status
    backend = cuda.make_backend()
    a, b, out, vector, *transposed = next(samples(np.float32))
    for kind in ("bias", "bias_gradient"):
        assert product(backend, a, b, out, *transposed, None, Epilogue(kind, vector)) is None


@pytest.mark.parametrize("failing", [{}, *({name: 7} for name in LIBRARY_CALLS[-2:])])
def test_a_training_goes_on_where_the_library_fails(
    failing: dict[str, int], libraries: Libraries
) -> None:
    """As on a Pascal GPU, whose cuBLASLt may support none of the epilogues."""
    libraries.failures |= failing
    backend = cuda.make_backend()
    backend.launch_mode = "fused"
    expected = trained(gpunn.backends.get_backend("numpy"))
    for ours, right in zip(trained(backend), expected, strict=True):
        np.testing.assert_allclose(ours, right, 1e-4, 1e-6)
    assert (libraries.products > 0) == (not failing)


def test_a_type_may_have_no_epilogues(libraries: Libraries) -> None:
    libraries.reals = {0}
    backend = cuda.make_backend()
    for dtype in (np.float32, np.float64):
        a, b, out, vector, *transposed = next(samples(dtype))
        offered = product(backend, a, b, out, *transposed, None, Epilogue("bias", vector))
        assert (offered is not None) == (dtype is np.float32)


def test_an_offer_leaves_the_arrays_as_they_are(libraries: Libraries) -> None:
    libraries.relu = np.maximum
    backend = cuda.make_backend()
    for a, b, out, vector, *transposed in samples(np.float32):
        for kind in ("bias", "relu", "bias_gradient"):
            values = a.T if transposed[0] else a, b.T if transposed[1] else b, out, vector
            arrays = [backend.upload(value) for value in values]
            epilogue = Epilogue(kind, arrays[-1])
            backend.blas.offers(Matmul(*arrays[:3], *transposed, epilogue=epilogue))
            for array, value in zip(arrays, values, strict=True):
                np.testing.assert_array_equal(backend.read(array), value)


def test_without_memory_to_try_it_nothing_is_offered(libraries: Libraries) -> None:
    backend = cuda.make_backend()
    a, b, vector = (backend.zeros(shape, np.float32) for shape in ((9, 9), (9, 9), (9,)))
    out, epilogue = backend.zeros((9, 9), np.float32), Epilogue("bias", vector)
    with limited(backend, 100):
        assert not backend.blas.offers(Matmul(a, b, out, epilogue=epilogue))


@pytest.mark.parametrize(("relu", "offered"), [(np.fmax, False), (np.maximum, True)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_relu_that_loses_nan_is_not_offered(
    relu: Any, offered: bool, dtype: Any, libraries: Libraries
) -> None:
    libraries.relu = relu
    backend = cuda.make_backend()
    for a, b, out, vector, *transposed in samples(dtype):
        vector[0] = np.nan
        both = product(backend, a, b, out, *transposed, None, Epilogue("relu", vector))
        assert (both is not None) == offered
        if both is not None:
            np.testing.assert_array_equal(np.isnan(both[0]), np.isnan(a @ b + vector))


class _OwnLoss(gpunn.losses.Loss):
    """A loss made of array functions."""

    def forward(self, backend: Any, y_true: Any, y_pred: Any, values: Any) -> None:
        backend.xp.mean(backend.xp.square(y_pred - y_true), axis=-1, out=values)

    def backward(self, backend: Any, y_true: Any, y_pred: Any, gradient: Any) -> None:
        backend.xp.subtract(y_pred, y_true, out=gradient)


def learned(backend: Any, loss: str, how: Callable[[Callable[[], Any]], Any] = directly) -> Any:
    """Return the result of a training whose calls of gpunn are made by ``how``."""
    x, y = np.arange(600, dtype=np.uint8).reshape(-1, 4), np.arange(150) % 3
    own = loss == "own"
    loss_: Any = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    with gpunn.backends.as_in_a_new_process():
        gpunn.backends.register_backend("tried", lambda: backend)
        gpunn.use_backend("tried")
        gpunn.utils.set_random_seed(1)
        model = gpunn.Sequential([gpunn.layers.Input((4,)), gpunn.layers.Dense(3, name="last")])
        model.compile("adam", _OwnLoss() if own else loss_)
        targets = np.eye(3, dtype=np.float32)[y] if own else y
        # 37 steps and a ragged one
        how(lambda: model.fit(x, targets, batch_size=4, epochs=1, verbose=0))
        return [*model.get_weights(), how(lambda: model.predict(x, verbose=0))]


@pytest.mark.parametrize(
    ("loss", "mode"), [("kernels", "fused"), ("kernels", "persistent"), ("own", "plain")]
)
def test_what_cupy_is_asked_for_fits_together(
    loss: str, mode: str, libraries: Libraries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CUDA module with a fake CuPy trains as the emulated backend does."""
    monkeypatch.setenv("GPUNN_LAUNCH_MODE", mode)
    both = (learned(factory(), loss) for factory in (cuda.make_backend, emulated.make_backend))
    for a, b in zip(*both, strict=True):
        np.testing.assert_allclose(a, b, 1e-6)


def test_blocks_that_do_not_fit_together_do_not_wait_for_each_other(
    libraries: Libraries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A multiprocessor with memory for one block: the grid of a persistent kernel would hang."""
    monkeypatch.setattr(sys.modules["cupy"], "resident", 1)
    both = (learned(b, "kernels") for b in (cuda.make_backend(), emulated.make_backend("fused")))
    for a, b in zip(*both, strict=True):
        np.testing.assert_allclose(a, b, 1e-6)
    monkeypatch.setenv("GPUNN_LAUNCH_MODE", "persistent")
    with pytest.raises(RuntimeError, match="holds 1 of its blocks at once, not 2"):
        learned(cuda.make_backend(), "kernels")


def mixed(x: Any) -> Any:
    """Attention among the rows of matrices (batch, 4, 5), and products with one matrix for all."""
    scores = ops.softmax(ops.einsum("bij,bkj->bik", x, x))
    left = ops.convert_to_tensor(np.eye(4, dtype=np.float32) / 2)
    return ops.matmul(left, ops.matmul(scores, x)) + ops.matmul(x, np.eye(5, dtype=np.float32))


@pytest.mark.parametrize("mode", ["plain", "fused", None])
def test_products_of_stacks_are_captured(mode: str | None, libraries: Libraries) -> None:
    """CuPy's own are refused during a capture."""
    backend = cuda.make_backend()
    backend.launch_mode = mode

    def hidden() -> list[Any]:
        return [layers.Reshape((4, 5)), layers.Dense(5), layers.Lambda(mixed), layers.Flatten()]

    expected = trained(gpunn.backends.get_backend("numpy"), hidden)
    for ours, right in zip(trained(backend, hidden), expected, strict=True):
        np.testing.assert_allclose(ours, right, 1e-4, 1e-6)


# -- names in NVIDIA's profilers


@pytest.mark.parametrize(
    ("loss", "mode", "outer"),
    [
        ("own", "plain", "step"), ("kernels", "plain", "graph of 8 steps"),
        ("kernels", "fused", "graph of 8 steps"),
        ("kernels", "persistent", "steps in a persistent kernel"),
    ],
)  # fmt: skip
def test_ranges_have_the_names_of_layers_and_of_launches_of_many_steps(
    loss: str, mode: str, outer: str, libraries: Libraries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUNN_LAUNCH_MODE", mode)
    nvtx = sys.modules["cupy"].cuda.nvtx
    without = learned(cuda.make_backend(), loss)
    assert not nvtx.found
    monkeypatch.setenv("GPUNN_NVTX", "1")
    for a, b in zip(learned(cuda.make_backend(), loss), without, strict=True):
        np.testing.assert_array_equal(a, b)
    inner = {ranges[-1] for ranges in nvtx.found}
    assert (outer,) in nvtx.found and {"last", "last, backward", "update"} <= inner
    if mode == "plain":
        assert ("step", "last, backward") in nvtx.found


def test_a_range_ends_with_an_error_in_it(
    libraries: Libraries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUNN_NVTX", "1")
    backend, nvtx = cuda.make_backend(), sys.modules["cupy"].cuda.nvtx
    with pytest.raises(ZeroDivisionError):
        backend.named("a", lambda: 1 / 0)()
    backend.named("b", lambda: None)()
    assert nvtx.found == [("a",), ("b",)]


def test_ranges_that_there_cannot_be(
    libraries: Libraries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUNN_NVTX", "yes")
    with pytest.raises(ValueError, match="GPUNN_NVTX must be 0 or 1; got 'yes'"):
        cuda.make_backend()
    monkeypatch.setenv("GPUNN_NVTX", "1")
    monkeypatch.setattr(sys.modules["cupy"].cuda.nvtx, "available", False)
    with pytest.warns(UserWarning, match="this CuPy was built without NVTX"):
        backend = cuda.make_backend()
    learned(backend, "own")


def in_a_thread(work: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def in_a_stream(work: Callable[[], Any]) -> Any:
    with pretended_cuda.Stream(non_blocking=True):
        return work()


@pytest.mark.parametrize("loss", ["kernels", "own"])
@pytest.mark.parametrize("how", [in_a_thread, in_a_stream])
def test_any_thread_and_any_current_stream_will_do(
    how: Callable[[Callable[[], Any]], Any], loss: str, libraries: Libraries
) -> None:
    """CuPy's current stream is per thread, and the user may choose it."""
    weights = [learned(cuda.make_backend(), loss, way) for way in (directly, how)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_current_stream_of_the_user_stays(libraries: Libraries) -> None:
    before = emulated.current_stream()
    with pretended_cuda.Stream(non_blocking=True) as own:
        learned(cuda.make_backend(), "own")
        assert emulated.current_stream() is own
    assert emulated.current_stream() is before


@pytest.mark.parametrize("event", ["line", "return"])
def test_ctrl_c_between_entering_and_leaving_leaves_the_user_s_stream(
    event: str, libraries: Libraries
) -> None:
    """It is current again after the next call, wherever the previous one was interrupted."""
    backend = cuda.make_backend()
    x = backend.zeros((3,), np.float32)

    def work() -> None:
        with backend.stream_lock:  # as around a program, which may have custom array functions
            backend.read(x)

    found = places(work, {stream_lock.__file__, cuda.__file__}, (event,))
    assert len(found) > 5
    for place in found:
        before = emulated.current_stream()
        with pretended_cuda.Stream(non_blocking=True) as own:
            interrupt(work, place)
            work()
            assert emulated.current_stream() is own, place
        assert emulated.current_stream() is before, place


def test_a_user_s_own_stream_within_a_step_is_left_again(libraries: Libraries) -> None:
    backend = cuda.make_backend()
    with backend.stream_lock:
        ours = emulated.current_stream()
        with pretended_cuda.Stream(non_blocking=True) as own:
            assert backend.read(backend.zeros((2,), np.float32)).tolist() == [0, 0]
            assert emulated.current_stream() is own
        assert emulated.current_stream() is ours


def test_arrays_that_are_still_computed_are_waited_for(libraries: Libraries) -> None:
    """The user's own array functions run on the user's stream, and may finish late."""
    backend = cuda.make_backend()
    values = np.arange(600, dtype=np.float32).reshape(-1, 4) / 600
    model = gpunn.Sequential([gpunn.layers.Input((4,)), gpunn.layers.Dense(3)], backend=backend)
    model.compile("sgd", "mse")
    expected = model.predict(values, verbose=0)
    with pretended_cuda.Stream(non_blocking=True):
        np.testing.assert_array_equal(model.predict(backend.xp.asarray(values)), expected)
        own = backend.upload(backend.xp.asarray(values))
        np.testing.assert_array_equal(backend.read(own), values)


@pytest.mark.parametrize("pinned", [False, True])
def test_the_caller_may_change_what_was_written(pinned: bool, libraries: Libraries) -> None:
    """A loader fills the same page-locked array with the next batch, while kernels still run."""
    backend = cuda.make_backend()
    size = 1 << 18  # a megabyte, of which `upload` makes no other copy
    make = backend.pinned if pinned else np.empty
    batch, doubled = make((size,), np.float32), backend.zeros((size,), np.float32)
    x, sums = backend.zeros((size,), np.float32), backend.zeros((size,), np.float32)
    for number in (1, 2, 3):
        batch[:] = number
        backend.write(x, batch)
        backend.affine(x, 2.0, 0.0, doubled)
        backend.affine(backend.upload(batch), 1.0, 0.0, sums, accumulate=True)
    batch[:] = 99
    np.testing.assert_array_equal(backend.read(doubled), 6)
    np.testing.assert_array_equal(backend.read(sums), 6)


def test_a_read_of_another_thread_waits_for_the_end_of_a_capture(libraries: Libraries) -> None:
    backend = cuda.make_backend().isolated()
    x, found = backend.zeros((3,), np.float32), list[Any]()
    waits_or_has_read = threading.Event()

    def read() -> None:
        try:
            tell_of_calls(lambda: found.append(backend.read(x).tolist()), Hold.wait,
                          waits_or_has_read.set)  # fmt: skip
        except RuntimeError as error:
            found.append(error)
        finally:
            waits_or_has_read.set()

    reader, steps = threading.Thread(target=read), []

    def step() -> None:
        backend.affine(x, 1.0, 1.0, x)
        steps.append(1)
        if len(steps) == 2:  # the first step is performed, not captured
            reader.start()
            assert waits_or_has_read.wait(60)

    program = backend.program(step)
    program.run(1)
    program.run(1)
    reader.join()
    assert found == [[2, 2, 2]]


@pytest.mark.parametrize("where", ["__enter__", "__exit__"])
def test_a_gpu_that_fails_does_not_keep_other_threads_waiting(
    where: str, libraries: Libraries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some errors every CUDA call fails, including the choice of the device."""
    backend = cuda.make_backend()

    def refuse(*arguments: Any) -> None:
        raise RuntimeError("cudaErrorIllegalAddress")

    with monkeypatch.context() as patch:
        patch.setattr(pretended_cuda.Device, where, refuse)
        with pytest.raises(RuntimeError, match="cudaErrorIllegalAddress"):
            backend.synchronize()
    other = threading.Thread(target=backend.synchronize, daemon=True)
    other.start()
    other.join(10)
    assert not other.is_alive()


@pytest.mark.parametrize("event", ["line", "return"])
def test_ctrl_c_leaves_no_capture(event: str, libraries: Libraries) -> None:
    """Wherever it comes, later work is done at once, and can be captured."""
    backend = cuda.make_backend()
    x = backend.zeros((3,), np.float32)

    def step() -> None:
        backend.affine(x, 1.0, 1.0, x)

    step()
    found = places(lambda: backend.capture(step, 2), {cuda.__file__}, (event,))
    assert len(found) > 3
    for number, place in enumerate(found, 1):
        interrupt(lambda: backend.capture(step, 2), place)
        step()
        assert backend.read(x).tolist() == [2 * number] * 3, place
        replay, _ = backend.capture(step, 1)
        replay()
        assert backend.read(x).tolist() == [2 * number + 1] * 3, place


def test_a_capture_that_fails_is_ended(libraries: Libraries) -> None:
    backend = cuda.make_backend().isolated()
    x = backend.zeros((3,), np.float32)

    def step() -> None:
        backend.read(x)

    program = backend.program(step)
    program.run(1)
    with pytest.warns(UserWarning, match="a step that is captured cannot read"):
        program.run(1)
    assert backend.read(x).tolist() == [0, 0, 0]


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_a_step_that_cannot_be_captured_is_performed_each_time(
    steps: int, libraries: Libraries
) -> None:
    """CuPy refuses its own products in a capture. There is one warning, with its reason."""
    backend = cuda.make_backend().isolated()
    w = backend.upload(np.array([[0, 1], [-1, 0]], np.float32))
    x, y = backend.upload(np.array([[1, 2]], np.float32)), backend.zeros((1, 2), np.float32)
    made: list[Any] = []

    def step() -> None:
        made[:] = [backend.scratch((2,), np.float32, str(len(made)), lambda one: one.fill(1))]
        backend.xp.dot(x, w, out=y)
        backend.xp.add(y, made[0], out=x)

    program = backend.program(step)
    program.run(1)
    with pytest.warns(UserWarning, match="slower: calling cuBLAS API during stream capture: dot"):
        program.run(steps)
    program.run(steps)
    expected = np.array([[1, 2]], np.float32)
    for _ in range(2 * steps + 1):
        expected = expected @ [[0, 1], [-1, 0]] + 1
    np.testing.assert_array_equal(backend.read(x), expected)


@pytest.mark.parametrize("make", [cuda.make_backend, emulated.make_backend])
def test_an_array_of_another_gpu_is_copied(make: Callable[[], Any], libraries: Libraries) -> None:
    """CuPy's array functions and our kernels take arrays of their own GPU only."""
    backend = make()
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    there = values.copy().view(emulated.ArrayElsewhere)
    out = backend.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match=r"x must be an array of the .* backend; got .* of GPU 1"):
        backend.affine(there, 2.0, 0.0, out)
    assert not backend.owns(there)
    for turned in (False, True):
        there = values.copy().view(emulated.ArrayElsewhere)
        here = backend.upload(there.T if turned else there)
        there.view(np.ndarray)[:] = np.nan  # its memory may be used again
        assert backend.owns(here) and here.flags.c_contiguous
        np.testing.assert_array_equal(backend.read(here), values.T if turned else values)
    backend.convert(values.copy().view(emulated.ArrayElsewhere), out, 2.0)
    np.testing.assert_array_equal(backend.read(out), 2 * values)


def test_an_error_of_the_step_is_raised_from_its_capture(libraries: Libraries) -> None:
    backend = cuda.make_backend().isolated()
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("an error of one's own")

    program = backend.program(step)
    program.run(1)
    with pytest.raises(RuntimeError, match="an error of one's own"):
        program.run(1)
