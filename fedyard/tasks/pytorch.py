"""State dicts of PyTorch as arrays, and back: parameters, buffers and counters, each in its own type.

PyTorch is loaded by who calls these, and not before. bfloat16 needs the extra `fedyard[bfloat16]` as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedyard.tasks import Arrays, Content, TaskError
from fedyard.tasks.arrays import NUMBERS
from fedyard.tasks.bfloat16 import bits_of, is_bfloat16, of_bits
from fedyard.tasks.strategies.combining import Array, is_float

_NAMED = 3
"""Names of arrays in a sentence."""


def arrays_of(state: Any) -> dict[str, Array]:
    """A module's state dict, or one that is given (without some of its names, for a head that stays at the site).

    The arrays are copies: training goes on without changing them. Raises `TaskError` for a tensor that numpy cannot
    hold.
    """
    tensors = state if isinstance(state, Mapping) else state.state_dict()
    arrays = {}
    for name, held in tensors.items():
        if not hasattr(held, "detach"):
            raise TaskError(f"{name!r} of the state dict is a {type(held).__name__}, and no tensor")
        tensor = held.detach().cpu()
        try:
            if str(tensor.dtype) == "torch.bfloat16":
                import torch  # noqa: PLC0415 - large, and not everybody's

                arrays[name] = of_bits(name, tensor.contiguous().view(torch.int16).numpy().view(np.uint16).copy())
            else:
                arrays[name] = np.array(tensor.numpy())
        except (RuntimeError, TypeError):
            raise TaskError(
                f"tensor {name!r} ({tensor.dtype}) has no form in numpy: make it dense, and of a usual type"
            ) from None
    return arrays


def load(module: Any, model: Content, *, partly: bool = False) -> Any:
    """The module with a model's arrays, each in the type and on the device of the module's own tensor.

    partly: the module may have more than the model has, which stays as it is (a head of the site's own). Raises
    `TaskError` for other names or shapes.
    """
    if isinstance(model, bytes):
        raise TaskError("the model is bytes, and no arrays of a state dict")
    own = module.state_dict()
    more, less = sorted(set(model) - set(own)), [] if partly else sorted(set(own) - set(model))
    if more or less:
        said = [f"{word} {', '.join(names[:_NAMED])}" for word, names in (("more:", more), ("not:", less)) if names]
        raise TaskError(f"the model's arrays are not those of {type(module).__name__} ({'; '.join(said)})")
    arrays = {name: np.asarray(array) for name, array in model.items()}
    for name, array in arrays.items():
        if array.shape != tuple(own[name].shape):
            raise TaskError(
                f"the model's {name} has the shape {array.shape}, and the module's {tuple(own[name].shape)}"
            )
        if array.dtype.kind not in NUMBERS and not is_bfloat16(array.dtype):
            raise TaskError(f"the model's {name} holds {array.dtype} values, which are no tensor's")
    module.load_state_dict({name: _tensor(array) for name, array in arrays.items()}, strict=not partly)
    return module


def _tensor(array: Array) -> Any:
    import torch  # noqa: PLC0415 - large, and not everybody's

    if is_bfloat16(array.dtype):
        return torch.from_numpy(np.array(bits_of(array).view(np.int16), order="C")).view(torch.bfloat16)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def proximal(module: Any, model: Arrays | None, mu: float) -> Any:
    """FedProx' term for the loss: mu/2 times the squared distance of the module's parameters to the round's model.

    model: None where there is none yet, for which it is 0; parameters that are not in it count nothing. Li et al. 2020,
    arXiv:1812.06127.
    """
    import torch  # noqa: PLC0415 - large, and not everybody's

    total = torch.zeros(())
    for name, parameter in module.named_parameters():
        if model is None or name not in model or not is_float(np.asarray(model[name])):
            continue
        start = torch.from_numpy(np.array(model[name], dtype=np.float64)).to(parameter.device, parameter.dtype)
        total = total.to(parameter.device) + ((parameter - start) ** 2).sum()
    return total * (mu / 2)
