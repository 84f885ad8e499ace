"""A small convolutional network that reads digits: the task of `make demo TASK=digits_cnn`, as its author wrote it.

It is copied into each site's folder, whose site.toml allows it as `cnn:DigitsCnn`. It needs PyTorch, and of Fedyard
what every task has. A table has a column for each dot (`dot_0` ... `dot_63`, 0 to 16) and one for the `digit`.

Parameters: epochs (1), batch (16), learning_rate (0.05), momentum (0.9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from fedyard import Context, Result, Stopped, Task, TaskError, Update
from fedyard.tasks import Content, Metrics
from fedyard.tasks.pytorch import arrays_of, load
from fedyard.tasks.strategies import FedAvg

SIDE, BRIGHTEST, CLASSES = 8, 16.0, 10
DOTS = [f"dot_{number}" for number in range(SIDE * SIDE)]


def network(seed: int, model: Content | None = None) -> nn.Module:
    """The network, with the weights of a model or with new ones; the same ones for the same seed."""
    torch.manual_seed(seed)
    made = nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (SIDE // 2) ** 2, CLASSES),
    )
    if model is not None:
        load(made, model)
    return made


class DigitsCnn(Task):
    """Federated averaging: each site goes some steps down its own slope, and the model is the mean by rows."""

    strategy = FedAvg()

    def validate(self, parameters: Mapping[str, object]) -> None:
        odd = sorted(set(parameters) - {"epochs", "batch", "learning_rate", "momentum"})
        if odd or not all(isinstance(value, int | float) and value >= 0 for value in parameters.values()):
            raise TaskError("parameters: epochs, batch, learning_rate and momentum, each a number")

    def prepare(self, context: Context) -> None:
        self.images, self.digits = read(context, "train")

    def train(self, context: Context, model: Content | None) -> Result:
        def chosen(name: str, unless: float) -> float:
            return float(str(context.parameters.get(name, unless)))

        own = network(context.common_seed, model)  # where there is no model yet, all sites begin with the same one
        steps = torch.optim.SGD(own.parameters(), lr=chosen("learning_rate", 0.05), momentum=chosen("momentum", 0.9))
        order, loss = torch.Generator().manual_seed(context.site_seed), torch.zeros(1)
        for _ in range(int(chosen("epochs", 1))):
            for batch in torch.randperm(len(self.digits), generator=order).split(int(chosen("batch", 16))):
                if context.stopping():
                    raise Stopped
                steps.zero_grad()
                loss = nn.functional.cross_entropy(own(self.images[batch]), self.digits[batch])
                loss.backward()
                steps.step()
        context.log(f"{len(self.digits)} digits, loss {loss.item():.3f}")
        return Result(arrays_of(own), {"samples": len(self.digits), "loss": loss.item()})

    def aggregate(self, context: Context, updates: Sequence[Update]) -> Result:
        return self.strategy.aggregate(context, updates)

    def evaluate(self, context: Context, model: Content) -> Metrics:
        if "test" not in context.data:
            return {}
        images, digits = read(context, "test")
        with torch.no_grad():
            says = network(0, model)(images)
        loss = nn.functional.cross_entropy(says, digits)
        return {"accuracy": (says.argmax(dim=1) == digits).float().mean().item(), "loss": loss.item()}


def read(context: Context, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (count, 1, 8, 8), dots from 0 to 1, and their digits. Raises `TaskError`."""
    table = context.table(name)
    dots, digits = table.matrix(DOTS), table.numbers("digit")
    if not len(digits):
        raise TaskError(f"{name}: there are no digits")
    if np.isnan(dots).any() or not np.isin(digits, np.arange(CLASSES)).all():
        raise TaskError(f"{name}: a dot is missing, or a digit is none of 0 to {CLASSES - 1}")
    images = (dots / BRIGHTEST).reshape(-1, 1, SIDE, SIDE).astype(np.float32)
    return torch.from_numpy(images), torch.from_numpy(digits.astype(np.int64))
