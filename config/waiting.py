"""Waiting, at the start, for what somebody else is still starting."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from config.clock import wait_for
from config.logs import unit

AGAIN_S = 1.0


def wait_until(
    attempt: Callable[[], object],
    *,
    there: str,
    absent: type[Exception] | tuple[type[Exception], ...],
    stop: threading.Event,
    log: logging.Logger,
) -> None:
    """Try once a second until it works, or until `stop`. there: what is waited for; absent: the errors of its absence.

    Each of those is a line in the log; any other error is raised.
    """
    while not stop.is_set():
        try:
            attempt()
        except absent as error:
            log.warning("waits for the %s", there, extra=unit(error=str(error)))
            wait_for(stop, AGAIN_S)
        else:
            return
