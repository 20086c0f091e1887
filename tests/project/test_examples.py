"""The example files, run as a reader runs them: output, saved files and arguments as documented."""

import re
from pathlib import Path

import numpy as np
import pytest

import gpunn

pytestmark = pytest.mark.checks("examples")

ROOT = Path(__file__).parents[2]
EXAMPLES = {path.stem: path for path in (ROOT / "examples").rglob("*.py")}

# Arguments that make each one short, and what it must then print.
SHORT = {
    "activations": (
        "",
        [
            r"sign +-1 \.\. 1 +yes +-1 +1  everywhere",
            r"gaussian +0 \.\. 0\.3989 +no +0 +0  x = 0",
            r"hard_silu +-0\.375 \.\. inf +no +0 +x  x < -3, x = -1\.5",
            "saved activations.png",
        ],
    ),
    "autoencoder": (
        "--epochs 1 --rows 5000",
        [r"PCA +0\.05[56]\d +0\.4", r"0 to 8, new ones +0\.0", r"shuffled +0\.\d+ +0\.9"],
    ),
    "backprop_by_hand": (
        "",
        [
            "h = 0.59326999",
            "o = 0.75136506",
            r"error = 0\.29837110\d* = 0\.27481 \+ 0\.02356",
            r"w5 21\.5%, w6 24\.3%, c to o1 54\.3%",
            "10000 steps",
        ],
    ),
    "boundaries": ("", [r"spirals +0\.6.* 0\.9\d\d\n", r"ball +0\.5.* 0\.9\d\d\n"]),
    "breast_cancer": (
        "",
        [
            "426 patients",
            r"recall +(0\.9\d{5}) +\1\n",
            r"F1 +(0\.\d{6}) +\1\n",
            r"F2 +(0\.\d{6}) +\1\n",
            r"false negatives: (\d\d), \d, \d\d, \d\n",
            r"malignant +0\.\d\d +0\.\d\d +0\.\d\d +53\n",
        ],
    ),
    "character_gpt": (
        "--text text.txt --steps 64 --write 40",
        ["8 different\n798,976 weights", r"64 batches  loss 0\.2\d+",
         "for this size: 1.88"],
    ),
    "check_data": (
        "",
        [
            r"none +-\n",
            r"leakage +leakage \(error\)",
            r"\$ gpunn check-data plants\.csv .*\n418 rows of 3 features",
            r"gpunn\s+train\s+fills\s+them\s+with the median", "exit status 0",
            r"Repaired:\n395 rows of 3 features, .*\nNothing was found",
        ],
    ),
    "computational_graph": (
        "",
        [
            r"f = 0\.73",
            r"1 \+ exp\(-s\) -> exp\(-s\) +-0\.53 \* +1\.00 = +-0\.53",
            r"f -> s +1\.00 \* +0\.20 = +0\.20",
            r"library +-0\.20 +-0\.39 +0\.20 +0\.39 +-0\.59",
        ],
    ),
    "custom_layer": (
        "",
        ["agree with finite differences", r"accuracy 0\.9[5-9]", "the same: True"],
    ),
    "descent": (
        "",
        [
            r"rate 0\.15 .*: there after 28 steps",
            r"rate 0\.01 .*not there",
            r"rate 0\.205 .*not there",
            r"one a step +192 steps, +192 samples seen",
        ],
    ),
    "distillation": (
        "--epochs 8 --rows 5000",
        [r"teacher, 269,322 weights +0\.9\d+ +0\.9", r"from labels +0\.000 +0\.9",
         r"T = 20 +0\.[2-9]\d+ +0\.9", "saved distillation.png"],
    ),
    "differential_equation": (
        "--epochs 600", [r"loss 14\.\d at first, \d", r"from the solution: 0\.[0-6]\d"]
    ),
    "diabetes": (
        "--splits 2",
        ["442 patients", r"MLPRegressor +5\d\.\d", r"gpunn +5\d\.\d .* 0\.3"],
    ),
    "few_pictures": (
        "--epochs 2 --each 5",
        ["50 files belonging to 10 classes", r"as they are: \d+ s\n  learning  loss",
         r"changed at random: \d+ s\n.*\n  held out  loss \d\.\d+  0\.\d+"],
    ),
    "first_weights": (
        "",
        [
            r"HeNormal +0\.08\d+ +0\.0816 .* 100 +6e-01 +9e-01\n",
            r"Ones +0\.0000 .* 1 +1e\+00 +6e\+38\n",
            r"at right angles, to \de-0[67]",
        ],
    ),
    "forecast": ("", [r"the noise itself +0\.296", r"network +0\.3[01]\d\n", "100 steps ahead"]),
    "gan": (
        "--steps 1000",
        [r"\n +0 +0\.[01]\d+ +0\.50 +0\.50", r"\n 1000 +0\.[6-9]\d+ +0\.[4-7]", "saved gan.png"],
    ),
    "learning_to_learn": (
        "--epochs 40",
        [r"average of all sines +\d\.\d+ +[2-9]\.\d+ ", r"one step ahead +\d\.\d+ +0\.[4-9]\d "],
    ),
    "learning_rates": (
        "--epochs 20",
        [
            r"cosine, warm-up +0\.0000 +0\.0500 +0\.1000 .* 0\.0000\n",
            r"piecewise .* 0\.1000 +0\.0250 +0\.0063\n",
            r"LeCun's rule: loss 0",
            r"output +64 +0\.\d+ +0\.025 ",
        ],
    ),
    "losses": (
        "",
        [
            r"mean squared +22\.00\n",
            r"mean absolute +3\.00\n",
            r"squared hinge +4\.00 +1\.00 +0\.25 +0\.00 +0\.00",
            r"label smoothing 0\.1: 0\.933",
            r"one way 0\.3610, the other 0\.4682",
            "distance 5, cosine similarity -1",
        ],
    ),
    "many_networks": (
        "",
        [
            r"units +rate +val_loss +spread +trials\n +(8 +0\.03|32 +0\.03)",
            r"mean of eight 0\.9[4-9]\d\n",
            r"agree most +(0\.99\d|1\.000)\n.*agree least +0\.[89]",
        ],
    ),
    "many_processes": ("--epochs 2 --rows 20000", [r"processes 1, accuracy 0\.9[2-5]"]),
    "many_starts": (
        "--starts 3 --steps 4000",
        [r"10 points, 4,000 steps", r"from 0\.0008\d to 0\.12\d+; 1 below 0\.001"],
    ),
    "mnist_classic": ("", ["Total params: 13,002", r"5/5 .*val_loss", r"accuracy: 0\.9[2-5]"]),
    "mnist_mlp": ("--epochs 1 --out m.gpunn", [r"accuracy 0\.9[5-7]", "a 7 is read as 7"]),
    "mnist_recipes": ("fashion --epochs 1", ["203,530", r"seed 0: test accuracy 0\.8[3-6]"]),
    "no_free_lunch": (
        "--seeds 1",
        ["features .* linear 1, network 0", "bowl .* linear 0, network 1"],
    ),
    "noise_and_normalization": (
        "--seeds 1 --epochs 3",
        [
            r"plain +0\.\d{3} +0\.\d{3} \+- 0\.000",
            r"batch norm +0\.[89]\d+ .* 1 of 1\n",
            r"of all units they are \d+\.\d% apart",
        ],
    ),
    "one_batch": (
        "",
        [
            "a matrix 10 x 784\n",
            r"784 x 16 +plus 16 = 10 x 16, then sigmoid",
            r"16 x 10 +plus 10 = 10 x 10, then softmax",
            r"\.54b99f973c24 \.",
            r"--##\*\*\+\+::\.\.\n",
            "a 7 is read as 7",
        ],
    ),
    "online_learning": ("--batches 300", [r"online +0\.\d+ +0\.9\d+ +0\.9\d+ +9,600 "]),
    "custom_loss": (
        "--epochs 8",
        [r"percentile 10: loss 0\.[23]\d+, +\d+\.\d% of", r"percentile 90: .*, [89]\d\.\d% of"],
    ),
    "overfitting": (
        "--epochs 1",
        ["too simple", r"2 hidden units.* 0\.\d+ +0\.\d+ +1\n", r"8,000 +0\.\d+ +0\.1"],
    ),
    "overflow": (
        "",
        [
            r"softmax of .* nan +0\.7310585\d* +0\.731058579\n",
            r"-log softmax +inf +110 +110\n",
            r"0\.1\^50, .* -inf +-50\.0",
            r"mean of two million .* 0\.098\d* +0\.100000001 +0\.100000001\n",
            "NaiveCrossentropy .* weights nan, nan, nan, nan",
            "CategoricalCrossentropy .* weights -0.800, 0.800, 0.400, 0.100",
        ],
    ),
    "perceptron": (
        "",
        ["51 in all; Novikoff's bound is 779", "at least 1 mistake", r"units \[0, 1, 1, 0\]"],
    ),
    "policy_gradient": (
        "--updates 60 --seeds 2",
        [r"best policy has 0\.57", r"without bonus, seed  1 .* -0\.70\n",
         r"bonus, seed  0 .* 0\.[45]\d\n", r"bonus, seed  1 .* 0\.[345]\d\n"],
    ),
    "reviews": (
        "--folder texts --epochs 4",
        ["320 reviews to learn from, 80 held out", r"LSTM +accuracy (0\.9|1)",
         r"convolution  accuracy (0\.9|1)"],
    ),
    "second_order": (
        "--starts 2 --steps 2000",
        [r"ten    Levenberg-Marquardt  +\d of 2", r"eleven trust region  +\d of 2", "Saved"],
    ),
    "spam": (
        "messages.txt",
        ["400 messages, 100 of them spam", r"80 held out", r"precision 0\.[89]", "for it: .*prize"],
    ),
    "ten_points": (
        "--rate 1 --seed 2",
        ["Total params: 23", "10 points\nsolved", "11 points\nsolved"],
    ),
    "training_choices": (
        "--epochs 3",
        [
            r"Adadelta +\d\.\d{4} +0\.[6-9]",
            r"norm 1 +0\.\d{3} +0\.\d{3} +1\.00 +1\.00 ",
            r"no negative weights +0\.",
            r"one minute +6 +0\.\d{3} +0\.00500\n",
        ],
    ),
    "triplets": (
        "--steps 300",
        [r"step +60: loss 0\.\d+, +[34]\d\.\d% of", r"components +4\d\.\d%", r"loss +[89]\d\.\d%"],
    ),
    "variational_autoencoder": (
        "--epochs 2 --rows 6000",
        [r"pass 2: loss 1[89]\d\.|pass 2: loss 2[0-2]\d\.", r"made 225 digits, 0\.[12]\d+ ink"],
    ),
    "vanishing_gradient": (
        "",
        [
            "vanishing gradients",
            "exploding gradients",
            r"\nsigmoid +\d\.\de-1\d .* \d\.\de-0[12] +0\.1",
            r"\nlinear, large weights +\d\.\de\+1\d ",
            r"\nsigmoid, residual .* 0\.[67]\d+\n",
            r"\nsigmoid, batch norm .* 0\.[78]\d+\n",
        ],
    ),
    "what_would_make_it_a_three": (
        "--rows 5000", [r"a 8: p\(3\) 0\.\d+ -> 0\.99", r"a 0: .* in \d+ steps, pixels"]
    ),
    "weather": (
        "--epochs 4",
        ["1,461 days; windows of 14; 279 held out", r"as today +2\.\d\d",
         r"convolution +2\.[0-9]\d ", r"GRU +2\.[0-9]\d "],
    ),
    "wiring": (
        "",
        [
            r"Minimum +\(1, 5\), \(3, 2\) -> \[1\.0, 2\.0\]",
            "32 connections of 64; weights not 0 after 60 epochs: 32",
            r"reader \(Sequential\) +\(None, 8\) +184 +input_layer_\d",
            "'same' differs by 0\n",
            r"plain +loss 0\.6\d+; 0\.[45]",
            r"shortcuts +loss 0\.0\d+; [01]\.",
            "184 weights 0 changed while it was frozen,\n184 when",
        ],
    ),
    "xor": ("", ["0 xor 1 = 0.99", "1 xor 1 = 0.00", "26 parameters", "20 parameters"]),
}


