"""Why RabbitMQ cannot be used, in words for an operator; never with a URL or a password."""

from __future__ import annotations

import socket

from pika import exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectorPhaseErrorBase, AMQPConnectorStackTimeout

_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (exceptions.ProbableAuthenticationError, "the login was refused"),
    (exceptions.AuthenticationError, "the login was refused"),
    (exceptions.ProbableAccessDeniedError, "there is no such vhost, or it is closed to this user"),
    (exceptions.ConnectionBlockedTimeout, "it accepted nothing for too long: see its memory and disk alarms"),
    (exceptions.AMQPHeartbeatTimeout, "it fell silent"),
    (exceptions.IncompatibleProtocolError, "what answers there does not speak AMQP"),
    (socket.gaierror, "the host's name is not known"),
    (AMQPConnectorStackTimeout, "no answer in time"),
    (TimeoutError, "no answer in time"),
)


def cause_of(error: BaseException) -> str:
    """What happened at the bottom of it: pika wraps a cause in others."""
    inner = _inside(error)
    if inner is not None:
        return cause_of(inner)
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words
    if isinstance(error, exceptions.ConnectionClosedByBroker | exceptions.ChannelClosedByBroker):
        return f"it said {error.reply_code} {error.reply_text.split(' - ')[0]}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__


def _inside(error: BaseException) -> BaseException | None:
    if isinstance(error, AMQPConnectorPhaseErrorBase) and isinstance(error.exception, BaseException):
        return error.exception
    wrapped = getattr(error, "exceptions", None) or error.args
    last = wrapped[-1] if wrapped else None
    return last if isinstance(last, BaseException) else None
