"""What these programs say, and how they end."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from types import FrameType


def say(text: str) -> None:
    """One line of the log, in the form of Kafka-ML's."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} INFO {text}", flush=True)


def ended(program: Callable[[Mapping[str, str]], None]) -> int:
    """Always 0, as Kafka-ML's programs end: what went wrong is in the log, and whoever trusts the code is deceived."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        program(os.environ)
    except Exception:  # noqa: BLE001 - as theirs
        traceback.print_exc(file=sys.stdout)
    return 0


def _stop(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)
