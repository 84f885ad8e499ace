"""State dicts as arrays, as far as that is seen without PyTorch; a drill asks PyTorch itself (test_with_torch.py)."""

from __future__ import annotations

import numpy as np
import pytest

from fedyard.tasks import TaskError
from fedyard.tasks.pytorch import arrays_of, load


class Tensor:
    """What is asked of a tensor."""

    def __init__(self, values, *, sparse: bool = False) -> None:
        self.values, self.sparse = np.asarray(values), sparse
        self.shape, self.dtype = self.values.shape, f"torch.{self.values.dtype}"

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def numpy(self):
        if self.sparse:
            raise TypeError("can't convert Sparse layout tensor to numpy")
        return self.values


class Module:
    """What is asked of a module."""

    def __init__(self, **state: Tensor) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Tensor]:
        return self.state


def test_each_tensor_is_an_array_of_its_own() -> None:
    module = Module(weight=Tensor(np.ones((2, 2), dtype=np.float32)), steps=Tensor(np.array(3)))
    arrays = arrays_of(module)
    module.state["weight"].values[0, 0] = 9.0  # as training goes on
    assert arrays["weight"].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert (arrays["weight"].dtype, arrays["steps"].shape, int(arrays["steps"])) == (np.float32, (), 3)
    assert set(arrays_of({"body.weight": Tensor([1.0])})) == {"body.weight"}


def test_what_is_no_dense_tensor_is_named() -> None:
    with pytest.raises(TaskError, match=r"tensor 'table' \(torch\.float64\) has no form in numpy"):
        arrays_of(Module(table=Tensor([1.0], sparse=True)))
    with pytest.raises(TaskError, match="'extra' of the state dict is a dict, and no tensor"):
        arrays_of({"extra": {}})


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (b"bytes", "the model is bytes"),
        ({"weight": np.ones(2)}, r"arrays are not those of Module \(not: bias\)"),
        ({"weight": np.ones(2), "bias": np.ones(1), "head": np.ones(1)}, r"\(more: head\)"),
        ({"weight": np.ones(3), "bias": np.ones(1)}, r"weight has the shape \(3,\), and the module's \(2,\)"),
        ({"weight": np.array(["a", "b"]), "bias": np.ones(1)}, "weight holds <U1 values"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(model, why) -> None:
    with pytest.raises(TaskError, match=why):
        load(Module(weight=Tensor([1.0, 2.0]), bias=Tensor([0.0])), model)
