"""State dicts of PyTorch itself. It needs what requirements-torch.txt has."""

from __future__ import annotations

import numpy as np
import pytest

from fedyard.tasks import TaskError
from fedyard.tasks.arrays import pack, unpack
from fedyard.tasks.pytorch import arrays_of, load, proximal
from fedyard.tasks.strategies import FedAdagrad, FedAvg, FedProx
from tests.fedyard.strategies.made import context, update


@pytest.fixture
def torch():
    import torch  # noqa: PLC0415 - where it is not installed, these tests fail, and others are run

    torch.manual_seed(1)
    return torch


def network(torch):
    nn = torch.nn
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3 * 4, 2))


def test_a_network_comes_back_bit_by_bit(torch) -> None:
    made, other = network(torch), network(torch)
    made(torch.randn(5, 1, 4, 4))  # fills the running statistics and the counter
    made[0].weight.data = made[0].weight.data.to(memory_format=torch.channels_last)
    load(other, unpack(pack(arrays_of(made))))
    for name, tensor in made.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert int(arrays_of(other)["1.num_batches_tracked"]) == 1


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float64"])
def test_each_type_travels_as_what_it_is(torch, kind) -> None:
    made, other = (network(torch).to(getattr(torch, kind)) for _ in range(2))
    arrays = unpack(pack(arrays_of(made)))
    assert arrays["3.weight"].dtype.name == kind
    load(other, arrays)
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in made.state_dict().items())
    mean = FedAvg().aggregate(context(), [update("a", 1, arrays), update("b", 3, arrays)]).content
    load(other, mean)
    assert torch.equal(other[3].weight, made[3].weight)


def test_a_head_may_stay_at_the_site(torch) -> None:
    made, other = network(torch), network(torch)
    head = other[3].weight.clone()
    body = {name: array for name, array in arrays_of(made).items() if not name.startswith("3.")}
    load(other, body, partly=True)
    assert torch.equal(other[0].weight, made[0].weight)
    assert torch.equal(other[3].weight, head)
    with pytest.raises(TaskError, match=r"not: 3\.bias, 3\.weight"):
        load(other, body)


def test_a_sparse_tensor_is_named(torch) -> None:
    with pytest.raises(TaskError, match="tensor 'w'"):
        arrays_of({"w": torch.eye(2).to_sparse()})


def test_the_proximal_term_has_the_gradient_that_fedprox_says(torch) -> None:
    made, start = network(torch), arrays_of(network(torch))
    term = proximal(made, start, 0.3)
    term.backward()
    named = {name for name, _ in made.named_parameters()}
    weights = {name: array for name, array in arrays_of(made).items() if name in named}
    assert term.item() == pytest.approx(FedProx(0.3).penalty(weights, start), rel=1e-5)
    for name, parameter in made.named_parameters():
        expected = FedProx(0.3).gradient(weights, start)[name]
        np.testing.assert_allclose(parameter.grad.numpy(), expected, rtol=1e-5, atol=1e-7)
    assert float(proximal(made, None, 0.3)) == 0.0


def test_fedadagrad_is_pytorchs_adagrad_on_the_sites_differences(torch, tmp_path) -> None:
    weight = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    steps = torch.optim.Adagrad([weight], lr=0.2, initial_accumulator_value=1e-6, eps=1e-3)
    strategy, model = FedAdagrad(0.2), {"w": np.zeros(4)}
    for number in range(1, 6):
        mean = np.random.default_rng(number).normal(size=4)
        weight.grad = weight.detach() - torch.from_numpy(mean)
        steps.step()
        model = strategy.aggregate(context(tmp_path, number, model), [update("a", w=mean)]).content
        np.testing.assert_allclose(model["w"], weight.detach().numpy(), rtol=1e-12)
