"""The line that an epoch has while it runs, and when it is over."""

import io
import re
from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpunn import callbacks
from gpunn.callbacks import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def show(stream, verbose, epochs=2, samples=60000, validation=True, steps=4):
    bar = callbacks.ProgressBar(stream)
    bar.set_params({"epochs": epochs, "samples": samples, "verbose": verbose})
    bar.on_train_begin()
    logs = {"loss": 0.29824, "accuracy": 0.91345}
    if validation:
        logs |= {"val_loss": 0.14216, "val_accuracy": 0.95768}
    for epoch in range(epochs):
        bar.on_epoch_begin(epoch)
        for step in range(1, steps + 1):
            bar.on_train_progress(samples * step // steps if samples else step, samples)
        bar.on_epoch_end(epoch, logs)
    bar.on_train_end(logs)
    return stream.getvalue()


@pytest.mark.parametrize("verbose", [1, 2, "auto"])
def test_one_plain_line_an_epoch_where_there_is_no_terminal(verbose):
    legend, *lines = show(io.StringIO(), verbose).splitlines()
    assert "running means" in legend and "val_ figures are validation" in legend
    assert len(lines) == 2
    for number, line in enumerate(lines, 1):
        assert line.startswith(f"{number}/2 loss 0.2982 acc 0.9134 val_loss 0.1422 val_acc 0.9577")
        assert "/s" in line and line.endswith("left")
    assert all(len(line) <= 80 for line in (legend, *lines))


def test_one_line_an_epoch_on_a_terminal_too():
    text = show(Terminal(), 1)
    visible = [line.split("\r")[-1] for line in text.split("\n")]
    assert [line.split(" loss")[0] for line in visible[1:-1]] == ["1/2", "2/2"]
    bars = [part for part in text.split("\r") if "%|" in part]
    assert any("Epoch 1/2  50%|" in bar for bar in bars)
    assert all(len(bar) <= 80 and "samples/s" in bar for bar in bars)
    assert sum(" left" in bar for bar in bars) == 8


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_silence(stream):
    assert show(stream(), 0) == ""
    assert "\r" not in show(stream(), 2)


def test_the_number_of_samples_may_be_unknown():
    assert "1/2 loss" in show(Terminal(), 1, samples=None)


@given(
    st.integers(1, 10**6),
    st.dictionaries(st.from_regex(r"\A(val_)?[a-z_]{1,40}\Z"), st.floats(-1e9, 1e9), max_size=12),
)
def test_every_line_fits_and_holds_everything(epochs, figures):
    """After the last epoch but one, which took more than an hour."""
    now, stream = [0.0], io.StringIO()
    with mock.patch.object(progress_bar, "time", SimpleNamespace(perf_counter=lambda: now[0])):
        bar = callbacks.ProgressBar(stream)
        bar.set_params({"epochs": epochs + 1, "verbose": 2})
        bar.on_epoch_begin(epochs - 1)
        now[0] = 3723.0
        bar.on_train_progress(116_157_600, None)
        bar.on_epoch_end(epochs - 1, figures)
    text = stream.getvalue()
    assert "31.2k" in text and text.endswith(" 1:02:03 left\n")
    assert all(len(line) <= 80 for line in text.splitlines())
    words = text.split()
    for name, value in figures.items():
        assert name in words or name.replace("accuracy", "acc") in words
        shown = [float(word) for word in words if re.fullmatch(r"-?\d[\d.e+-]*", word)]
        assert any(abs(number - value) <= max(5e-5, 5e-4 * abs(value)) for number in shown)
