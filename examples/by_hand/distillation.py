"""Distillation: a small network reads threes that it never saw, since its teacher knows them.

The teacher, a large network, is trained on all of MNIST. The students, with 64 hidden units, see
10,000 images, none of them a 3. Labels say only that an image is an 8. The teacher's answers,
softened by a temperature T, also say how much it is like a 3 (Hinton, Vinyals and Dean, 2015):

    loss = T^2 * D(softmax(teacher / T) || softmax(student / T))

The teacher answers inside the step, and only the student is updated: the step is written by hand,
and compiled by `gpunn.function`.

Run:       python examples/by_hand/distillation.py [--epochs 8] [--rows 10000]
Takes:     ten seconds on two CPU cores, and the download of MNIST.
Prints:    the accuracies on new threes and on other new digits, of the teacher and of students
           that learn from labels, and from the teacher at two temperatures.
Saves:     distillation.png, if matplotlib is installed: both, and what the teacher answers.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers, ops

BATCH, UNITS, HIDDEN_DIGIT = 100, 64, 3
crossentropy = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
divergence = gpunn.losses.KLDivergence()


def make_network(*units, rate=0.0):
    hidden = [part for n in units for part in (layers.Dense(n, "relu"), layers.Dropout(rate))]
    return gpunn.Sequential([layers.Input((784,)), *hidden, layers.Dense(10)])


def make_step(student, teacher, hot):
    optimizer = gpunn.optimizers.Adam(0.003)

    @gpunn.function
    def step(images, labels):
        """One update of the student; (BATCH, 784), (BATCH,) -> its loss."""
        with gpunn.GradientTape() as tape:
            answers = student(images, training=True)  # (BATCH, 10)
            if hot is None:
                loss = crossentropy(labels, answers)
            else:
                wanted = ops.softmax(teacher(images, training=False) / hot)
                loss = hot**2 * divergence(wanted, ops.softmax(answers / hot))
        slopes = tape.gradient(loss, student.trainable_variables)
        optimizer.apply(slopes, student.trainable_variables)
        return loss

    return step


def accuracies(model, x, labels):
    """The shares of threes and of other digits that are right."""
    right = model.predict(x, verbose=0).argmax(axis=1) == labels
    hidden = labels == HIDDEN_DIGIT
    return right[hidden].mean(), right[~hidden].mean()


def main():
    parser = argparse.ArgumentParser(description="A student that learns from a teacher.")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rows", type=int, default=10_000)
    options = parser.parse_args()

    (x, labels), new = gpunn.datasets.mnist.load_data()
    new = new[0].reshape(-1, 784).astype("float32") / 255, new[1]
    x = x.reshape(-1, 784).astype("float32") / 255
    gpunn.utils.set_random_seed(0)
    teacher = make_network(256, 256, rate=0.2)
    teacher.compile("adam", crossentropy)
    teacher.fit(x, labels, batch_size=128, epochs=4, verbose=0)
    print("new digits read right           threes   others")
    row = "{:28} {:9.3f} {:8.3f}".format
    print(row(f"teacher, {teacher.count_params():,} weights", *accuracies(teacher, *new)))
    seen = np.flatnonzero(labels != HIDDEN_DIGIT)[: options.rows]
    curves = {}
    for name, hot in (("labels", None), ("teacher, T = 1", 1.0), ("teacher, T = 20", 20.0)):
        gpunn.utils.set_random_seed(0)
        random, student, found = np.random.default_rng(0), make_network(UNITS), []
        step = make_step(student, teacher, hot)
        for _ in range(options.epochs):
            for rows in random.permutation(seen)[: len(seen) // BATCH * BATCH].reshape(-1, BATCH):
                step(x[rows], labels[rows])
            found.append(accuracies(student, *new))
        curves[name] = np.array(found)  # (epochs, 2)
        print(row(f"student, from {name}", *found[-1]))

    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
        return
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    figure.get_layout_engine().set(wspace=0.05)
    epochs = np.arange(options.epochs) + 1
    for (name, found), style in zip(curves.items(), ("k:", "C0--", "C1-"), strict=True):
        for k in (0, 1):
            axes[k].plot(epochs, found[:, k], style, marker=".", label=f"from {name}")
    axes[0].set(title="students: threes, which they never saw", ylim=(-0.03, 1))
    axes[1].set(title="students: the other digits")
    for axis in axes[:2]:
        axis.set(xlabel="epoch", ylabel="share read right", xticks=epochs)
    axes[1].legend(loc="lower right")
    eights = seen[labels[seen] == 8]
    answers = teacher.predict(x[eights], verbose=0)
    odds = np.where(answers.argmax(axis=1) == 8, answers[:, HIDDEN_DIGIT] - answers[:, 8], -99)
    one = np.argmax(odds)  # the eight that is most like a three
    for place, hot in ((-0.2, 1.0), (0.2, 20.0)):
        heights = np.asarray(ops.softmax(answers[one] / hot))
        axes[2].bar(np.arange(10) + place, heights, 0.4, label=f"T = {hot:g}")
    axes[2].set(xticks=range(10), xlabel="digit", ylabel="probability", ylim=(0, 1))
    axes[2].set_title("the teacher's answer for this eight")
    axes[2].legend(loc="upper right")
    image = axes[2].inset_axes((0.02, 0.5, 0.3, 0.47))
    image.imshow(x[eights[one]].reshape(28, 28), cmap="gray_r")
    image.set(xticks=[], yticks=[])
    figure.savefig("distillation.png", dpi=120)
    print("saved distillation.png")


if __name__ == "__main__":
    main()
