"""Which texts are let in: names that look like what they are, and prose without characters that act."""

from __future__ import annotations

import unicodedata

from fedyard.wire.shown import HIDDEN

NAMES = frozenset({"name", "label"})
PROSE = frozenset({"description", "data_format", "notes", "note"})
"""What people write. Reasons are also made by programs at sites: they come as they are, and are shown as such."""
_ALPHABETS = frozenset({"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE", "COPTIC", "GEORGIAN"})
"""Those that have letters of the same shape: a name is written in one of them (docs/adr/0016)."""
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Unfit(ValueError):
    """A value of the right form that cannot be taken; says which field, and why, never the value."""


def fault_of_name(text: str) -> str | None:
    """What is wrong with a name that people choose by, or None."""
    if text.isascii():
        return None  # its control characters are refused by its pattern
    if any(unicodedata.category(one) in HIDDEN for one in text):
        return "holds a control, format or unassigned character"
    if unicodedata.normalize("NFKC", text) != text:
        return "is not in Unicode normal form (NFKC)"
    letters = (one for one in text if unicodedata.category(one).startswith("L"))
    alphabets = {unicodedata.name(one, "").partition(" ")[0] for one in letters} & _ALPHABETS
    if len(alphabets) > 1:
        return f"mixes letters of {' and '.join(sorted(one.title() for one in alphabets))}"
    return None


def fault_of_prose(text: str) -> str | None:
    """What is wrong with a text, or None: it holds no control characters but line feed and tab, and keeps its order."""
    if text.isprintable():
        return None
    for one in text:
        if one not in "\n\t" and (one in _BIDI or unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")):
            return f"holds the character U+{ord(one):04X}; line feed and tab are the only ones of its kind"
    return None
