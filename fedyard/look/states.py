"""How a state looks: its word, the icon beside it and the colour of both follow from one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

Tone: TypeAlias = Literal["good", "live", "waits", "warns", "bad", "over"]
"""What it means for who looks: well; going on; waits for somebody; look here; it failed; it is over, or never was."""
TONES: tuple[Tone, ...] = get_args(Tone)

_WORDS: Mapping[Tone, str] = {
    "good": "succeeded completed done submitted online active acknowledged current stored checked delivered serving "
    "sent ready deployed finished replayed started accepted well ok verified enabled yes stored confirmed admin",
    "live": "running training uploading aggregating selecting selection configuration reporting preparing starting "
    "live sending checking decided leads",
    "waits": "created waiting invited requested queued declared awaited wanted pending scheduled",
    "warns": "silent superseded late straggler disabled rejoined stale lost dropped poisoned mismatch rejected",
    "bad": "failed refused revoked dead down quarantined error unhealthy damaged",
    "over": "cancelled skipped retired declined left expired moved deleted stopped ended withdrawn purged archived "
    "closed unknown none off no used",
}
_TONES: Mapping[str, Tone] = {word: tone for tone, words in _WORDS.items() for word in words.split()}


def tone_of(word: str) -> Tone:
    """The tone of a state. One that nobody named looks as if it were over: grey, which claims nothing."""
    return _TONES.get(word, "over")
