"""Examples on real and drawn data: their claims, compared with scikit-learn where possible."""

import re

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.neighbors import KNeighborsClassifier

from gpunn import datasets

pytestmark = pytest.mark.checks("examples")


@pytest.fixture(scope="module")
def digits(mnist):
    """The first 2,000 MNIST images as rows of values from 0 to 1, and their labels."""
    (x, y), _ = mnist
    return x[:2000].reshape(2000, -1).astype(np.float32) / 255, y[:2000]


class TestBreastCancer:
    def test_the_figures_are_scikit_learns(self, example):
        names = example("breast_cancer")
        x, y, x_test, y_test = names["load"]()
        # A share of each class is held out, and 1 is malignant, the rarer one.
        assert (len(x), len(x_test)) == (426, 143)
        assert np.sum(y) + np.sum(y_test) == (load_breast_cancer().target == 0).sum() == 212
        model = names["make_network"](30)
        model.fit(x, y, epochs=20, verbose=0)
        chances = model.predict(x_test)[:, 0].astype(np.float64)
        for threshold in (0.05, 0.5, 0.9):
            for name, (own, their) in names["figures"](y_test, chances, threshold).items():
                assert own == pytest.approx(their, abs=1e-6), (name, threshold)
        assert names["figures"](y_test, chances)["area under ROC"][0] > 0.97

    def test_a_lower_threshold_finds_more_and_is_wrong_more_often(self, example):
        figures = example("breast_cancer")["figures"]
        random = np.random.default_rng(0)
        y = random.integers(0, 2, 500)
        chances = np.clip(0.3 * y + random.uniform(0, 0.7, 500), 0, 1)
        low, high = figures(y, chances, 0.2), figures(y, chances, 0.6)
        assert low["recall"][0] > high["recall"][0]
        assert low["precision"][0] < high["precision"][0]


class TestAutoencoder:
    def test_principal_components_are_scikit_learns(self, example, digits):
        x, _ = digits
        mean, directions = example("autoencoder")["principal_components"](x, 2)
        theirs = PCA(2, svd_solver="full").fit(x)
        np.testing.assert_allclose(mean, theirs.mean_, atol=1e-5)
        cosines = np.abs((directions * theirs.components_).sum(axis=1))
        np.testing.assert_allclose(cosines, 1, atol=1e-5)

    def test_neighbours_are_scikit_learns(self, example):
        random = np.random.default_rng(0)
        code, new = random.normal(size=(300, 2)), random.normal(size=(250, 2))
        y, y_new = random.integers(0, 3, 300), random.integers(0, 3, 250)
        share = example("autoencoder")["by_neighbours"](code, y, new, y_new)
        theirs = KNeighborsClassifier(5).fit(code, y).score(new, y_new)
        assert share == pytest.approx(theirs, abs=0.004)  # a tied vote changes one row

    @pytest.mark.more
    def test_its_two_numbers_tell_more_than_two_linear_ones(self, example, mnist, capsys):
        (x, y), (x_test, y_test) = mnist
        x, x_test = (a.reshape(len(a), -1).astype(np.float32) / 255 for a in (x, x_test))
        rows = slice(0, 20_000)
        codes = example("autoencoder")["two_numbers"](x[rows], y[rows], x_test, y_test, 4)
        assert [code.shape for code in codes.values()] == [(10_000, 2)] * 2
        found = re.findall(r"(autoencoder|PCA) +(\S+) +(\S+)", capsys.readouterr().out)
        (_, error, share), (_, by_pca, of_pca) = found
        assert float(error) < float(by_pca) and float(share) > float(of_pca)


def test_no_answer_of_a_forecast_is_better_than_the_noise_lets_it(example, capsys):
    example("forecast", run_name="__main__")
    found = dict(re.findall(r"  (\S.*?) +(\d\.\d+)\n", capsys.readouterr().out.split("ahead")[0]))
    errors = {name: float(value) for name, value in found.items()}
    noise = errors["the noise itself"]
    assert noise < errors["network"] < 1.1 * noise
    # One drawn value predicts another: the noise of both, sqrt(2) as large.
    assert errors["as 175 steps ago"] == pytest.approx(np.sqrt(2) * noise, rel=0.05)
    assert errors["as the last one"] > errors["as 175 steps ago"]