def test_every_example_is_run_here():
    assert sorted(SHORT) == sorted(EXAMPLES)


def write_text(folder):
    """A text in which a letter determines the next one, with few exceptions."""
    random, letters = np.random.default_rng(0), "abcdefgh"
    codes = np.cumsum(1 + (random.random(4_000) < 0.05)) % len(letters)
    (folder / "text.txt").write_text("".join(letters[code] for code in codes), encoding="utf-8")


def write_reviews(folder, each=200):
    """Texts of common words and a few of one of two kinds, in a folder for each."""
    random = np.random.default_rng(0)
    common = ["the", "film", "was", "and", "a", "story", "with", "an", "actor", "in", "it"]
    own = {"bad": ["poor", "dull", "awful", "tedious"], "good": ["fine", "great", "grand", "warm"]}
    for name, words in own.items():
        (folder / "texts" / name).mkdir(parents=True)
        for number in range(each):
            text = [*random.choice(common, 12), *random.choice(words, 3)]
            path = folder / "texts" / name / f"{number:03}.txt"
            path.write_text(" ".join(random.permutation(text)), encoding="utf-8")


def write_messages(folder, rows=400, seed=1):
    """Lines of label and text: a quarter is spam, with its own words and common words."""
    random = np.random.default_rng(seed)
    bad = ["win", "prize", "cash", "free", "claim", "urgent", "call", "now", "txt", "offer"]
    good = ["home", "dinner", "see", "you", "later", "meeting", "thanks", "ok", "love", "tomorrow"]
    both = ["the", "a", "to", "and", "is", "in", "your", "for", "on", "with"]
    lines = []
    for row in range(rows):
        label = "ham" if row % 4 else "spam"
        own = good if row % 4 else bad
        if random.random() < 0.1:
            own = good + bad  # hard to classify
        words = [*random.choice(own, 4), *random.choice(both, 4)]
        lines.append(f"{label}\t{' '.join(random.permutation(words))}\n")
    (folder / "messages.txt").write_text("".join(lines), encoding="utf-8")


