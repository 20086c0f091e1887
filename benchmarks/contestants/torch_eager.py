"""PyTorch eager as most people write it, but with the data in memory and no DataLoader."""

import torch
from torch import nn


def network(data):
    """The network with the common initial weights, and the data as float32 tensors."""
    torch.manual_seed(0)
    torch.set_num_threads(data["threads"])
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), data["weights"], strict=True):
            parameter.copy_(torch.from_numpy(value.T.copy()))
    x, x_test = (torch.from_numpy(data[k]).reshape(-1, 784) / 255 for k in ("x", "x_test"))
    y, y_test = (torch.from_numpy(data[k]).long() for k in ("y", "y_test"))
    return model, x, y, x_test, y_test


def accuracy_of(model, x_test, y_test):
    def accuracy():
        model.eval()
        with torch.no_grad():
            return (model(x_test).argmax(1) == y_test).float().mean().item()

    return accuracy


def in_memory(data, **options):
    model, x, y, x_test, y_test = network(data)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **options)
    loss_function = nn.CrossEntropyLoss()

    def epoch():
        model.train()
        order = torch.randperm(len(x))
        total, right = torch.zeros(()), torch.zeros((), dtype=torch.long)
        for start in range(0, len(x), 32):
            rows = order[start : start + 32]
            target = y[rows]
            optimizer.zero_grad(set_to_none=True)
            output = model(x[rows])
            loss = loss_function(output, target)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
            right += (output.argmax(1) == target).sum()
        return total.item() / len(x), right.item() / len(x)

    return epoch, accuracy_of(model, x_test, y_test)


def prepare(data):
    return in_memory(data)
