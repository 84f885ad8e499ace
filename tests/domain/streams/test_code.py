"""What a model's code has to bring, told without running it."""

from __future__ import annotations

import pytest

from domain.streams.code import flaw_of_code

KERAS = "model = tf.keras.Sequential()\nmodel.compile(optimizer='adam')"
TORCH = """
class Net(nn.Module):
    def loss_fn(self): return nn.NLLLoss()
    def optimizer(self): return torch.optim.Adam(self.parameters())
    def metrics(self): return {}
model = Net()
"""


@pytest.mark.parametrize(
    ("framework", "distributed", "code"),
    [
        ("tf", False, KERAS),
        ("tf", False, "if True:\n    model = 1"),
        ("tf", False, "def model(): ..."),
        ("tf", False, "from zoo import net as model"),
        ("tf", True, "inputs = 1\ntf.keras.Model(inputs=[inputs])"),
        ("tf", True, "x = tf.keras.Model()"),
        ("pth", False, TORCH),
    ],
)
def test_what_the_containers_take(framework, code, *, distributed) -> None:
    assert flaw_of_code(framework, distributed=distributed, imports="import os", code=code) is None


@pytest.mark.parametrize(
    ("framework", "distributed", "imports", "code", "says"),
    [
        ("tf", False, "", "model = (", "line 1"),
        ("tf", False, "import", KERAS, "imports: line 1"),
        ("tf", False, "", "net = 1", "no `model`"),
        ("tf", False, "", "def make():\n    model = 1", "no `model`"),
        ("tf", False, "", "", "no `model`"),
        ("tf", False, "", "model = 1\0", "code: "),
        ("tf", False, "", "model = " + "(" * 5000 + ")" * 5000, "code: "),
        ("tf", False, "", "model = " + "-" * 100_000 + "1", "nested"),
        ("tf", True, "", "", "the last line"),
        ("tf", True, "", "x = 1\nfor y in x: pass", "the last line"),
        ("pth", False, "", "model = Net()", "loss_fn()"),
        ("pth", False, "", TORCH.replace("def metrics", "def measures"), "metrics()"),
    ],
)
def test_what_they_would_fail_at(framework, imports, code, says, *, distributed) -> None:
    assert says in (flaw_of_code(framework, distributed=distributed, imports=imports, code=code) or "")


def test_nothing_of_it_is_run(tmp_path) -> None:
    left = tmp_path / "left"
    code = f"model = open({str(left)!r}, 'w').write('x')"
    assert flaw_of_code("tf", distributed=False, imports=f"open({str(left)!r}, 'w')", code=code) is None
    assert not left.exists()
