"""A transformer that writes: the next character of Shakespeare from the 64 before it.

The network is a small GPT (Radford et al., 2018): characters and their places are embedded, and
four blocks of causal self-attention and a dense network follow. It is trained as nanoGPT trains
its smallest published one on a CPU: 4 blocks of width 128 and 4 heads, a context of 64, 2,000
batches of 12, AdamW with warm-up and cosine decay. nanoGPT's README gives a loss of 1.88 on the
held-out tenth of the text for it; 65 characters at random would have ln 65 = 4.17.

Run:       python examples/sequences/character_gpt.py [--text FILE] [--steps 2000] [--write 300]
Takes:     about a minute on two cores. Without --text it downloads 1 MB.
Prints:    the loss on held-out text while it learns, its time, and 300 characters that it writes.
Saves:     character_gpt.png, if matplotlib is installed: the losses.
"""

import argparse
import time

import numpy as np

import gpunn
from gpunn import layers, ops

TEXT = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
HASH = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
CONTEXT, WIDTH, HEADS, BLOCKS, BATCH = 64, 128, 4, 4, 12
RATE, WARM_UP, PUBLISHED = 1e-3, 100, 1.88


class Embedded(layers.Layer):
    """The embedding of each character, plus that of its place."""

    def __init__(self, characters):
        super().__init__()
        self.characters = layers.Embedding(characters, WIDTH, "random_normal")
        self.places = layers.Embedding(CONTEXT, WIDTH, "random_normal")

    def call(self, x):  # x (batch, context)
        return self.characters(x) + self.places(ops.arange(CONTEXT))


def block(x):
    """A block of attention and a dense network, each added to what it reads."""
    normal = layers.LayerNormalization(epsilon=1e-5)(x)
    attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, use_bias=False)
    x = x + attention(normal, normal, use_causal_mask=True)
    normal = layers.LayerNormalization(epsilon=1e-5)(x)
    hidden = layers.Dense(4 * WIDTH, "gelu", use_bias=False)(normal)
    return x + layers.Dense(WIDTH, use_bias=False)(hidden)


def network(characters, steps):
    gpunn.utils.set_random_seed(0)
    inputs = gpunn.Input((CONTEXT,), dtype="int32")
    x = Embedded(characters)(inputs)
    for _ in range(BLOCKS):
        x = block(x)
    x = layers.LayerNormalization(epsilon=1e-5)(x)
    model = gpunn.Model(inputs, layers.Dense(characters, use_bias=False)(x))
    warm_up = min(WARM_UP, steps // 4)
    rate = gpunn.optimizers.schedules.CosineDecay(
        0.0, steps - warm_up, alpha=0.1, warmup_target=RATE, warmup_steps=warm_up
    )
    optimizer = gpunn.optimizers.AdamW(rate, weight_decay=0.1, beta_2=0.99, global_clipnorm=1.0)
    loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    return model


def pieces(codes, count, random):
    """Return pieces of the text, and the same moved on by one character."""
    starts = random.integers(0, len(codes) - CONTEXT, count)[:, None] + np.arange(CONTEXT)
    return codes[starts], codes[starts + 1]


def written(model, codes, length, temperature=0.8):
    """Return ``codes`` with as many more, drawn one by one."""
    random, found = np.random.default_rng(1), list(codes[-CONTEXT:])
    for _ in range(length):
        logits = np.asarray(model.predict_on_batch(np.array([found[-CONTEXT:]])))[0, -1]
        chances = np.exp((logits - logits.max()) / temperature)
        found.append(int(random.choice(len(chances), p=chances / chances.sum())))
    return found[CONTEXT:]


def plot(steps, losses, path):
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        return
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    axes.plot(steps, losses, "o-", ms=3, label="held-out text")
    axes.axhline(PUBLISHED, color="0.5", ls="--", lw=1, label="published for this size")
    axes.set(xlabel="batches", ylabel="loss a character")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"saved {path}")


def main():
    parser = argparse.ArgumentParser(description="Train a small GPT on characters.")
    parser.add_argument("--text", help="a file to learn from; by default some Shakespeare")
    parser.add_argument("--steps", type=int, default=2_000, help="training batches")
    parser.add_argument("--write", type=int, default=300, help="characters to write")
    options = parser.parse_args()

    path = options.text or gpunn.utils.get_file("shakespeare.txt", TEXT, file_hash=HASH)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    characters = sorted(set(text))
    numbers = {character: number for number, character in enumerate(characters)}
    codes = np.array([numbers[character] for character in text], "int32")
    train, held_out = np.split(codes, [int(0.9 * len(codes))])

    random = np.random.default_rng(0)
    model = network(len(characters), options.steps)
    print(f"{len(text):,} characters, {len(characters)} different")
    print(f"{model.count_params():,} weights")
    x_test, y_test = pieces(held_out, 200 * BATCH, random)
    each = max(1, options.steps // 8)
    done, seconds, losses = 0, 0.0, []
    while done < options.steps:
        x, y = pieces(train, each * BATCH, random)
        begun = time.perf_counter()
        model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
        seconds += time.perf_counter() - begun
        done += each
        losses.append(model.evaluate(x_test, y_test, batch_size=128, verbose=0))
        print(f"{done:6} batches  loss {losses[-1]:.3f}  {seconds:4.0f} s", flush=True)
    print(f"published for this size: {PUBLISHED}")
    more = written(model, codes[:CONTEXT], options.write)
    for line in "".join(characters[code] for code in more).splitlines():
        print(line[:80])
    plot(each * np.arange(1, len(losses) + 1), losses, "character_gpt.png")


if __name__ == "__main__":
    main()
