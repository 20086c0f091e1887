"""What `gpunn doctor` reports about backends, kernels and extras."""

import shutil
import sys

import numpy as np
import pytest

from gpunn.apps.cli import doctor, main
from gpunn.backends.compiled import cpu_kernels
from gpunn.backends.cupy.driver import cuda, gpu
from gpunn.backends.numpy import backend as numpy_backend

pytestmark = pytest.mark.usefixtures("numpy_is_asked_for")


@pytest.fixture(autouse=True)
def no_instructions_asked_for(monkeypatch):
    monkeypatch.delenv("GPUNN_INSTRUCTIONS", raising=False)


def no_gpu(monkeypatch):
    reason = 'CuPy is not installed: pip install "gpunn[cuda12]".'
    for module in (doctor, gpu, cuda):
        monkeypatch.setattr(module, "why_not", lambda: reason)
    monkeypatch.setattr(doctor, "query_nvidia_smi", lambda: "")


def test_doctor_without_a_gpu(monkeypatch, capsys):
    no_gpu(monkeypatch)
    assert main(["doctor", "--backend", "auto"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    reason = cpu_kernels.why_not()
    cpu = "compiled" if reason is None else "numpy"
    built = f"{cpu_kernels.chosen()} (available: baseline" if reason is None else reason[:40]
    for line in (
        f"NumPy      {np.__version__}\n",
        "GPU        there is no nvidia-smi\n",
        "Extra      none",
        f"Compiled   {built}",
        f"Backend    {cpu} (auto was requested)\n",
        "Kernels    none on a GPU. CuPy is not installed",
        f"Self-test  {cpu}: ok, loss 1.5562 to 0.0305",
        "Self-test  numpy: ok, loss 1.5562 to 0.0305",
    ):
        assert line in text


def test_doctor_names_the_instruction_set_in_use(monkeypatch, capsys):
    if cpu_kernels.why_not() is not None:
        pytest.skip("there are no compiled kernels")
    first = cpu_kernels.available()[0]
    monkeypatch.setenv("GPUNN_INSTRUCTIONS", first)
    assert main(["doctor", "--backend", "compiled"]) == 0
    text = capsys.readouterr().out
    assert f"Compiled   {first}, by GPUNN_INSTRUCTIONS (available: {first}" in text
    assert "Backend    compiled\n" in text


def test_doctor_names_an_instruction_set_that_was_not_built(monkeypatch):
    monkeypatch.setattr(cpu_kernels, "of_this_cpu", lambda: ("baseline", "avx2", "avx512"))
    monkeypatch.setattr(cpu_kernels, "is_built", lambda name: name != "avx512")
    monkeypatch.setattr(cpu_kernels, "chosen", lambda: "avx2")
    assert doctor.describe_compiled() == (
        "avx2 (available: baseline, avx2). Not built, though this CPU has it: avx512"
    )
    monkeypatch.setattr(cpu_kernels, "is_built", lambda name: name == "avx512")
    monkeypatch.setattr(cpu_kernels, "chosen", lambda: "avx512")
    assert doctor.describe_compiled() == "avx512 (available: avx512)"


def test_doctor_is_not_content_with_an_instruction_set_that_there_is_not(monkeypatch, capsys):
    monkeypatch.setenv("GPUNN_INSTRUCTIONS", "sse9")
    assert main(["doctor", "--backend", "compiled"]) == 1
    text = " ".join(capsys.readouterr().out.split())
    message = "GPUNN_INSTRUCTIONS must be one of baseline, avx2, avx512; got 'sse9'."
    assert text.count(message) == 2 and "Self-test compiled FAILED: RuntimeError" in text


def test_doctor_is_not_content_when_the_asked_backend_is_missing(monkeypatch, capsys):
    no_gpu(monkeypatch)
    assert main(["doctor", "--backend", "cupy"]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "cupy FAILED" in text
    assert 'CuPy is not installed: pip install "gpunn[cuda12]"' in text


def test_doctor_names_the_extra_that_fits(monkeypatch, capsys):
    no_gpu(monkeypatch)
    monkeypatch.setattr(
        doctor, "query_nvidia_smi", lambda: "6.1, 580.65.06, NVIDIA GeForce GTX 1060 6GB\n"
    )
    assert main(["doctor"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "GTX 1060 6GB (compute capability 6.1, driver 580)" in text
    assert 'Extra pip install "gpunn[cuda12]"' in text


def test_doctor_compiles_kernels_and_compares_with_numpy(monkeypatch, capsys):
    """The CuPy backend's class, with kernels compiled for the CPU."""
    monkeypatch.setenv("GPUNN_BACKEND", "emulated")
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "Kernels    compiled and correct" in text
    assert "emulated: ok, loss 1.5562 to 0.0305" in text
    assert "numpy: ok, loss 1.5562 to 0.0305" in text


def test_doctor_finds_a_backend_that_computes_wrongly(monkeypatch, capsys):
    right = numpy_backend.NumpyBackend.column_sums

    def wrong(self, x, out, accumulate=False):
        right(self, x[1:], out, accumulate)

    monkeypatch.setattr(numpy_backend.NumpyBackend, "column_sums", wrong)
    assert main(["doctor", "--backend", "numpy"]) == 1
    assert "numpy FAILED: RuntimeError: training took the loss" in capsys.readouterr().out


def test_doctor_finds_a_kernel_that_computes_wrongly():
    class Wrong(numpy_backend.NumpyBackend):
        def _affine(self, given):
            given.offset = 0.0
            super()._affine(given)

    with pytest.raises(RuntimeError, match="a kernel computes"):
        doctor.check_kernel(Wrong())


def test_the_known_loss_is_pytorchs():
    torch = pytest.importorskip("torch", reason="its wheel is for Python 3.11")
    x, y, weights = doctor.problem()
    model = torch.nn.Sequential(
        torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4)
    ).double()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), weights, strict=True):
            parameter.copy_(torch.tensor(value.T))
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    loss = torch.nn.CrossEntropyLoss()
    inputs, labels = torch.tensor(x), torch.tensor(y)
    for _ in range(doctor.EPOCHS):
        for at in range(0, len(x), doctor.BATCH):
            batch = slice(at, at + doctor.BATCH)
            optimizer.zero_grad()
            loss(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    assert loss(model(inputs), labels).item() == pytest.approx(doctor.KNOWN_LOSS, rel=1e-8)


@pytest.mark.parametrize(
    ("core", "simd", "gain", "advised"),
    [
        ("Haswell", ["X86_V3", "X86_V4"], 1.6, True),
        ("Zen", ["AVX2", "AVX512F", "AVX512_SKX"], 1.2, True),
        ("Zen", ["AVX2", "AVX512F", "AVX512_SKX"], 0.9, False),
        ("SkylakeX", ["X86_V3", "X86_V4"], None, False),
        ("Haswell", ["AVX2", "FMA3"], None, False),
    ],
)
def test_doctor_advises_the_kernels_that_are_faster(core, simd, gain, advised):
    pool = {
        "user_api": "blas", "internal_api": "openblas", "version": "0.3.31",
        "architecture": core, "num_threads": 2,
    }  # fmt: skip

    def measure():
        assert gain is not None  # nothing is measured where there is nothing to gain
        return gain

    text = doctor.describe_blas([{"user_api": "openmp"}, pool], simd, measure)
    assert text.startswith(f"openblas 0.3.31 for {core}, 2 threads")
    assert ("OPENBLAS_CORETYPE=SKYLAKEX" in text) is advised
    assert (f"{gain} times as fast" in text) is advised


def test_the_gain_is_that_of_products_in_other_processes(monkeypatch):
    """One of the present kernels over those, here the same; of none if a process fails."""
    assert 0.1 < doctor.measured_gain() < 10
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    assert doctor.measured_gain() == 1


def test_doctor_knows_no_blas():
    assert "threadpoolctl" in doctor.describe_blas([], [])