def test_windows_hold_the_last_values_and_no_later_one(example):
    names = example("forecast")
    series = np.arange(60.0)
    x, y = names["windows"](series)
    assert x.shape == (10, 50) and y[:, 0].tolist() == list(range(50, 60))
    np.testing.assert_array_equal(x[:, -1], y[:, 0] - 1)
    assert names["go_on"](lambda rows: rows[:, -1:] + 1, series, 3).tolist() == [60, 61, 62]


def test_online_learning_beats_refitting_where_the_border_turns(example):
    names = example("online_learning")
    rng = np.random.default_rng(1)
    stream = [names["draw"](number, rng) for number in range(300)]
    shares, learnt = names["online"](stream)
    refitted, many = names["refitting"](stream)
    assert shares[100:].mean() > refitted[100:].mean() + 0.1
    assert learnt == 300 * 32 and many == 5 * 32 * (50 + 100 + 150 + 200 + 250)


def test_each_of_two_models_wins_where_it_fits(example):
    names = example("no_free_lunch")
    for target, better in ((names["a_sum"], 0), (names["a_bowl"], 1)):
        rng = np.random.default_rng(11)
        train, new = names["draw"](target, 1000, rng), names["draw"](target, 2000, rng)
        errors = [names["judge"](names[m], train, new, 0) for m in ("linear_model", "network")]
        assert np.argmin(errors) == better
        assert min(errors) > 0.9 * names["NOISE"] ** 2  # no prediction can beat the noise


