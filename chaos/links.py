"""TCP links on loopback that can be slow, silent or cut: the network between two parts.

All links of a test live in one thread. Bytes are never dropped from the middle of a connection, as TCP never does:
a silent link holds them back, a cut one ends the connection.
"""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

CHUNK = 65_536
MAX_WAITING = 64
"""Chunks on their way in a slow link, for each direction of a connection."""


class Link:
    """One way to one port. Made by `Links.open`; its methods may be called from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: int, delay_s: float, cut_every_s: float) -> None:
        self.target = target
        self.port = 0
        self.cuts = 0
        self._loop = loop
        self._delay_s = delay_s
        self._cut_every_s = cut_every_s
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    def silence(self) -> None:
        """From now on nothing passes; new connections are taken and hear nothing."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def resume(self) -> None:
        """Pass on what was held back, and everything after it."""
        self._loop.call_soon_threadsafe(self._flows.set)

    def cut(self) -> None:
        """End every connection; new ones are welcome."""
        self._loop.call_soon_threadsafe(self._cut)

    # on the links' own thread

    async def serve(self) -> None:
        """Listen on a port of the system's choice."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        if self._cut_every_s:
            self._loop.call_later(self._cut_every_s, self._cut_again)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._flows.set()
        self._cut()

    def _cut(self) -> None:
        self.cuts += 1
        for writer in list(self._writers):
            writer.transport.abort()

    def _cut_again(self) -> None:
        self._cut()
        self._loop.call_later(self._cut_every_s, self._cut_again)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._flows.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(far_writer)
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            for each in (writer, far_writer):
                self._writers.discard(each)
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction, until its end."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_WAITING)
        delivering = self._loop.create_task(self._deliver(under_way, writer))
        try:
            chunk = b"first"
            while chunk:
                chunk = await reader.read(CHUNK)
                await under_way.put((self._loop.time() + self._delay_s, chunk))
            await delivering
        except OSError:
            pass
        finally:
            delivering.cancel()
            writer.transport.abort()

    async def _deliver(self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                due, chunk = await under_way.get()
                if (left := due - self._loop.time()) > 0:
                    await asyncio.sleep(left)
                await self._flows.wait()
                if not chunk:
                    await writer.drain()
                    return
                writer.write(chunk)
                await writer.drain()
        except OSError:
            return


class Links:
    """The thread of all links, for the block."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # connections that end are our trade
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._thread.start()
        self._links: list[Link] = []
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        def end() -> None:
            for link in self._links:
                link.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.call_soon(self._loop.stop)

        self._loop.call_soon_threadsafe(end)
        self._thread.join(10)
        if not self._thread.is_alive():
            self._loop.close()

    def open(self, target: int, *, delay_s: float = 0.0, cut_every_s: float = 0.0) -> Link:
        """A link to that loopback port, ready to be used at its own `port`. delay_s: in each direction."""
        link = Link(self._loop, target, delay_s, cut_every_s)
        asyncio.run_coroutine_threadsafe(link.serve(), self._loop).result(10)
        self._links.append(link)
        return link
