"""Federated models and data that fit them."""

from __future__ import annotations

from domain import records as r
from domain import stream_records as sr
from domain.decisions.draft import Draft
from domain.needs import Needs
from domain.streams.announcements import AnnouncedData, AnnouncedModel


def needs_of_data_arrived(cluster: str, said: AnnouncedData) -> Needs:  # noqa: ARG001 - those of the rule below
    return Needs()


def needs_of_model_arrived(cluster: str, said: AnnouncedModel) -> Needs:  # noqa: ARG001 - those of the rule below
    return Needs()


def data_arrived(draft: Draft, source: sr.DataSource) -> None:
    """Models may have waited for these data."""


def model_arrived(draft: Draft, announcement: sr.ModelAnnouncement) -> None:
    """Data may lie there that fit this model."""


def worker_ended(draft: Draft, workload: r.Workload) -> None:
    """A worker of a federated run has ended for good."""