def test_diabetes_is_predicted_as_well_as_by_scikit_learn(example, capsys):
    names = example("diabetes", "--splits", "3", run_name="__main__")
    printed = capsys.readouterr().out
    found = re.findall(r"\n(gpunn|MLPRegressor) +(\d+\.\d) +(\d\.\d) +(\S+)", printed)
    (_, ours, _, r2), (_, theirs, _, _) = found
    assert float(ours) == pytest.approx(float(theirs), rel=0.06) and float(r2) > 0.3
    y, answers = np.random.default_rng(0).normal(150, 50, (2, 40, 1))
    found = [names["judge"](metric, y, answers) for metric in names["METRICS"]]
    expected = [root_mean_squared_error(y, answers), r2_score(y, answers)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


class TestSpam:
    def test_what_counts_as_a_word(self, example):
        words = example("spam")["words"]
        assert words("Win £1000 NOW, now! a b") == {"win", "£", "<4 digits>", "now", "!"}
        assert words("") == set()

    def test_bags_are_those_of_a_vectorizer(self, example):
        from sklearn.feature_extraction.text import CountVectorizer

        messages = ["free prize prize", "dinner at home", "free dinner"]
        names = example("spam")
        places = {word: i for i, word in enumerate(sorted({"free", "prize", "dinner", "home"}))}
        theirs = CountVectorizer(binary=True, vocabulary=places).fit_transform(messages).toarray()
        np.testing.assert_array_equal(names["bags"](messages, places), theirs)

    def test_a_fifth_of_each_class_is_held_out(self, example):
        y = np.repeat([0, 1], [95, 10])
        held = example("spam")["hold_out"](y, np.random.default_rng(0))
        assert (held[y == 0].sum(), held[y == 1].sum()) == (19, 2)


# The parameter counts are those that Keras's own examples print.
@pytest.mark.parametrize(
    ("recipe", "parameters"),
    [("mlp", 669_706), ("convnet", 34_826), ("best", 1_863_690), ("fashion", 203_530)],
)
def test_a_recipe_learns(recipe, parameters, mnist, example):
    names = example("mnist_recipes")
    data = datasets.fashion_mnist.load_data() if recipe == "fashion" else mnist
    (x, y), (x_test, y_test) = data
    few = (x[:2000], y[:2000]), (x_test[:1000], y_test[:1000])
    model, accuracy = names["train"](recipe, 2, 0, few, 0)
    assert model.count_params() == parameters
    assert accuracy > 0.6
    assert float(model.optimizer.learning_rate) == pytest.approx(0, abs=1e-9)  # at its end


@pytest.mark.more(2)
@pytest.mark.parametrize(("recipe", "epochs", "least"), [("fashion", 10, 0.88), ("mlp", 4, 0.98)])
def test_a_recipe_reaches_its_accuracy(recipe, epochs, least, example, mnist):
    names = example("mnist_recipes")
    dataset = names["RECIPES"][recipe][1]
    _, accuracy = names["train"](recipe, epochs, 0, dataset.load_data(), 0)
    assert accuracy >= least


@pytest.mark.more
def test_a_network_that_is_too_free_gets_worse_and_the_remedies_help(example, mnist):
    names = example("overfitting")
    (x, y), (x_test, y_test) = mnist
    data, held_out = (x, y), (x_test[:1000], y_test[:1000])
    of = {
        "free": {},
        "simple": {"hidden": 2},
        "dropout": {"dropout": 0.5},
        "L2": {"penalty": 0.002},
    }
    runs = {
        name: names["learn"](
            names["make"](**options), data, 1000, 50, validation_data=held_out
        ).history
        for name, options in of.items()
    }
    entropy = f"val_{names['ENTROPY']}"
    free, simple = runs["free"], runs["simple"]
    assert free["accuracy"][-1] == 1.0 and free[entropy][-1] > 1.1 * min(free[entropy])
    assert simple["accuracy"][-1] < 0.8 < free["val_accuracy"][-1]
    for remedy in ("dropout", "L2"):
        assert runs[remedy][entropy][-1] < free[entropy][-1]


def test_more_data_is_less_error_on_what_is_held_out(example, mnist):
    names = example("overfitting")
    (x, y), (x_test, y_test) = mnist
    errors = []
    for size in (125, 1000, 8000):
        model = names["make"](dropout=0.5)
        names["learn"](model, (x, y), size, 8000 // size)
        errors.append(1 - model.evaluate(x_test[:5000], y_test[:5000], verbose=0)[1])
    assert errors[0] > errors[1] + 0.05 > errors[2] + 0.05


def test_a_batch_is_a_product_of_matrices(example, mnist, capsys):
    names = example("one_batch")
    (_, _), (x_test, _) = mnist
    names["print_shapes"](names["make_network"](), x_test[:10])  # it compares with the model's
    shapes = re.findall(r"(\d+ x \d+)", capsys.readouterr().out)
    assert shapes == ["28 x 28", "10 x 784", "784 x 16", "10 x 16", "16 x 16", "10 x 16",
                      "16 x 10", "10 x 10"]  # fmt: skip


class TestCheckData:
    def test_each_planted_fault_is_found_and_nothing_in_the_clean_table(self, example):
        reports = example("check_data")["one_by_one"]()
        assert len(reports) == 12 and not len(reports.pop("none"))
        for fault, report in reports.items():
            assert report.of(fault), fault
        assert reports["missing"].of("missing")[0].rows.tolist() == [5, 42]
        assert reports["outliers"].of("outliers")[0].rows.tolist() == [100, 101, 102]
        assert reports["leakage"].of("leakage")[0].rows.tolist() == list(range(20))
        assert reports["shift"].of("shift")[0].columns.tolist() == [0]

    def test_the_repaired_table_holds_rows_of_the_clean_one(self, example):
        names = example("check_data")
        found = {finding.check for finding in names["check_data"](*names["spoilt"]())}
        assert found >= {"missing", "imbalance", "outliers", "order", "duplicates", "constant"}
        x, y, columns = names["repair"](*names["spoilt"]())
        clean, classes = names["draw"]()
        assert columns == ["height", "width", "weight"] and not len(names["check_data"](x, y))
        wanted = {(*row, label) for row, label in zip(clean[:, [0, 1, 3]], classes, strict=True)}
        kept = [(*row, label) for row, label in zip(x, y, strict=True)]
        assert set(kept) <= wanted and len(set(kept)) == len(kept) == 395


class TestNoiseAndNormalization:
    def test_noise_is_there_in_training_alone(self, example):
        make = example("noise_and_normalization")["make"]
        (x, y), _ = example("noise_and_normalization")["data"](0)
        plain = make("plain", 0)
        for name in ("Gaussian noise", "dropout", "Gaussian dropout"):
            model = make(name, 0)
            model.set_weights(plain.get_weights())
            np.testing.assert_array_equal(model.predict(x), plain.predict(x))
            losses = [np.ravel(m.test_on_batch(x, y))[0] for m in (model, plain)]
            assert losses[0] == losses[1] != np.ravel(model.train_on_batch(x, y))[0]

    def test_batch_normalization_is_faster_and_better_than_none(self, example):
        learn = example("noise_and_normalization")["learn"]
        plain, batch = (
            np.mean([learn(name, seed, 40)[1] for seed in (5, 6)], axis=0)
            for name in ("plain", "batch norm")
        )
        assert batch[0, 1] > plain[0, 1] + 0.1  # after two epochs
        assert batch[0, -1] > plain[0, -1] > 0.92
        assert batch[1, -1] < plain[1, -1]

    def test_moving_averages_come_near_those_of_all_rows(self, example):
        names = example("noise_and_normalization")
        (x, _), _ = names["data"](0)
        model, _ = names["learn"]("batch norm", 0, 40)
        moving, exact = names["averages"](model, x)
        kernel, bias = model.layers[0].get_weights()
        np.testing.assert_allclose(exact, (x @ kernel + bias).mean(axis=0), atol=1e-5)
        assert np.abs(moving - exact).mean() < 0.1 * np.abs(exact).mean()


class TestTrainingChoices:
    def test_every_optimizer_learns_the_digits(self, example):
        names = example("training_choices")
        for name, make in names["OPTIMIZERS"].items():
            _, past = names["learn"](make(), 20)
            assert past["val_accuracy"][-1] > 0.93 and past["loss"][-1] < 0.25, name

    def test_what_holds_the_weights_holds_them(self, example):
        names = example("training_choices")
        kernels = {
            name: names["with_addition"](name, 8)[0].layers[0].kernel.numpy()
            for name in names["ADDITIONS"]
        }
        norms = {name: np.linalg.norm(kernel, axis=0) for name, kernel in kernels.items()}
        free = norms["nothing"]
        assert free.max() > 2
        assert norms["norm at most 2"].max() < 2 + 1e-5
        np.testing.assert_allclose(norms["norm 1"], 1, atol=1e-5)
        between = norms["norm from 1 to 1.5"]
        assert 1 - 1e-5 < between.min() <= between.max() < 1.5 + 1e-5
        assert kernels["no negative weights"].min() >= 0 > kernels["nothing"].min()
        assert norms["weight decay"].mean() < 0.9 * free.mean()
        small = {name: np.mean(np.abs(kernel) < 0.01) for name, kernel in kernels.items()}
        assert small["nothing"] < 0.1 < small["L1 and L2 penalty"] < small["L1 penalty"]
        assert not np.array_equal(kernels["average of the weights"], kernels["nothing"])

        def overlap(name):  # of the units with one another: cosines
            unit = kernels[name] / norms[name]
            return np.abs(unit.T @ unit - np.eye(len(unit.T))).mean()

        assert overlap("orthogonal penalty") < 0.7 * overlap("nothing")

    def test_each_rule_ends_training_when_it_says(self, example):
        names = example("training_choices")

        def run(name):
            rule = names["RULES"][name]()
            return *names["learn"]("adam", 40, [rule]), rule

        _, past, _ = run("small change")
        changes = np.abs(np.diff(past["loss"]))
        assert changes[-1] < 0.01 < changes[:-1].min()
        _, past, _ = run("target reached")
        assert past["val_accuracy"][-1] >= 0.95 > max(past["val_accuracy"][:-1])
        model, _, _ = run("500 updates")
        assert model.optimizer.iterations == 500
        model, _, _ = run("rate by epoch")
        assert float(model.optimizer.learning_rate) == pytest.approx(0.005 * 0.9**39, rel=1e-5)
