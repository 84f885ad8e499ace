"""Kubernetes' quantities: `100m`, `1Gi`, `1e3`."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

_FORM = re.compile(r"^([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([eE][+-]?\d+)|(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E))?$")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
WRONG = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"  # the server's words
)


def quantity(value: Any) -> Fraction:
    """As a number of units (cores, bytes, pieces). ValueError with the server's sentence."""
    found = _FORM.match(str(value))
    if found is None:
        raise ValueError(WRONG)
    number, exponent, suffix = Fraction(found[1]), found[2], found[3]
    if exponent:
        return number * Fraction(10) ** int(exponent[1:])
    if suffix in _BINARY:
        return number * 1024 ** _BINARY[suffix]
    return number * Fraction(10) ** _DECIMAL[suffix] if suffix else number


def canonical(value: Any) -> str:
    """As the server keeps it: `1000m` is `1`, `0.5` is `500m`, `1024Mi` is `1Gi`, `64000000` is `64M`."""
    amount, text = quantity(value), str(value)
    if amount == 0:
        return "0"
    if text[-1] == "i":
        power = next((p for p in range(6, 0, -1) if (amount / 1024**p).denominator == 1), 0)
        suffix = next((name for name, each in _BINARY.items() if each == power), "")
        return (
            f"{amount / 1024**power}{suffix}" if (amount / 1024**power).denominator == 1 else f"{int(amount * 1000)}m"
        )
    power = next((p for p in range(18, -10, -3) if (amount / Fraction(10) ** p).denominator == 1), -9)
    suffix = next((name for name, each in _DECIMAL.items() if each == power), "")
    return f"{-(-amount // Fraction(10) ** power)}{suffix}"


def shown(amount: Fraction, name: str = "") -> str:
    """As the server writes it in a quota's status."""
    if amount.denominator != 1:
        return f"{int(amount * 1000)}m"
    whole = int(amount)
    if "memory" in name or "storage" in name:
        for suffix, power in reversed(_BINARY.items()):
            if whole and whole % 1024**power == 0:
                return f"{whole // 1024**power}{suffix}"
    return str(whole)
