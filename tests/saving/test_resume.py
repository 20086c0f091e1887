"""Test that a run killed at any moment and resumed ends bit for bit like an uninterrupted one."""

import os
import random
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import callbacks, layers
from gpunn.saving import files

# A short training run. Its arguments: the folder, `save_freq`, and the event at which it kills
# itself. An event is the end of a batch, or a step of writing a file before it gets its name.
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
            folder + "/backup", int(save_freq) if save_freq.isdigit() else save_freq
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


@pytest.fixture(scope="module")
def run(scripts, tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "script.py"
    path.write_text(SCRIPT)

    def run(folder, save_freq, kill_at):
        """Run the script; return True if it finished, False if it killed itself as requested."""
        done = scripts.run(path, str(folder), save_freq, str(kill_at), cwd=folder)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.returncode == 0

    return run


def outcome(folder):
    """Everything a run leaves, as bytes, except half-written files without a name."""
    with np.load(folder / "result.npz") as result:
        found = {name: result[name].tobytes() for name in result.files}
    for name in os.listdir(folder):
        if name != "result.npz" and not name.endswith(".tmp"):
            found[name] = (folder / name).read_bytes()
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.check_output([sys.executable, "-c", SCRIPT, folder, "epoch", "0"])
    return outcome(folder)


@pytest.mark.parametrize("save_freq", ["epoch", "1", "3"])
@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere_the_outcome_is_the_same(run, tmp_path, undisturbed, save_freq, seed):
    rng = random.Random(f"{save_freq} {seed}")
    for _ in range(3):  # killed up to three times, within the first 30 events of each run
        if run(tmp_path, save_freq, rng.randint(1, 30)):
            break
    else:
        assert run(tmp_path, save_freq, 0)
    assert outcome(tmp_path) == undisturbed


def test_killed_from_outside_the_outcome_is_the_same(run, tmp_path, undisturbed):
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


RNG = np.random.default_rng(5)
X = RNG.normal(size=(70, 6)).astype("float32")
Y = RNG.integers(0, 3, 70)


def network(units=8, activation="relu", optimizer="adam"):
    gpunn.utils.set_random_seed(11)
    model = gpunn.Sequential(
        [layers.Input((6,)), layers.Dense(units, activation), layers.Dropout(0.2), layers.Dense(3)]
    )
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    return model


class Crash(Exception):
    pass


class Crashing(callbacks.Callback):
    """Raises after the given number of epochs."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.epochs:
            raise Crash


def train(model, *used, epochs=4, x=X, y=Y, **arguments):
    if y is not None:
        arguments["batch_size"] = 20
    return model.fit(x, y, epochs=epochs, callbacks=list(used), verbose=0, **arguments)


def crash(folder, *used, **arguments):
    """A run of `train` that leaves its checkpoint in ``folder``."""
    with pytest.raises(Crash):
        train(network(), callbacks.BackupAndRestore(folder, **arguments), *used, Crashing(2))


@pytest.mark.parametrize(
    ("save_freq", "expected"),
    [
        ("epoch", [None] * 4 + [(1, 0)] * 4),
        (1, [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (1, 2), (1, 3), (1, 4)]),
        (3, [None, None, (0, 3), (0, 3), (0, 3), (1, 2), (1, 2), (1, 2)]),
    ],
)
def test_it_saves_as_often_as_requested(tmp_path, save_freq, expected):
    path = tmp_path / "checkpoint.gpunn"
    found = []

    def look(batch, logs):
        document = files.read(path) if path.exists() else None
        found.append(document and (document["epoch"], document["batch"]))

    backup = callbacks.BackupAndRestore(tmp_path, save_freq)
    train(network(), backup, callbacks.LambdaCallback(on_train_batch_end=look), epochs=2)
    assert found == expected  # after each of four batches, in two epochs


def bits(model):
    return [weight.tobytes() for weight in model.get_weights()]


@pytest.mark.parametrize("damage", [b"", b"damaged"])
def test_the_checkpoint_before_the_last_takes_its_place(tmp_path, damage):
    through = network()
    train(through)
    crash(tmp_path, double_checkpoint=True)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.gpunn", "checkpoint.previous.gpunn"]
    (tmp_path / "checkpoint.gpunn").write_bytes(damage)
    again, found = network(), []
    backup = callbacks.BackupAndRestore(tmp_path, double_checkpoint=True)
    look = callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: found.append((epoch, os.listdir(tmp_path)))
    )
    with pytest.warns(UserWarning, match="Cannot load .*Resuming from the previous one"):
        history = train(again, backup, look)
    # The good checkpoint replaces the damaged one; they are never swapped back later.
    assert found[0] == (1, ["checkpoint.gpunn"])
    assert history.epoch == [0, 1, 2, 3]
    assert bits(again) == bits(through)


def test_a_damaged_checkpoint_is_an_error_and_stays(tmp_path):
    crash(tmp_path)
    path = tmp_path / "checkpoint.gpunn"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"Cannot load .*checkpoint\.gpunn: .*truncated"):
        train(network(), callbacks.BackupAndRestore(tmp_path))
    assert path.exists()


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"units": 9}, "config/layers/1/config/units is 8 there and 9 here"),
        ({"activation": "tanh"}, "config/activation/class_name is 'Relu' there and 'Tanh' here"),
        ({"optimizer": "sgd"}, "compile/optimizer/class_name is 'Adam' there and 'SGD' here"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(tmp_path, other, named):
    crash(tmp_path)
    model = network(**other)
    before = bits(model)
    with pytest.raises(ValueError, match=named):
        train(model, callbacks.BackupAndRestore(tmp_path))
    assert bits(model) == before


def test_a_checkpoint_of_other_callbacks_is_refused(tmp_path):
    crash(tmp_path, callbacks.EarlyStopping("loss"))
    with pytest.raises(ValueError, match=r"\['EarlyStopping', 'History'\]; this one has \['Hist"):
        train(network(), callbacks.BackupAndRestore(tmp_path))


def test_what_a_callback_stopped_is_not_trained_on(tmp_path):
    def stopper():
        return callbacks.EarlyStopping("loss", mode="max", restore_best_weights=True)

    through = network()
    history = train(through, stopper())
    assert history.epoch == [0, 1]
    crash(tmp_path, stopper())
    again = network()
    assert train(again, callbacks.BackupAndRestore(tmp_path), stopper()).epoch == [0, 1]
    assert bits(again) == bits(through)


def test_training_longer_goes_on_from_a_kept_checkpoint(tmp_path):
    through = network()
    train(through)
    train(network(), callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False), epochs=2)
    again = network()
    history = train(again, callbacks.BackupAndRestore(tmp_path))
    assert history.epoch == [0, 1, 2, 3] and bits(again) == bits(through)


def test_only_its_own_files_are_removed(tmp_path):
    (tmp_path / "mine").write_text("")
    (tmp_path / ".checkpoint.gpunn.0123abcd.tmp").write_text("half of a checkpoint")
    train(network(), callbacks.BackupAndRestore(tmp_path, double_checkpoint=True), epochs=3)
    assert os.listdir(tmp_path) == ["mine"]
    train(network(), callbacks.BackupAndRestore(tmp_path / "own"), epochs=1)
    assert os.listdir(tmp_path) == ["mine"]


@pytest.mark.parametrize("save_freq", [*range(1, 8), "epoch"])
@pytest.mark.parametrize("steps_per_epoch", [None, 2])
def test_a_checkpoint_may_fall_anywhere_in_an_epoch(tmp_path, save_freq, steps_per_epoch):
    """There are four batches in a pass, so that every other epoch of two begins within one."""
    arguments = {"steps_per_epoch": steps_per_epoch}
    through = network()
    train(through, **arguments)
    with pytest.raises(Crash):
        train(network(), callbacks.BackupAndRestore(tmp_path, save_freq), Crashing(2), **arguments)
    again = network()
    train(again, callbacks.BackupAndRestore(tmp_path, save_freq), **arguments)
    assert bits(again) == bits(through)


class Loader:
    """Batches that can be iterated again, like a data loader's."""

    def __iter__(self):
        return ((X[at : at + 20], Y[at : at + 20]) for at in range(0, 70, 20))

    def __len__(self):
        return 4


@pytest.mark.parametrize("save_freq", [1, 3, 5, "epoch"])
def test_batches_that_come_from_outside_go_on_too(tmp_path, save_freq):
    through = network()
    train(through, x=Loader(), y=None)
    with pytest.raises(Crash):
        train(
            network(), callbacks.BackupAndRestore(tmp_path, save_freq), Crashing(2),
            x=Loader(), y=None,
        )  # fmt: skip
    again = network()
    train(again, callbacks.BackupAndRestore(tmp_path, save_freq), x=Loader(), y=None)
    assert bits(again) == bits(through)


# -- one run per folder
HOLDER = SCRIPT.replace("def event(*_, **__):", "def event(*_, **__):\n    sys.stdin.readline()")


def test_another_process_in_the_folder_is_refused_until_its_owner_is_killed(run, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path, "1", "-1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    for _ in range(2):  # pauses in the middle of a run
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
    before = sorted(os.listdir(tmp_path / "backup"))
    with pytest.raises(RuntimeError, match=r"Another run .* keeps its checkpoints in .*backup"):
        train(network(), callbacks.BackupAndRestore(tmp_path / "backup"))
    assert sorted(os.listdir(tmp_path / "backup")) == before
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert run(tmp_path, "1", 0)


def test_another_run_of_this_process_in_the_folder_is_refused(tmp_path):
    refused = []

    def other(epoch, logs):
        with pytest.raises(RuntimeError, match="Another run") as error:
            train(network(), callbacks.BackupAndRestore(tmp_path))
        refused.append(error)

    first = callbacks.BackupAndRestore(tmp_path)
    through, watched = network(), network()
    train(through)
    train(watched, first, callbacks.LambdaCallback(on_epoch_end=other))
    assert len(refused) == 4 and bits(watched) == bits(through)


def test_a_run_that_failed_leaves_the_folder_to_others(tmp_path):
    """Even while its callback and its error are still referenced."""
    failed = callbacks.BackupAndRestore(tmp_path)
    with pytest.raises(Crash) as error:
        train(network(), failed, Crashing(2))
    assert error.value is not None
    fork = subprocess.run(
        [sys.executable, "-c", "import sys\nfrom gpunn.saving.lock import FolderLock\n"
         "sys.exit(not FolderLock(sys.argv[1]).take())", tmp_path]
    )  # fmt: skip
    assert fork.returncode == 0
    assert train(network(), callbacks.BackupAndRestore(tmp_path)).epoch == [0, 1, 2, 3]
    assert failed is not None


def link_to(folder):
    link = folder.parent / f"link to {folder.name}"
    link.symlink_to(folder)
    return link


@pytest.mark.parametrize("spelled", [str, "{}/".format, os.path.relpath, link_to])
def test_a_lock_that_was_never_given_back_keeps_nobody_out(tmp_path, monkeypatch, spelled):
    """As after a second Ctrl-C, during the handling of the first; however the folder is written."""
    left, model, path = callbacks.BackupAndRestore(tmp_path), network(), spelled(tmp_path)
    monkeypatch.setattr(left, "release", lambda: None)
    for again in (model, network()):
        with pytest.raises(Crash):
            train(model, left, Crashing(2))
        train(again, callbacks.BackupAndRestore(path))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_process_keeps_nothing(tmp_path):
    """A worker that outlives the run that forked it must not keep the folder."""
    script = (
        "import os, sys, time\n"
        "from gpunn.saving.lock import FolderLock\n"
        "lock = FolderLock(sys.argv[1]); assert lock.take()\n"
        "if os.fork(): os._exit(0)\n"
        "print(os.getpid(), flush=True)\n"
        "time.sleep(60)\n"
    )
    done = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE)
    assert done.stdout is not None
    child = int(done.stdout.readline())
    done.wait()
    try:
        train(network(), callbacks.BackupAndRestore(tmp_path), epochs=1)
    finally:
        os.kill(child, signal.SIGKILL)
        done.stdout.close()


class OwnSteps(gpunn.Model):
    """Counts its loss by a metric of its own, besides those of `compile`."""

    mean: Any

    def train_step(self, data):
        x, y = data
        with gpunn.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.mean.update_state(loss)
        return {**self.compute_metrics(x, y, y_pred), "mean": self.mean.result()}


class Numbered(gpunn.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return -(-len(self.x) // 8)

    def __getitem__(self, index):
        place = slice(8 * index, 8 * index + 8)
        return self.x[place], self.y[place]


def with_own_steps(cls=OwnSteps):
    gpunn.utils.set_random_seed(3)
    inputs = gpunn.Input((5,))
    hidden = layers.Dropout(0.3)(layers.Dense(8, "relu")(inputs))
    model = cls(inputs, layers.Dense(3)(hidden))
    model.mean = gpunn.metrics.Mean(name="mean")
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


@pytest.mark.parametrize("save_freq", ["epoch", 3])
@pytest.mark.parametrize("streamed", [False, True])
def test_steps_of_a_models_class_go_on_where_they_stopped(tmp_path, streamed, save_freq):
    """As without a stop, after each of some batches: weights to the bit, sums of metrics too."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 5)).astype("float32"), rng.integers(0, 3, 50)
    given = {"x": Numbered(x, y)} if streamed else {"x": x, "y": y, "batch_size": 8}
    given |= {"epochs": 4, "verbose": 0}
    whole = with_own_steps()
    whole.fit(**given)
    for stop in (1, 5, 9, 14, 23):  # of 7 batches an epoch
        batches = iter(range(1, stop))

        def count(batch, logs, batches=batches):
            if next(batches, None) is None:
                raise KeyboardInterrupt

        folder = tmp_path / f"{stop}"
        backup = callbacks.BackupAndRestore(folder, save_freq=save_freq)
        stopping = callbacks.LambdaCallback(on_train_batch_end=count)
        with pytest.raises(KeyboardInterrupt):
            with_own_steps().fit(**given, callbacks=[backup, stopping])
        resumed = with_own_steps()
        resumed.fit(**given, callbacks=[callbacks.BackupAndRestore(folder, save_freq=save_freq)])
        for one, other in zip(resumed.get_weights(), whole.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        assert resumed.history.epoch == whole.history.epoch
        for name, values in whole.history.history.items():
            np.testing.assert_allclose(resumed.history.history[name], values, rtol=1e-6)


def test_a_checkpoint_without_all_optimizers_is_refused_at_once(tmp_path):
    model = with_own_steps()
    model.second = gpunn.optimizers.SGD()
    seen = []
    watching = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    with pytest.raises(ValueError, match="lacks the state of its optimizer 'second'"):
        model.fit(np.ones((4, 5)), [0, 1, 2, 0], verbose=0,
                  callbacks=[callbacks.BackupAndRestore(tmp_path / "b"), watching])
    assert not seen


def beside_the_graph(model):
    """Let the step train a network too that the graph of the model has not."""
    x = gpunn.Input((3,))
    model.judge = gpunn.Model(x, layers.Dense(1)(x))
    return model.judge.trainable_variables


def a_variable(model):
    model.count = gpunn.Variable([0.0], name="count")
    return [model.count]


def with_changes(of):
    class Changes(OwnSteps):
        changed: Any

        def train_step(self, data):
            found = super().train_step(data)
            for variable in self.changed:
                variable.assign(variable + 1.0)
            return found

    model = with_own_steps(Changes)
    model.changed = of(model)
    return model


@pytest.mark.parametrize(
    ("of", "what"), [(beside_the_graph, "dense.*/kernel of"), (a_variable, "count of")]
)
def test_a_checkpoint_without_all_that_a_step_changes_is_refused(tmp_path, of, what):
    """It would go on from other values than it was stopped at."""
    given = {"x": np.ones((4, 5)), "y": [0, 1, 2, 0], "verbose": 0}
    with pytest.raises(ValueError, match=f"lacks {what}.*, which the step changes"):
        with_changes(of).fit(**given, callbacks=[callbacks.BackupAndRestore(tmp_path / "b")])
    with_changes(of).fit(**given)
    unchanged = with_own_steps()
    of(unchanged)
    unchanged.fit(**given, callbacks=[callbacks.BackupAndRestore(tmp_path / "c")])


@pytest.mark.parametrize("place", ["a list", "a dictionary", "a layer"])
def test_a_further_optimizer_is_refused_wherever_it_is_held(tmp_path, place):
    model, second = with_own_steps(), gpunn.optimizers.SGD()
    model.further = {"a list": [second], "a dictionary": {"of judge": second}}.get(place)
    if place == "a layer":
        model.layers[1].further = second
    with pytest.raises(ValueError, match="lacks the state of its optimizer 'further'"):
        model.fit(np.ones((4, 5)), [0, 1, 2, 0], verbose=0,
                  callbacks=[callbacks.BackupAndRestore(tmp_path / "b")])


def test_the_optimizer_of_a_network_inside_is_refused_if_the_step_uses_it(tmp_path):
    class Uses(OwnSteps):
        judge: Any

        def train_step(self, data):
            with gpunn.GradientTape() as tape:
                loss = gpunn.ops.mean(self.judge(data[0]) ** 2)
            weights = self.judge.trainable_variables
            self.judge.optimizer.apply(tape.gradient(loss, weights), weights)
            return super().train_step(data)

    given = {"x": np.ones((4, 5)), "y": [0, 1, 2, 0], "verbose": 0}
    for cls in (OwnSteps, Uses):
        model, x = with_own_steps(cls), gpunn.Input((5,))
        model.judge = gpunn.Model(x, layers.Dense(1)(x))
        model.judge.compile("adam", "mse")
        backup = callbacks.BackupAndRestore(tmp_path / cls.__name__)
        if cls is OwnSteps:  # which leaves it alone
            model.fit(**given, callbacks=[backup])
            continue
        with pytest.raises(ValueError, match="lacks the state of the optimizer of"):
            model.fit(**given, callbacks=[backup])


def with_two_outputs():
    class Own(gpunn.Model):
        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            return super().compute_metrics(x, y, y_pred, sample_weight)

    gpunn.utils.set_random_seed(3)
    inputs = gpunn.Input((5,))
    model = Own(inputs, [layers.Dense(3, name="a")(inputs), layers.Dense(1, name="b")(inputs)])
    model.mean = gpunn.metrics.Mean(name="mean")
    optimizer = gpunn.optimizers.Adam(0.01, use_ema=True)
    model.compile(optimizer, ["mse", "mae"], metrics=[["mae"], ["mse", "cosine_similarity"]])
    return model


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_losses_of_outputs_and_averages_of_weights_go_on(tmp_path, stop):
    """Also where the run was stopped after its last step, before averages replaced the weights."""
    rng = np.random.default_rng(1)
    given = {"x": rng.normal(size=(6, 5)), "y": [rng.normal(size=(6, n)) for n in (3, 1)]}
    given |= {"batch_size": 2, "epochs": 2, "verbose": 0}
    whole, seen = with_two_outputs(), []
    whole.fit(**given)

    def count(batch, logs):
        seen.append(batch)
        if len(seen) == stop:
            raise KeyboardInterrupt

    stopping = callbacks.LambdaCallback(on_train_batch_end=count)
    with pytest.raises(KeyboardInterrupt):
        with_two_outputs().fit(
            **given, callbacks=[callbacks.BackupAndRestore(tmp_path / "b", save_freq=1), stopping]
        )
    resumed = with_two_outputs()
    resumed.fit(**given, callbacks=[callbacks.BackupAndRestore(tmp_path / "b")])
    for one, other in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    for name, values in resumed.history.history.items():
        wanted = whole.history.history[name][-len(values):]
        np.testing.assert_allclose(values, wanted, rtol=1e-5, err_msg=name)
