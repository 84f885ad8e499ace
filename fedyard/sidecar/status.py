"""Fedota's gRPC service FlStatus, the side of its webserver: the one module that knows gRPC.

Its messages are read and written by hand: the request is proto3 of two numbers (`stage = 1`, an enum; `roundNo = 2`,
uint32), the answer has no field. Generated code would bring protobuf's runtime, which has to fit the generator's
version, for twenty lines; the tests hold these against that runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from fedyard.sidecar.rounds import Stage

if TYPE_CHECKING:
    import grpc

SERVICE, METHOD = "FlStatus", "RoundStatus"
THREADS: Final = 4
MAX_CALLS: Final = 64
MAX_BYTES: Final = 4096
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}
_STAGE, _NUMBER = 1, 2


def read_status(message: bytes) -> tuple[int, Stage]:
    """Round number and stage of a FlRoundStatus; fields that are not known are passed over. Raises `ValueError`."""
    number, stage, at = 0, 0, 0
    while at < len(message):
        key, at = _varint(message, at)
        field, form = key >> 3, key & 7
        value = 0
        if form == _VARINT:
            value, at = _varint(message, at)
        elif form == _BYTES:
            size, at = _varint(message, at)
            at += size
        elif form in _SIZES:
            at += _SIZES[form]
        else:
            raise ValueError(f"wire type {form} is none of proto3's")
        if at > len(message):
            raise ValueError("the message ends within a field")
        if (field, form) == (_STAGE, _VARINT):
            stage = value & 0xFFFFFFFF
        elif (field, form) == (_NUMBER, _VARINT):
            number = value & 0xFFFFFFFF
    return number, Stage(stage)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        value |= (message[at] & 0x7F) << shift
        at += 1
        if not message[at - 1] & 0x80:
            return value, at
    raise ValueError("a number has no end")


class StatusServer:
    """On localhost alone: who can reach it is trusted, as Fedota's protocol has no token."""

    def __init__(self, port: int, take: Callable[[int, Stage], None]) -> None:
        """take: told round number and stage; it returns at once. Raises `OSError` where the port cannot be had, and
        `ImportError` where gRPC is not installed."""
        import grpc  # noqa: PLC0415 - an extra of the package

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                number, stage = read_status(request)
            except ValueError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            take(number, stage)
            return b""

        self._server = grpc.server(
            ThreadPoolExecutor(THREADS, thread_name_prefix="status"),
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MAX_BYTES)],
            maximum_concurrent_rpcs=MAX_CALLS,
        )
        method = grpc.unary_unary_rpc_method_handler(answer)  # bytes in, bytes out
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: method}),))
        try:
            self.port: int = self._server.add_insecure_port(f"127.0.0.1:{port}")
            with suppress(RuntimeError):  # a machine without IPv6
                self._server.add_insecure_port(f"[::1]:{self.port}")
        except RuntimeError:
            raise OSError(f"port {port} of localhost cannot be listened on") from None
        self._server.start()

    def stop(self) -> None:
        """Calls that are being answered are."""
        self._server.stop(1.0).wait()
