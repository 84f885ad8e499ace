"""How a state looks: its word, the icon beside it and the colour of both follow from one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

Tone: TypeAlias = Literal["good", "live", "waits", "warns", "bad", "over"]
"""What it means for who looks: well; going on; waits for somebody; look here; it failed; it is over, or never was."""
TONES: tuple[Tone, ...] = get_args(Tone)

_WORDS: Mapping[Tone, tuple[str, ...]] = {
    "good": (
        "accepted acknowledged active admitted aggregated checked completed confirmed current delivered deployed done",
        "enabled finished holds leads ok online ready replayed same sent serving started stored submitted succeeded",
        "best scored verified well yes",
    ),
    "live": (
        "aggregating checking configuration live preparing reporting running selecting selection sending starting",
        "scoring training uploading",
    ),
    "waits": ("awaited created declared invited pending queued requested scheduled waiting wanted",),
    "warns": (
        "blocked different disabled dropped full late left_out lost mismatch rejected silent stale straggler",
        "superseded unscored",
    ),
    "bad": ("damaged dead down error failed quarantined refused revoked unhealthy",),
    "over": (
        "archived cancelled closed declined deleted ended expired left moved no none off out purged retired skipped",
        "resting stopped unknown used withdrawn",
    ),
}
_TONES: Mapping[str, Tone] = {word: tone for tone, lines in _WORDS.items() for line in lines for word in line.split()}


def tone_of(word: str) -> Tone:
    """The tone of a state. One that nobody named looks as if it were over: grey, which claims nothing."""
    return _TONES.get(word, "over")
