"""Fedota's gRPC service FlStatus, the side of its webserver: the one module that knows gRPC.

Its messages are read and written by hand: the request is proto3 of two numbers (`stage = 1`, an enum; `roundNo = 2`,
uint32), the answer has no field. Generated code would bring protobuf's runtime, which has to fit the generator's
version, for the forty lines of proto3.py; the tests hold these against that runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from fedyard.sidecar.proto3 import read_fields
from fedyard.sidecar.rounds import Stage

if TYPE_CHECKING:
    import grpc

SERVICE, METHOD = "FlStatus", "RoundStatus"
THREADS: Final = 4
MAX_CALLS: Final = 64
MAX_BYTES: Final = 4096
_UINT32: Final = 0xFFFFFFFF
_STAGE, _NUMBER = 1, 2


def read_status(message: bytes) -> tuple[int, Stage]:
    """Round number and stage of a FlRoundStatus; fields that are not known are passed over. Raises `ValueError`."""
    numbers = read_fields(message).numbers
    return numbers.get(_NUMBER, 0) & _UINT32, Stage(numbers.get(_STAGE, 0) & _UINT32)


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
        """Calls that are being answered are; gRPC has been seen to say never that it has stopped."""
        self._server.stop(1.0).wait(3.0)
