"""Backpropagation on a network small enough to compute every value by hand.

Two inputs, two hidden sigmoids, two output sigmoids, half squared error:

    net = x W + b    h = sigmoid(net)    o = sigmoid(h V + c)    E = 1/2 sum (o - t)^2

The two halves of this file compute the same gradients: the first with the
library, the second by writing out the chain rule, weight by weight. Everything is
float64. A weight w1 leads from input 1 to hidden 1, w2 from input 2 to hidden 1, w3 and w4
to hidden 2 (so the kernel, inputs by units, has the columns w1 w2 and w3 w4); w5 to w8
likewise from the hidden units to the outputs.

Run:       python examples/lessons/backprop_by_hand.py
Takes:     about two seconds.
Prints:    h, o and E with its two parts; each derivative twice, from the library and by hand
           (they agree to 1e-12); the same by the two matrix equations; the share of
           each parameter in the first output's net input; E after one step (0.2806)
           and after 10,000 (below 4e-5), rate 0.5.
Saves:     backprop_by_hand.png, if matplotlib is installed: the path of w5 and w6, on the error
           surface over these two with the others at their final values.
"""

from math import exp

import numpy as np

import gpunn
from gpunn import layers, plots

x = np.array([[0.05, 0.10]])
target = np.array([[0.01, 0.99]])
w = [0.15, 0.20, 0.25, 0.30, 0.40, 0.45, 0.50, 0.55]  # w1 to w8
b, c = 0.35, 0.60  # one bias for both hidden units, one for both outputs

# E and its gradient, by the library.

model = gpunn.Sequential(
    [
        layers.Input((2,)),
        layers.Dense(2, activation="sigmoid", name="hidden"),
        layers.Dense(2, activation="sigmoid", name="output"),
    ],
    dtype="float64",
)
model.compile(gpunn.optimizers.SGD(learning_rate=0.5), "half_squared_error")
hidden_kernel = [[w[0], w[2]], [w[1], w[3]]]
output_kernel = [[w[4], w[6]], [w[5], w[7]]]
model.set_weights([hidden_kernel, [b, b], output_kernel, [c, c]])

outputs = model.activations(x)
h, o = outputs["hidden"][0], outputs["output"][0]
error = model.train_on_batch(x, target)  # the error before this step
gradients = model.gradients()

print("h =", *h)
print("o =", *o)
print("error =", error, "=", " + ".join(f"{e:.5f}" for e in 0.5 * (o - target[0]) ** 2))

# The same by hand.


def sigmoid(net):
    return 1 / (1 + exp(-net))


(x1, x2), (t1, t2) = x[0], target[0]
w1, w2, w3, w4, w5, w6, w7, w8 = w
h1, h2 = sigmoid(w1 * x1 + w2 * x2 + b), sigmoid(w3 * x1 + w4 * x2 + b)
o1, o2 = sigmoid(w5 * h1 + w6 * h2 + c), sigmoid(w7 * h1 + w8 * h2 + c)

# dE/dnet of each output: dE/do = o - t, and do/dnet = o (1 - o).
d_o1 = (o1 - t1) * o1 * (1 - o1)
d_o2 = (o2 - t2) * o2 * (1 - o2)
# dE/dnet of each hidden unit: it reaches both outputs.
d_h1 = (d_o1 * w5 + d_o2 * w7) * h1 * (1 - h1)
d_h2 = (d_o1 * w6 + d_o2 * w8) * h2 * (1 - h2)

# dE/dw = (the input of the connection) * (dE/dnet of the unit it leads to).
by_hand = {
    "w1": x1 * d_h1,
    "w2": x2 * d_h1,
    "w3": x1 * d_h2,
    "w4": x2 * d_h2,
    "w5": h1 * d_o1,
    "w6": h2 * d_o1,
    "w7": h1 * d_o2,
    "w8": h2 * d_o2,
    "b to h1": d_h1,
    "b to h2": d_h2,
    "c to o1": d_o1,
    "c to o2": d_o2,
}

by_library = [
    *gradients["hidden/kernel"].T.flat,
    *gradients["output/kernel"].T.flat,
    *gradients["hidden/bias"],
    *gradients["output/bias"],
]
print(f"\n{'dE/d...':10}{'library':>22}{'by hand':>22}{'difference':>14}")
for (name, hand), library in zip(by_hand.items(), by_library, strict=True):
    print(f"{name:10}{library:22.16f}{hand:22.16f}{abs(library - hand):14.1e}")

# By the equations, with matrices of outputs by inputs:
# delta^L = (a^L - y) * s'(z^L), delta^l = (W^(l+1))^T delta^(l+1) * s'(z^l),
# dC/db = delta, dC/dW = delta a^T; and s' = a (1 - a).

W = {2: np.array([[w1, w2], [w3, w4]]), 3: np.array([[w5, w6], [w7, w8]])}
a = {1: x[0], 2: h, 3: o}
delta = {3: (a[3] - target[0]) * a[3] * (1 - a[3])}
delta[2] = W[3].T @ delta[3] * a[2] * (1 - a[2])
print(f"\n{'layer':6}{'delta':>20}{'dC/dW, row by row':>40}{'difference':>12}")
for layer, name in ((2, "hidden"), (3, "output")):
    kernel = np.outer(delta[layer], a[layer - 1])
    differences = [
        abs(kernel - gradients[f"{name}/kernel"].T).max(),
        abs(delta[layer] - gradients[f"{name}/bias"]).max(),
    ]
    columns = [" ".join(f"{v:.6f}" for v in array.flat) for array in (delta[layer], kernel)]
    print(f"{layer:<6}{columns[0]:>20}{columns[1]:>40}{max(differences):12.0e}")

# Each parameter contributes a share of the first output's net input, net = w5 h1 + w6 h2 + c;
# the shares of h1 and h2 are distributed over the parameters of their own net inputs.

net = w5 * h1 + w6 * h2 + c
net1, net2 = w1 * x1 + w2 * x2 + b, w3 * x1 + w4 * x2 + b
shares = {"w5": w5 * h1 / net, "w6": w6 * h2 / net, "c to o1": c / net}
through = {"h1": (shares["w5"], w1 * x1, w2 * x2, b), "h2": (shares["w6"], w3 * x1, w4 * x2, b)}
print("\nshare in the net input of output 1:")
print("  " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
for (unit, (share, *parts)), of in zip(through.items(), (net1, net2), strict=True):
    names = ("w1", "w2", "b") if unit == "h1" else ("w3", "w4", "b")
    shares = [f"{n} {part / of:.1%}" for n, part in zip(names, parts, strict=True)]
    print(f"  and within {unit}, which carries {share:.1%}: {', '.join(shares)}")

# Gradient descent.

first = model.test_on_batch(x, target)
print(f"\nerror after {model.optimizer.iterations} step: ", first)
way = plots.PathRecorder([("output/kernel", (0, 0)), ("output/kernel", (1, 0))])
model.fit(x, target, epochs=9999, verbose=0, callbacks=[way])
last = model.test_on_batch(x, target)
print(f"error after {model.optimizer.iterations} steps:", last)
try:
    figure = plots.error_surface(
        model, x, target, way.weights, way, names=("w5", "w6"), title="9,999 steps"
    )
except ImportError:
    print('no picture: pip install "gpunn[plot]"')
else:
    figure.savefig("backprop_by_hand.png", dpi=150)
