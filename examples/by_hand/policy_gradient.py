"""REINFORCE on a grid: a policy that learns from rewards which way to go.

From the start, a walker looks for the goal G (+1) and avoids the pits P (-1); each move costs
0.02, and one in ten goes astray. Nobody tells it the right moves: the network gives each of four
moves a probability, and moves after which episodes were better than others become more probable
(Williams, 1992). Early pits can teach it to stay where it is, so that it never finds the goal. A
bonus for undecided policies, which fades, keeps it trying. The loss of a step is

    -mean of (log p(move) * advantage + bonus * entropy of p)

where the advantage is the sum of rewards from that move on, minus its mean over episodes. Each
batch of episodes decides the next, so the step is written by hand, and compiled by
`gpunn.function`.

Run:       python examples/by_hand/policy_gradient.py [--updates 120] [--seeds 4]
Takes:     five seconds.
Prints:    the mean return of an episode while it learns, without and with the bonus, and that of
           the best policy, by value iteration.
Saves:     policy_gradient.png, if matplotlib is installed: learning curves, and a policy.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers, ops

GRID = ["...#..G", ".#.#.#.", ".#P..P.", ".#.##..", "S......"]
ROWS, COLUMNS, CELLS = len(GRID), len(GRID[0]), "".join(GRID)
MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])  # up, right, down, left
COST, ASTRAY, DISCOUNT = 0.02, 0.1, 0.98
EPISODES, LONGEST = 32, 60  # of an update; moves
SQUARE = np.array([(-0.5, 0.5, 0.5, -0.5), (-0.5, -0.5, 0.5, 0.5)])
STATES, START = np.eye(len(CELLS), dtype="float32"), CELLS.index("S")
ENDS = np.array([c in "GP" for c in CELLS])
REWARDS = np.array([{"G": 1.0, "P": -1.0}.get(c, 0.0) for c in CELLS]) - COST


def moved(cell, move):
    """The cell that a move leads to; walls and edges stop it."""
    row, column = np.array(divmod(cell, COLUMNS)) + MOVES[move]
    inside = 0 <= row < ROWS and 0 <= column < COLUMNS and GRID[row][column] != "#"
    return row * COLUMNS + column if inside else cell


TARGETS = np.array([[moved(cell, move) for move in range(4)] for cell in range(len(CELLS))])


def best_return():
    """The expected return from the start of the best policy."""
    values = np.zeros(len(CELLS))
    for _ in range(500):
        of_moves = (REWARDS + DISCOUNT * np.where(ENDS, 0.0, values))[TARGETS]  # (cells, 4)
        mixed = (1 - ASTRAY) * of_moves + ASTRAY * of_moves.mean(axis=1, keepdims=True)
        values = mixed.max(axis=1)
    return values[START]


def play(chances, random):
    """EPISODES at once: cells, moves, returns from each on, and whether it was made (moves, 32)."""
    cell, alive = np.full(EPISODES, START), np.ones(EPISODES, bool)
    cells, moves, rewards, made = [], [], [], []
    for _ in range(LONGEST):
        draws = random.random((EPISODES, 1))
        move = np.minimum((np.cumsum(chances[cell], axis=1) < draws).sum(axis=1), 3)
        astray = random.random(EPISODES) < ASTRAY
        after = TARGETS[cell, np.where(astray, random.integers(0, 4, EPISODES), move)]
        cells.append(cell), moves.append(move), made.append(alive)
        rewards.append(alive * REWARDS[after])
        cell, alive = after, alive & ~ENDS[after]
    returns = np.zeros((LONGEST + 1, EPISODES))
    for k in reversed(range(LONGEST)):
        returns[k] = rewards[k] + DISCOUNT * returns[k + 1]
    return np.array(cells), np.array(moves), returns[:-1], np.array(made)


def train(updates, bonus, seed):
    """The policy, and the mean return of the episodes of each update."""
    gpunn.utils.set_random_seed(seed)
    random, history = np.random.default_rng(seed), []
    policy = gpunn.Sequential(
        [layers.Input((len(CELLS),)), layers.Dense(32, "tanh"), layers.Dense(4)]
    )
    optimizer = gpunn.optimizers.Adam(0.03)

    @gpunn.function
    def step(states, moves, advantages, made, bonus):
        """One update; states (n, cells), the others (n,), with made = 0 after an episode's end."""
        with gpunn.GradientTape() as tape:
            logs = ops.log_softmax(policy(states, training=True))
            taken = ops.sum(logs * ops.one_hot(moves, 4), axis=1)
            entropy = -ops.sum(ops.exp(logs) * logs, axis=1)
            loss = -ops.sum(made * (taken * advantages + bonus * entropy)) / EPISODES
        slopes = tape.gradient(loss, policy.trainable_variables)
        optimizer.apply(slopes, policy.trainable_variables)

    for number in range(updates):
        chances = np.asarray(ops.softmax(policy(STATES)))
        cells, moves, returns, made = play(chances, random)
        history.append(returns[0].mean())
        means = (made * returns).sum(axis=1) / np.maximum(made.sum(axis=1), 1)  # of each move
        numbers = [a.ravel().astype("float32") for a in (returns - means[:, None], made)]
        fading = np.float32(bonus * (1 - number / updates))
        step(STATES[cells.ravel()], moves.ravel(), *numbers, fading)
    return policy, np.array(history)


