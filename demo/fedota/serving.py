"""What the two servers have in common: gRPC with bytes in and out, until they are told to stop."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import grpc

from fedyard.wire.stopping import on_stop_signal

THREADS = 32
"""A client that has checked in holds one until the goal count is reached."""
WITHIN_S = 10.0
RECONNECT_MS = 8000
Context: TypeAlias = grpc.ServicerContext
Unary = Callable[[bytes, Context], bytes]


def unary(answer: Unary) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(answer)


def streamed(answer: Callable[[Iterator[bytes], Context], Iterator[bytes]]) -> grpc.RpcMethodHandler:
    return grpc.stream_stream_rpc_method_handler(answer)


def collected(answer: Callable[[Iterator[bytes], Context], bytes]) -> grpc.RpcMethodHandler:
    return grpc.stream_unary_rpc_method_handler(answer)


def serve(methods: dict[str, grpc.RpcMethodHandler], leave: Callable[[], None] = lambda: None) -> None:
    """On PORT. methods: by their paths. leave: lets calls go that wait for something."""
    closing = threading.Event()
    on_stop_signal(closing.set)
    server = grpc.server(ThreadPoolExecutor(THREADS))
    services: dict[str, dict[str, grpc.RpcMethodHandler]] = {}
    for path, method in methods.items():
        _, service, name = path.split("/")
        services.setdefault(service, {})[name] = method
    for service, named in services.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, named),))
    server.add_insecure_port(f"0.0.0.0:{os.environ['PORT']}")
    server.start()
    say(f"listens on {os.environ['PORT']}")
    closing.wait()
    leave()
    server.stop(1.0).wait()


def dialled(address: str) -> grpc.Channel:
    return grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])


def say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()
