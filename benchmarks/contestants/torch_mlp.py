"""PyTorch: with a DataLoader, with the data in memory, compiled, and captured in CUDA graphs."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np

REQUIRES = ("torch",)
VARIANTS = {
    "PyTorch, DataLoader": {"loader": True, "device": "cpu"},
    "PyTorch": {"device": "cpu"},
    "PyTorch, fused optimizer": {"fused": True, "device": "cpu"},
    "PyTorch, torch.compile": {"fused": True, "compiled": "default", "device": "cpu"},
    "PyTorch, DataLoader (card)": {"loader": True, "device": "cuda"},
    "PyTorch (card)": {"device": "cuda"},
    "PyTorch, fused optimizer (card)": {"fused": True, "device": "cuda"},
    "PyTorch, torch.compile (card)": {"fused": True, "compiled": "default", "device": "cuda"},
    "PyTorch, torch.compile with CUDA graphs (card)": {
        "fused": True,
        "compiled": "reduce-overhead",
        "device": "cuda",
    },
    "PyTorch, CUDA graph of a step (card)": {"fused": True, "graph": 1, "device": "cuda"},
    "PyTorch, CUDA graph of 25 steps (card)": {"fused": True, "graph": 25, "device": "cuda"},
}
CONVOLVES = True
NOTE = (
    "torch.compile needs a C++ compiler on the CPU; where there is none it is reported as "
    "failed. It compiles forward, loss and backward; the fused update is one call as it is. "
    "Sums of loss and hits stay on the device but with the DataLoader, which reads them at each "
    "step, as most programs do. Products are float32: TF32 is left off, PyTorch's default."
)


def prepare(data, device="cpu", loader=False, fused=None, compiled=None, graph=0):
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    work = data["workload"]
    torch.manual_seed(data.get("seed", 0))
    torch.set_num_threads(data["threads"])
    layers, convolutions, side = [], work.get("convolutions", ()), 28
    if convolutions:
        layers.append(nn.Unflatten(1, (1, 28, 28)))
    for n_in, n_out in itertools.pairwise((1, *convolutions)):
        layers += [nn.Conv2d(n_in, n_out, 3), nn.ReLU(), nn.MaxPool2d(2)]
        side = (side - 2) // 2
    if convolutions:
        layers.append(nn.Flatten())
    for n_in, n_out in itertools.pairwise(work["sizes"]):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    layers.pop()
    if work["dropout"]:
        layers.insert(-1, nn.Dropout(work["dropout"]))
    model = nn.Sequential(*layers).to(device)
    pixels = (side, side, convolutions[-1]) if convolutions else ()

    def turned(value):
        """Convert a kernel to PyTorch's layout: channels first, also in the rows after Flatten."""
        if value.ndim == 4:
            return value.transpose(3, 2, 0, 1)
        if pixels and value.ndim == 2 and len(value) == np.prod(pixels):
            value = value.reshape(*pixels, -1).transpose(2, 0, 1, 3).reshape(value.shape)
        return value.T

    def turned_back(value):
        if value.ndim == 4:
            return value.transpose(2, 3, 1, 0)
        if pixels and value.ndim == 2 and value.shape[1] == np.prod(pixels):
            channels, height, width = pixels[2], *pixels[:2]
            value = value.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
            value = value.reshape(len(value), -1)
        return value.T

    with torch.no_grad():
        for parameter, value in zip(model.parameters(), data["weights"], strict=True):
            parameter.copy_(torch.from_numpy(turned(value).copy()))
    loss_function = nn.CrossEntropyLoss()
    optimizer = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.01, fused=fused),
        "momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, fused=fused),
        "adam": lambda p: torch.optim.Adam(
            p, lr=0.001, fused=fused, capturable=bool(graph) and device == "cuda"
        ),
    }[work["optimizer"]](model.parameters())

    home = "cpu" if loader else device  # the device of the whole data set
    largest = work.get("largest", 255)
    x = torch.from_numpy(data["x"]).to(home).reshape(len(data["x"]), -1) / largest
    y = torch.from_numpy(data["y"]).to(home).long()
    x_test = data["x_test"].reshape(len(data["x_test"]), -1).astype(np.float32) / largest
    rows, batch = len(x), work["batch"]
    total = torch.zeros((), device=device)
    right = torch.zeros((), dtype=torch.long, device=device)

    def forward(images, target):
        output = model(images)
        return loss_function(output, target), (output.argmax(1) == target).sum()

    def probabilities(images):
        return model(images).softmax(1)

    if compiled:
        torch.compiler.reset()  # otherwise earlier compilations count towards a limit
        # dynamic=False: separate code for the smaller last batch, instead of code for any size.
        how = {"mode": compiled, "dynamic": False, "fullgraph": True}
        forward = torch.compile(forward, **how)
        probabilities = torch.compile(probabilities, **how)

    def learn(images, target):
        if compiled == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad()
        loss, hits = forward(images, target)
        loss.backward()
        optimizer.step()
        return loss.detach(), hits

    def from_loader():
        batches = DataLoader(
            TensorDataset(x, y), batch_size=batch, shuffle=True, pin_memory=device == "cuda"
        )
        loss_sum, hits_sum = 0.0, 0
        for images, target in batches:
            loss, hits = learn(
                images.to(device, non_blocking=True), target.to(device, non_blocking=True)
            )
            loss_sum += loss.item() * len(images)
            hits_sum += hits.item()
        return loss_sum / rows, hits_sum / rows

    def learn_rows(chosen):
        loss, hits = learn(x[chosen], y[chosen])
        total.add_(loss, alpha=len(chosen))
        right.add_(hits)

    def from_memory():
        total.zero_()
        right.zero_()
        order = torch.randperm(rows, device=device)
        for start in range(0, rows, batch):
            learn_rows(order[start : start + batch])
        return total.item() / rows, right.item() / rows

    # Values that change from step to step are on the device, where a captured step reads them.
    order = torch.arange(rows, device=device)
    position = torch.zeros((), dtype=torch.long, device=device)
    places = torch.arange(batch, device=device)

    def next_step():
        learn_rows(order[position + places])
        position.add_(batch)

    def several(steps):
        for _ in range(steps):
            next_step()

    def captured(steps):
        """Return a function that runs that many steps at once; without a GPU, in sequence."""
        before = [p.detach().clone() for p in model.parameters()]
        synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
        synchronize()
        # Three steps on another stream allocate what a captured step needs; then they are undone.
        with torch.cuda.stream(torch.cuda.Stream() if device == "cuda" else None):
            for _ in range(3):
                position.zero_()
                next_step()
        synchronize()
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), before, strict=True):
                parameter.copy_(value)
        for state in optimizer.state.values():
            for value in filter(torch.is_tensor, state.values()):
                value.zero_()
        if device != "cuda":
            return lambda: several(steps)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            several(steps)
        return graph.replay

    def from_graph():
        if not replays and rows >= batch:
            replays.update({steps: captured(steps) for steps in {1, graph}})
        order.copy_(torch.randperm(rows, device=device))
        for figure in (position, total, right):
            figure.zero_()
        many, single = divmod(rows // batch, graph)
        for _ in range(many):
            replays[graph]()
        for _ in range(single):
            replays[1]()
        if rows % batch:
            learn_rows(order[-(rows % batch) :])
        return total.item() / rows, right.item() / rows

    replays = {}
    one_pass = from_loader if loader else from_graph if graph else from_memory

    def epoch():
        model.train()
        figures = one_pass()
        model.eval()
        return figures

    def predict(images):
        with torch.inference_mode():
            return probabilities(torch.from_numpy(images).to(device)).cpu().numpy()

    def accuracy():
        return float((predict(x_test).argmax(1) == data["y_test"]).mean())

    def weights():
        return [turned_back(p.detach().cpu().numpy()).copy() for p in model.parameters()]

    model.eval()
    return SimpleNamespace(epoch=epoch, accuracy=accuracy, predict=predict, weights=weights)


if __name__ == "__main__":
    from cold import main

    main(prepare, VARIANTS)
