"""A generative adversarial network on MNIST: two networks that train against each other.

The maker turns noise and a wanted digit into an image. The critic learns to tell made images from
real ones, and the maker to be taken for real (Goodfellow et al., 2014; Mirza and Osindero, 2014).
Each has its own loss, gradients and optimizer, so the step is written by hand, and compiled by
`gpunn.function`. A classifier, trained on real digits, reads what is made.

Run:       python examples/by_hand/gan.py [--steps 4000]
Takes:     half a minute on two CPU cores, and the download of MNIST.
Prints:    while it trains: how many made digits the classifier reads as the wanted ones, and how
           sure the critic is that real and made images are real.
Saves:     gan.png, if matplotlib is installed: made digits by training time.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers, ops

SIDE, CODE, UNITS = 28, 32, 512  # pixels; numbers of noise; in the hidden layers
BATCH, RATE = 64, 2e-3
PIXELS, DIGITS = SIDE * SIDE, np.eye(10, dtype="float32")
ONES, ZEROS = np.ones((BATCH, 1), "float32"), np.zeros((BATCH, 1), "float32")
loss = gpunn.losses.BinaryCrossentropy(from_logits=True)


def make_networks():
    gpunn.utils.set_random_seed(0)
    maker = gpunn.Sequential(
        [
            layers.Input((CODE + 10,)),
            layers.Dense(UNITS),
            layers.BatchNormalization(momentum=0.9),  # else all made images become alike
            layers.LeakyReLU(0.2),
            layers.Dense(PIXELS, "sigmoid"),
        ]
    )
    critic = gpunn.Sequential(
        [
            layers.Input((PIXELS + 10,)),
            layers.Dense(UNITS),
            layers.LeakyReLU(0.2),
            layers.Dropout(0.4),  # a critic that is always right would end the maker's learning
            layers.Dense(1),
        ]
    )
    return maker, critic


def make_step(maker, critic, steps):
    rates = [gpunn.optimizers.schedules.CosineDecay(RATE, steps) for _ in range(2)]
    for_maker, for_critic = (gpunn.optimizers.Adam(rate, beta_1=0.0) for rate in rates)

    @gpunn.function
    def step(real, digits, noise):
        """One step of both; (BATCH, 196), (BATCH, 10), (BATCH, CODE) -> two probabilities."""
        with gpunn.GradientTape(persistent=True) as tape:
            made = maker(ops.concatenate([noise, digits], axis=1), training=True)
            images, wanted = ops.concatenate([real, made]), ops.concatenate([digits, digits])
            answers = critic(ops.concatenate([images, wanted], axis=1), training=True)
            of_real, of_made = answers[:BATCH], answers[BATCH:]
            makers = loss(ONES, of_made)
            critics = loss(0.9 * ONES, of_real) + loss(ZEROS, of_made)  # never quite sure
        of_maker = tape.gradient(makers, maker.trainable_variables)
        of_critic = tape.gradient(critics, critic.trainable_variables)
        for_maker.apply(of_maker, maker.trainable_variables)
        for_critic.apply(of_critic, critic.trainable_variables)
        return ops.mean(ops.sigmoid(of_real)), ops.mean(ops.sigmoid(of_made))

    return step


def make_reader(x, labels):
    """A classifier of real digits."""
    reader = gpunn.Sequential(
        [layers.Input((PIXELS,)), layers.Dense(128, "relu"), layers.Dense(10, "softmax")]
    )
    reader.compile("adam", "sparse_categorical_crossentropy")
    reader.fit(x, labels, batch_size=128, epochs=3, verbose=0)
    return reader


def main():
    parser = argparse.ArgumentParser(description="A generative adversarial network on MNIST.")
    parser.add_argument("--steps", type=int, default=4000)
    steps = parser.parse_args().steps

    (x, labels), _ = gpunn.datasets.mnist.load_data()
    x, random = x.reshape(-1, PIXELS).astype("float32") / 255, np.random.default_rng(0)
    maker, critic = make_networks()
    step, reader = make_step(maker, critic, steps), make_reader(x, labels)
    wanted = np.arange(1000) % 10
    codes = random.normal(size=(1000, CODE)).astype("float32")
    kept, sure, shown = {}, [], sorted({0, steps // 20, steps // 10, steps // 4, steps})
    print("steps   read as wanted   real is real   made is real")
    for number in range(steps + 1):
        rows, noise = random.integers(0, len(x), BATCH), random.normal(size=(BATCH, CODE))
        if number in shown:
            made = maker.predict(np.concatenate([codes, DIGITS[wanted]], axis=1), verbose=0)
            share = np.mean(reader.predict(made, verbose=0).argmax(axis=1) == wanted)
            kept[number] = made[:20]
            real, fake = np.mean(sure[-50:], axis=0) if sure else (0.5, 0.5)
            print(f"{number:5} {share:16.3f} {real:14.2f} {fake:14.2f}")
        if number < steps:
            found = step(x[rows], DIGITS[labels[rows]], noise.astype("float32"))
            sure.append([float(p) for p in found])

    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
        return
    figure, axes = plt.subplots(len(shown), figsize=(9, 3.3), layout="constrained")
    for axis, (number, made) in zip(axes, kept.items(), strict=True):
        order = np.arange(20).reshape(2, 10).T.ravel()  # 0 0 1 1 2 2 ...
        row = made[order].reshape(20, SIDE, SIDE).transpose(1, 0, 2).reshape(SIDE, -1)
        axis.imshow(row, cmap="gray_r", vmin=0, vmax=1)
        axis.set_ylabel(f"{number:,} steps", rotation=0, ha="right", va="center")
        axis.set(xticks=[], yticks=[])
    axes[-1].set_xticks(np.arange(10) * 2 * SIDE + SIDE, map(str, range(10)))
    axes[-1].set_xlabel("wanted digit, from the same noise in each row")
    figure.savefig("gan.png", dpi=150)
    print("saved gan.png")


if __name__ == "__main__":
    main()
