"""Deployments: what becomes of data that were announced for one."""

from __future__ import annotations

from domain import stream_records as sr
from domain.decisions.draft import Draft
from domain.needs import Needs
from domain.streams.announcements import AnnouncedData


def needs_of_data_arrived(cluster: str, said: AnnouncedData) -> Needs:  # noqa: ARG001 - those of the rule below
    return Needs()


def data_arrived(draft: Draft, source: sr.DataSource) -> None:
    """The deployment that its key names may have waited for these data."""
