"""PyTorch on the card: the data there already, no DataLoader, the fused optimizers.

``prepare`` runs it eagerly. ``prepare_graph`` records the whole step, gather included, in a
CUDA graph and replays it, as PyTorch's documentation describes; a ragged last batch is eager.
"""

import torch
from torch import nn

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def prepare(data, graph=False):
    work = data["workload"]
    torch.manual_seed(0)
    torch.set_num_threads(data["threads"])
    layers = []
    for n_in, n_out in zip(work["sizes"], work["sizes"][1:], strict=False):
        layers += [nn.Linear(n_in, n_out), nn.ReLU(), nn.Dropout(work["dropout"])]
    model = nn.Sequential(*layers[:-2]).to(DEVICE)
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), data["weights"], strict=True):
            parameter.copy_(torch.from_numpy(value.T.copy()))
    optimizer = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.01, fused=True),
        "momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, fused=True),
        "adam": lambda p: torch.optim.Adam(p, lr=0.001, fused=True, capturable=graph),
    }[work["optimizer"]](model.parameters())
    loss_function = nn.CrossEntropyLoss()
    x = torch.from_numpy(data["x"]).to(DEVICE).reshape(-1, 784) / 255
    y = torch.from_numpy(data["y"]).to(DEVICE).long()
    rows, batch = len(x), work["batch"]
    order = torch.arange(rows, device=DEVICE)
    places = torch.arange(batch, device=DEVICE)
    position = torch.zeros((), dtype=torch.long, device=DEVICE)
    total = torch.zeros((), device=DEVICE)
    right = torch.zeros((), dtype=torch.long, device=DEVICE)

    def learn(chosen):
        target = y[chosen]
        optimizer.zero_grad(set_to_none=True)
        output = model(x[chosen])
        loss = loss_function(output, target)
        loss.backward()
        optimizer.step()
        total.add_(loss.detach(), alpha=len(chosen))
        right.add_((output.argmax(1) == target).sum())

    def step():  # what changes from step to step is on the device, for the graph
        learn(order[position + places])
        position.add_(batch)

    replay = _record(step, position) if graph else None

    def train(epochs=work["times"]):
        model.train()
        for _ in range(epochs):
            order.copy_(torch.randperm(rows, device=DEVICE))
            for figure in (position, total, right):
                figure.zero_()
            for start in range(0, rows - batch + 1, batch):
                if replay:
                    replay()
                else:
                    learn(order[start : start + batch])
            if rows % batch:
                learn(order[-(rows % batch) :])
            (total.item() / rows, right.item() / rows)

    def outputs():
        model.eval()
        with torch.inference_mode():
            images = torch.from_numpy(data["x_test"]).to(DEVICE).reshape(-1, 784) / 255
            return model(images).softmax(1).cpu().numpy()

    def predict():
        for _ in range(work["times"]):
            outputs()

    def accuracy():
        return (outputs().argmax(1) == data["y_test"]).mean()

    if work["predicts"]:
        train(1)
    return predict if work["predicts"] else train, accuracy


def _record(step, position):
    """The step as a graph; three steps before, on the first rows, make what it needs."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            position.zero_()
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def prepare_graph(data):
    return prepare(data, graph=True)