def draw_policy(axis, chances):
    """The grid, with arrows for chances (cells, 4)."""
    colours = {"#": "black", "G": "tab:green", "P": "tab:red", "S": "gold"}
    for cell, kind in enumerate(CELLS):
        row, column = divmod(cell, COLUMNS)
        colour = colours.get(kind, "white")
        axis.fill(column + SQUARE[0], row + SQUARE[1], fc=colour, ec="grey")
        if kind in "GP":
            axis.text(column, row, kind, ha="center", va="center", color="white")
        elif kind != "#":
            down, across = 0.42 * chances[cell] * MOVES.T
            axis.quiver(
                [column] * 4, [row] * 4, across, down, angles="xy", scale_units="xy", scale=1,
                width=0.006, color="tab:blue",
            )  # fmt: skip
    axis.set(xlim=(-0.5, COLUMNS - 0.5), ylim=(ROWS - 0.5, -0.5), aspect="equal")
    axis.set(xticks=[], yticks=[])


def main():
    parser = argparse.ArgumentParser(description="REINFORCE on a grid.")
    parser.add_argument("--updates", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    updates, best, found = options.updates, best_return(), {}

    marks = [0, updates // 8, updates // 4, updates // 2, updates]
    print(f"mean return of {EPISODES} episodes; the best policy has {best:.2f}")
    print("after updates           " + "".join(f"{mark:8}" for mark in marks))
    for name, bonus in (("without bonus", 0.0), ("entropy bonus", 0.05)):
        found[name] = [train(updates, bonus, seed) for seed in range(options.seeds)]
        for seed, (_, history) in enumerate(found[name]):
            means = [history[max(0, mark - 10) : mark + 1].mean() for mark in marks]
            print(f"{name}, seed {seed:2}  " + "".join(f"{mean:8.2f}" for mean in means))

    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
        return
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 3.6), width_ratios=(1, 1.2), layout="constrained"
    )
    for (name, runs), colour in zip(found.items(), ("tab:orange", "tab:blue"), strict=True):
        for number, (_, history) in enumerate(runs):
            label = None if number else name
            left.plot(history, color=colour, lw=1, alpha=0.8, label=label)
    left.axhline(best, color="black", ls="--", lw=1, label="best policy")
    left.set(xlabel="update", ylabel="mean return of an episode")
    left.legend(fontsize=8, loc="center right")
    policy, _ = found["entropy bonus"][0]
    draw_policy(right, np.asarray(ops.softmax(policy(STATES))))
    right.set_title("a learnt policy: longer arrows are more probable", fontsize=10)
    figure.savefig("policy_gradient.png", dpi=150)
    print("saved policy_gradient.png")


if __name__ == "__main__":
    main()
