"""Announcements: split to fit, heard over PostgreSQL, and a gap is known as one."""

from __future__ import annotations

import queue

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from devservers.postgres import PrivatePostgres
from storage.database import open_database
from storage.signals import Announcement, Decided, PostgresSignals, Tip, _joined, payloads
from tests.waiting import until

ids = st.uuids().map(str)
decided = st.builds(Decided, ids, st.just("accepted"), st.just(200), st.text("ab", max_size=9000), st.just("d" * 64))
announcements = st.builds(
    Announcement,
    decided=st.lists(decided, max_size=6),
    inboxes=st.dictionaries(ids, st.builds(Tip, st.integers(1, 10**9), st.text("0a", max_size=32)), max_size=300),
    runs=st.dictionaries(ids, st.integers(1, 10**6), max_size=5),
    logs=st.dictionaries(ids, st.integers(1, 10**6), max_size=5),
    tokens=st.booleans(),
    history=st.booleans(),
)


@given(announcements)
def test_payloads_fit_and_say_the_same(whole: Announcement) -> None:
    texts = payloads(whole)
    assert all(len(text.encode()) < 8000 for text in texts)
    again = msgspec.json.decode(_joined([msgspec.json.decode(t, type=Announcement) for t in texts]), type=Announcement)
    assert (again.inboxes, again.runs, again.logs, again.tokens, again.history) == (
        whole.inboxes,
        whole.runs,
        whole.logs,
        whole.tokens,
        whole.history,
    )
    assert [one.id for one in again.decided] == [one.id for one in whole.decided]
    assert all(
        short.answer_json in ("", one.answer_json) for short, one in zip(again.decided, whole.decided, strict=True)
    )


def test_nothing_to_tell_sends_nothing() -> None:
    assert payloads(Announcement()) == []


def test_a_database_that_is_away_is_told_in_words(postgres: PrivatePostgres) -> None:
    signals = PostgresSignals(postgres.database().replace(str(postgres.port), "1"), retry_s=0.1)
    signals.subscribe(lambda _: None, lambda: None)
    until(lambda: "Connection refused" in (signals.ready() or ""))
    assert postgres.password not in (signals.ready() or "")
    signals.close()


def test_an_announcement_is_heard_and_a_cut_is_a_reset(postgres: PrivatePostgres) -> None:
    url = postgres.database()
    database = open_database(url)
    heard: queue.Queue[Announcement] = queue.Queue()
    resets: queue.Queue[None] = queue.Queue()
    signals = PostgresSignals(url, retry_s=0.1)
    signals.subscribe(heard.put, lambda: resets.put(None))
    resets.get(timeout=10)
    said = Announcement(runs={"5f1d6a52-0c0e-5e0f-9c54-f3d7a6d7a4b1": 3})
    with database.connection():
        database.execute("SELECT pg_notify('fedyard', %s)", (payloads(said)[0],))
        assert heard.get(timeout=10) == said
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fedyard listen'"
        )
    resets.get(timeout=10)
    assert signals.ready() is None
    with database.connection():
        database.execute("SELECT pg_notify('fedyard', %s)", (payloads(said)[0],))
    assert heard.get(timeout=10) == said
    signals.close()
    database.close()