# Each takes several seconds.
LONG = {
    "activations", "autoencoder", "backprop_by_hand", "boundaries", "breast_cancer",
    "character_gpt", "custom_layer",
    "descent", "diabetes", "distillation", "first_weights", "gan", "mnist_classic", "mnist_recipes",
    "noise_and_normalization", "overfitting", "second_order", "training_choices",
    "vanishing_gradient", "variational_autoencoder",
}  # fmt: skip


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.more(3)] if name in LONG else [])
    for name in sorted(SHORT)
])  # fmt: skip
def test_as_a_script(name, mnist, scripts, tmp_path):
    arguments, expected = SHORT[name]
    write = {"character_gpt": write_text, "reviews": write_reviews, "spam": write_messages}
    if name in write:
        write[name](tmp_path)
    done = scripts.run(EXAMPLES[name], *arguments.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = re.sub(r"\nstep.*", "", done.stdout)
    for pattern in expected:
        assert re.search(pattern, text), f"{pattern!r} is not in\n{done.stdout}"
    assert max(map(len, done.stdout.splitlines())) <= 80
    if name == "mnist_classic":
        assert sorted(p.name for p in (tmp_path / "logs").iterdir()) == ["train", "validation"]
    about = EXAMPLES[name].read_text(encoding="utf-8").split('"""')[1]
    documented = re.findall(r"[\w<>]+\.png", about.replace("<recipe>", arguments.split(" ")[0]))
    assert sorted(set(documented)) == sorted(p.name for p in tmp_path.glob("*.png"))
    # One writes for TensorBoard, the others show no figure.
    assert documented or name in ("mnist_classic", "many_processes")


@pytest.mark.parametrize("name", sorted(SHORT))
def test_it_says_how_to_run_it_and_what_comes(name):
    text = EXAMPLES[name].read_text(encoding="utf-8")
    about = text.split('"""')[1]
    assert f"\nRun:       python {EXAMPLES[name].relative_to(ROOT).as_posix()}" in about
    assert re.search(r"\nTakes:     .*(second|minute)", about)
    assert "\nPrints:    " in about
    options = set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', text))
    assert set(re.findall(r"--[\w-]+", re.search(r"\nRun: .*(\n {11}.*)*", about)[0])) == options


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("spam\twin\nham no tab here\n", "line 2: no tab between label and text: 'ham no tab"),
        ("ham\thome\nham\tdinner\n", "two labels are expected; found ham."),
        ("", "two labels are expected; found none."),
        ("a\twin\nb\thome\n", "--label spam: the file's are"),
        ("spam\twin\nham\thome\n" * 2 + "\n", "No word occurs in two messages"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_is_no_list_of_messages_is_one_line(text, reason, tmp_path, example, capsys):
    if text is not None:
        (tmp_path / "messages.txt").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        example("spam", "messages.txt", run_name="__main__")
    message = stopped.value.code  # a string: Python prints it to stderr and exits with status 1
    assert message.startswith("spam: ") and reason in message and "\n" not in message


def test_the_filter_in_a_process_of_its_own_ends_with_status_1(scripts, tmp_path):
    done = scripts.run(EXAMPLES["spam"], "messages.txt", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"spam: .*No such file.*\n", done.stderr)


def test_the_classic_script_needs_no_change_but_its_import():
    text = EXAMPLES["mnist_classic"].read_text(encoding="utf-8")
    assert re.findall(".*gpunn.*", text.split('"""')[2]) == ["import gpunn as tf"]


@pytest.mark.more
def test_the_classic_script_reaches_its_accuracy(mnist, example):
    """PyTorch with the same initialisation reaches 0.942, with a spread of 0.004 over seeds."""
    (_, _), (x_test, y_test) = mnist
    accuracies = []
    for seed in range(5):
        gpunn.utils.set_random_seed(seed)
        model = example("mnist_classic")["model"]
        accuracies.append((model.predict(x_test / 255.0).argmax(1) == y_test).mean())
    assert np.mean(accuracies) >= 0.938, accuracies


@pytest.mark.parametrize(
    ("seeds", "least"), [(1, 0.973), pytest.param(5, 0.976, marks=pytest.mark.more)]
)
def test_the_mlp_reaches_its_accuracy(seeds, least, mnist, example):
    """PyTorch with the same initialisation reaches 0.9773, with a spread of 0.0014 over seeds."""
    (_, _), (x_test, y_test) = mnist
    accuracies, losses = [], []
    for seed in range(seeds):
        model = example("mnist_mlp", "--seed", str(seed))["model"]
        accuracies.append((model.predict(x_test).argmax(1) == y_test).mean())
        losses.append(model.history.history["loss"])
    assert np.mean(accuracies) >= least, accuracies
    # Values that a published run of such a network logged in the first and the fifth epoch.
    np.testing.assert_allclose(np.mean(losses, 0)[[0, 4]], [0.2982, 0.0777], rtol=0.1)
