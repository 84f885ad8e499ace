"""Where the programs for PyTorch and for TensorFlow differ on the wire."""

from __future__ import annotations

from dataclasses import dataclass

from demo.kafkaml import network


@dataclass(frozen=True)
class Framework:
    """epochs: the argument of KWARGS_FIT. accuracy: the metric's name. reads_case: whether CASE means something."""

    epochs: str
    accuracy: str
    file_name: str
    reads_case: bool
    says_indefinite: bool
    group: str
    """Of inference, the group; empty: GROUP_ID."""
    copies_headers: bool
    model_is_source: bool

    def begun(self, model: bytes, inputs: int) -> network.Weights:
        """The network before its training, from what the hub has given: PyTorch's source, or a file of TensorFlow's."""
        if self.model_is_source:
            return network.begun(network.Shape(inputs, hidden=network.hidden_in(model.decode())))
        return network.unpacked(model)


FRAMEWORKS = {
    "pytorch": Framework(
        epochs="max_epochs",
        accuracy="accuracy",
        file_name="trained_model.pt",
        reads_case=False,
        says_indefinite=False,
        group="group_id",
        copies_headers=False,
        model_is_source=True,
    ),
    "tensorflow": Framework(
        epochs="epochs",
        accuracy="sparse_categorical_accuracy",
        file_name="trained_model.h5",
        reads_case=True,
        says_indefinite=True,
        group="",
        copies_headers=True,
        model_is_source=False,
    ),
}
