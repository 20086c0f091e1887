"""Killed at any moment and started again, a run ends with the bits of one that ran through."""

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

import gpunn
from gpunn import callbacks, layers

# A short training run. Its arguments: the folder, `save_freq`, and at which event to kill
# itself, an event being the end of a batch, or a step on the way of a file to its name.
SCRIPT = """
import os, signal, sys
import numpy as np
import gpunn
from gpunn import callbacks, layers

folder, save_freq, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
events = 0

def event(*_, **__):
    global events
    events += 1
    print(events, flush=True)
    if events == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

def surrounded(function):
    def call(*args):
        event()
        result = function(*args)
        event()
        return result
    return call

os.fsync, os.replace = surrounded(os.fsync), surrounded(os.replace)

gpunn.utils.set_random_seed(11)
rng = np.random.default_rng(5)
x = rng.normal(size=(90, 6)).astype("float32")
y = rng.integers(0, 3, 90)
model = gpunn.Sequential([
    layers.Input((6,)), layers.Dense(8, activation="relu"), layers.Dropout(0.2), layers.Dense(3),
])
loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(gpunn.optimizers.Adam(0.05), loss, metrics=["accuracy"])
history = model.fit(
    x, y, batch_size=20, epochs=4, validation_split=0.2, verbose=0,
    callbacks=[
        callbacks.BackupAndRestore(
            folder + "/backup", int(save_freq) if save_freq.isdigit() else save_freq,
            double_checkpoint=len(sys.argv) > 4,
        ),
        callbacks.CSVLogger(folder + "/log.csv"),
        callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True),
        callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        callbacks.ModelCheckpoint(folder + "/{epoch}.gpunn", "loss", save_best_only=True),
        *([callbacks.LambdaCallback(on_train_batch_end=event)] if kill_at else []),
    ],
)
np.savez(
    folder + "/result.npz", *model.get_weights(), epochs=history.epoch,
    **{"history " + name: values for name, values in history.history.items()},
)
"""


def run(folder, save_freq, kill_at, *more):
    """Run the script; True if it came to its end, else it killed itself as asked."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, folder, save_freq, str(kill_at), *more],
        stdout=subprocess.DEVNULL,
    )
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode == 0


def outcome(folder):
    """Everything a run leaves, as bytes."""
    with np.load(folder / "result.npz") as result:
        found = {name: result[name].tobytes() for name in result.files}
    for name in os.listdir(folder):
        if name != "result.npz":
            found[name] = (folder / name).read_bytes()
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run(folder, "epoch", 0)
    return outcome(folder)


@pytest.mark.parametrize("save_freq", ["epoch", "1", "3"])
@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere_the_outcome_is_the_same(tmp_path, undisturbed, save_freq, seed):
    rng = random.Random(f"{save_freq} {seed}")
    for _ in range(3):  # killed up to three times, within its first 30 events each
        if run(tmp_path, save_freq, rng.randint(1, 30)):
            break
    else:
        assert run(tmp_path, save_freq, 0)
    assert outcome(tmp_path) == undisturbed


def test_killed_from_outside_the_outcome_is_the_same(tmp_path, undisturbed):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, tmp_path, "2", "-1"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    for _ in range(random.Random(1).randint(1, 40)):
        process.stdout.readline()
    process.kill()
    process.stdout.close()
    process.wait()
    assert run(tmp_path, "2", 0)
    assert outcome(tmp_path) == undisturbed
