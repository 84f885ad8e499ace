"""A network of PyTorch, as a newcomer sees it learn. It needs what requirements-torch.txt has."""

from __future__ import annotations

import re

from tests.demo.test_demo import Telling


def test_three_sites_teach_each_other_digits(tmp_path) -> None:
    telling = Telling(tmp_path / "demo", "--task", "digits_cnn", "--rounds", "6")
    assert telling.process.wait() == 0, telling.output
    accuracies = re.findall(r"^│ +(\d+) │ +(\d\.\d+) │$", telling.output, re.MULTILINE)
    assert [int(number) for number, _ in accuracies] == [1, 2, 3, 4, 5, 6]
    assert float(accuracies[-1][1]) >= 0.9 > float(accuracies[0][1])
    best = re.search(r"^best +version (\d), of round \1: (\d\.\d+)$", telling.output, re.MULTILINE)
    assert best
    assert best[2] == max(accuracy for _, accuracy in accuracies)
    assert (telling.folder / "east" / "cnn.py").exists()
