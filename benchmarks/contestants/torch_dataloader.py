"""PyTorch eager as its tutorials write it: a TensorDataset and a DataLoader."""

import pathlib
import runpy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_eager = runpy.run_path(str(pathlib.Path(__file__).with_name("torch_eager.py")))


def prepare(data):
    model, x, y, x_test, y_test = _eager["network"](data)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_function = nn.CrossEntropyLoss()

    def epoch():
        model.train()
        total, right = 0.0, 0
        for inputs, target in loader:
            optimizer.zero_grad()
            output = model(inputs)
            loss = loss_function(output, target)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(inputs)
            right += (output.argmax(1) == target).sum().item()
        return total / len(x), right / len(x)

    return epoch, _eager["accuracy_of"](model, x_test, y_test)
