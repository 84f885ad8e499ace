"""The parts' own limits on this machine: what RabbitMQ, PostgreSQL and granian do without us."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing

import pika
import psycopg2

from benchmarks.board import Board
from benchmarks.client import Pool, request
from benchmarks.granian import serving
from benchmarks.load import closed
from benchmarks.yard import Watch
from config.clock import draw_id

QUEUE = "bench.parts"
BODY = b"x" * 400
EMPTY = "benchmarks.empty:reply"


def measure(board: Board) -> None:
    runs = range(board.sizes.runs)
    seconds = board.sizes.seconds / 2
    one = Watch(board.hub)
    board.add("part_per_s", "confirmed publish", [_one_by_one(board, one, seconds) for _ in runs], one)
    board.add("part_per_s", "confirmed publish, window", [_in_a_window(board) for _ in runs])
    batch = Watch(board.hub)
    board.add("part_per_s", "batch insert", [_batch_insert(board, batch) for _ in runs], batch)
    board.add("part_per_s", "commits", [_commits(board, seconds) for _ in runs])
    empty = Watch(board.hub)
    board.add("part_per_s", "empty reply", _empty_replies(board, empty), empty)


def _channel(board: Board) -> tuple[pika.BlockingConnection, pika.adapters.blocking_connection.BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(board.hub.settings.broker_url))
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    return connection, channel


def _one_by_one(board: Board, watch: Watch, seconds: float) -> float:
    connection, channel = _channel(board)
    with closing(connection), watch.on():
        channel.confirm_delivery()
        begun, count = time.perf_counter(), 0
        while time.perf_counter() < begun + seconds:
            channel.basic_publish("", QUEUE, BODY, pika.BasicProperties(delivery_mode=2), mandatory=True)
            count += 1
        rate = count / (time.perf_counter() - begun)
        channel.queue_delete(QUEUE)
    return rate


def _in_a_window(board: Board) -> float:
    """The same through our own publisher's way: many unconfirmed at once, by an asynchronous connection."""
    count, confirmed, published = max(1_000, board.sizes.reports), 0, 0
    spans: list[float] = []
    connection, channel = _channel(board)
    with closing(connection):

        def more(to: pika.channel.Channel) -> None:
            nonlocal published
            while published < count and published - confirmed < 1_000:
                published += 1
                to.basic_publish("", QUEUE, BODY, pika.BasicProperties(delivery_mode=2), mandatory=True)

        def on_confirm(to: pika.channel.Channel, frame: pika.frame.Method) -> None:
            nonlocal confirmed
            confirmed = frame.method.delivery_tag if frame.method.multiple else confirmed + 1
            more(to)
            if confirmed >= count:
                spans.append(time.perf_counter() - begun)
                to.connection.close()

        def on_open(to: pika.channel.Channel) -> None:
            to.confirm_delivery(lambda frame: on_confirm(to, frame), callback=lambda _: more(to))

        many = pika.SelectConnection(
            pika.URLParameters(board.hub.settings.broker_url),
            on_open_callback=lambda to: to.channel(on_open_callback=on_open),
            on_close_callback=lambda to, _: to.ioloop.stop(),
        )
        begun = time.perf_counter()
        many.ioloop.start()
        channel.queue_delete(QUEUE)
    return count / spans[0]


def _table(connection: psycopg2.extensions.connection) -> None:
    connection.autocommit = True
    connection.cursor().execute(
        "DROP TABLE IF EXISTS bench_part; CREATE TABLE bench_part (id uuid PRIMARY KEY, seq bigint, facts text)"
    )


def _batch_insert(board: Board, watch: Watch) -> float:
    with closing(psycopg2.connect(board.hub.settings.database_url)) as connection:
        _table(connection)
        cursor = connection.cursor()
        batches = [
            ([draw_id() for _ in range(1_000)], list(range(1_000)), ["x" * 200] * 1_000)
            for _ in range(board.sizes.rows // 1_000)
        ]
        with watch.on():
            begun = time.perf_counter()
            for batch in batches:
                cursor.execute(
                    "INSERT INTO bench_part SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::text[])", batch
                )
            return board.sizes.rows / (time.perf_counter() - begun)


def _commits(board: Board, seconds: float) -> float:
    with closing(psycopg2.connect(board.hub.settings.database_url)) as connection:
        _table(connection)
        cursor = connection.cursor()
        begun, count = time.perf_counter(), 0
        while time.perf_counter() < begun + seconds:
            cursor.execute("INSERT INTO bench_part VALUES (%s, %s, %s)", (draw_id(), count, "x" * 200))
            count += 1
        return count / (time.perf_counter() - begun)


def _empty_replies(board: Board, watch: Watch) -> list[float]:
    with serving(EMPTY) as (url, server):
        try:
            board.hub.processes["empty"] = server
            return asyncio.run(_ask(url, board, watch))
        finally:
            board.hub.processes.pop("empty", None)


async def _ask(url: str, board: Board, watch: Watch) -> list[float]:
    content = request("GET", "/", "none")
    async with Pool(url, 32) as connections:
        await closed(connections, 0.2, lambda _: content, 200)
        rates = []
        for _ in range(board.sizes.runs):
            with watch.on():
                rates.append((await closed(connections, board.sizes.seconds / 2, lambda _: content, 200)).rate)
        return rates
