"""Backpropagation through a graph of simple nodes: upstream times local, node by node.

f = 1 / (1 + exp(-(w0 x0 + w1 x1 + w2))) with w = (2, -3, -3) and x = (-1, -2), twice: as a
graph of products, sums, exp and 1/x, and as one with a single node for the sigmoid. Both
yield the gradients that the library computes for a layer of one sigmoid.

Run:       python examples/lessons/computational_graph.py
Takes:     about two seconds.
Prints:    each node's value and, from the output back, upstream * local = gradient; the
           gradients of both graphs and of the library: -0.20, -0.39, 0.20 for w and
           0.39, -0.59 for x.
Saves:     computational_graph.png, if matplotlib is installed: the graph of small nodes, with
           each value above the line and each gradient below.
"""

import math

import gpunn
from gpunn import layers

W, X = (2.0, -3.0, -3.0), (-1.0, -2.0)


class Node:
    """A value, its inputs, and its derivative with respect to each of them."""

    def __init__(self, name, value, inputs=(), local=()):
        self.name, self.value, self.inputs, self.local = name, value, inputs, local
        self.gradient = 0.0


def multiply(a, b):
    return Node(f"{a.name} {b.name}", a.value * b.value, (a, b), (b.value, a.value))


def add(name, *terms):
    return Node(name, sum(t.value for t in terms), terms, (1.0,) * len(terms))


def negative(a):
    return Node(f"-{a.name}", -a.value, (a,), (-1.0,))


def exp(a):
    return Node(f"exp({a.name})", math.exp(a.value), (a,), (math.exp(a.value),))


def reciprocal(name, a):
    return Node(name, 1 / a.value, (a,), (-1 / a.value**2,))


def sigmoid(a):
    y = 1 / (1 + math.exp(-a.value))
    return Node("f", y, (a,), (y * (1 - y),))


def sorted_nodes(f):
    """Return the nodes in topological order, each after its inputs."""
    order = []

    def visit(node):
        if node not in order:
            for source in node.inputs:
                visit(source)
            order.append(node)

    visit(f)
    return order


def backward(f):
    """Visit the nodes backwards from the output, each after all nodes that use it."""
    f.gradient = 1.0
    for node in reversed(sorted_nodes(f)):
        for source, local in zip(node.inputs, node.local, strict=True):
            share = node.gradient * local
            source.gradient += share
            print(
                f"  {node.name:>12} -> {source.name:12}"
                f"{node.gradient:8.2f} * {local:6.2f} = {share:6.2f}"
            )


def gradients(head):
    """Return the gradients of w0, w1, w2, x0, x1 in the graph ``head(sum)``, and its output."""
    w = [Node(f"w{i}", value) for i, value in enumerate(W)]
    x = [Node(f"x{i}", value) for i, value in enumerate(X)]
    f = head(add("s", multiply(w[0], x[0]), multiply(w[1], x[1]), w[2]))
    print(f"f = {f.value:.2f};  node -> input:  upstream * local")
    backward(f)
    return [node.gradient for node in (*w, *x)], f


def small_nodes(s):
    return reciprocal("f", add("1 + exp(-s)", exp(negative(s)), Node("1", 1.0)))


def by_library():
    """Compute the gradients with a first layer of identity kernel, whose bias is added to x."""
    model = gpunn.Sequential([layers.Input((2,))], dtype="float64")
    model.add(layers.Dense(2))
    model.add(layers.Dense(1, "sigmoid"))
    model.compile(gpunn.optimizers.SGD(0), gpunn.losses.MeanSquaredError())
    model.set_weights([[[1, 0], [0, 1]], [0, 0], [[W[0]], [W[1]]], [W[2]]])
    f = model.predict([X])
    model.train_on_batch([X], f - 0.5)  # so that (f - target)^2 has the derivative 1
    _, dx, dw, db = model.gradients().values()
    return [*dw[:, 0], *db, *dx]


def picture(f):
    """Draw each node to the right of its inputs, and each graph input left of its reader."""
    from matplotlib.figure import Figure

    nodes, column, places = sorted_nodes(f), {}, {}
    for node in nodes:
        column[node] = 1 + max((column[source] for source in node.inputs), default=-1)
        for source in node.inputs:
            if not source.inputs:
                column[source] = column[node] - 1
    inputs = [node for node in nodes if not node.inputs]
    for node in nodes:
        if node in inputs:
            row = -min(inputs.index(node), 4)
        else:  # in the middle of its first two inputs
            row = sum(places[source][1] for source in node.inputs[:2]) / len(node.inputs[:2])
        places[node] = (column[node], row)
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    ax = figure.subplots()
    for node, place in places.items():
        for source in node.inputs:
            ax.annotate(
                "", place, places[source], zorder=1,
                arrowprops={"arrowstyle": "->", "color": "0.45", "shrinkA": 24, "shrinkB": 40},
            )  # fmt: skip
        text = f"{node.value:.2f}\n{node.name}\n{node.gradient:.2f}"
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "black"}
        ax.text(*place, text, ha="center", va="center", fontsize=9, bbox=box)
    columns, depths = zip(*places.values(), strict=True)
    ax.set(xlim=(-0.5, max(columns) + 0.5), ylim=(min(depths) - 0.6, max(depths) + 0.6))
    ax.set_title("Value above the name, gradient of f below it", fontsize=10)
    ax.axis("off")
    figure.savefig("computational_graph.png", dpi=150)


if __name__ == "__main__":
    print("Small nodes")
    first, end = gradients(small_nodes)
    print("\nOne node for the sigmoid")
    second, _ = gradients(sigmoid)
    library = by_library()
    print(f"\n{'':14}" + "".join(f"{name:>8}" for name in ("w0", "w1", "w2", "x0", "x1")))
    for name, found in (("small nodes", first), ("sigmoid node", second), ("library", library)):
        print(f"{name:14}" + "".join(f"{g:8.2f}" for g in found))
    try:
        picture(end)
    except ImportError:
        print('\nno picture: pip install "gpunn[plot]"')
