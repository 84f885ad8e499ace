"""Who is asked when data or a model was announced: each of them once, in the decision that takes the record."""

from __future__ import annotations

from domain import stream_records as sr
from domain.decisions.draft import Draft
from domain.decisions.streams import deployments, matching
from domain.needs import Needs
from domain.streams.announcements import Announced, AnnouncedData, AnnouncedModel


def needs_of_arrival(cluster: str, purpose: str, said: Announced) -> Needs:
    """What those have to know. purpose: of the topic."""
    match said:
        case AnnouncedData() if purpose == "control":
            return deployments.needs_of_data_arrived(cluster, said)
        case AnnouncedData():
            return matching.needs_of_data_arrived(cluster, said)
        case AnnouncedModel():
            return matching.needs_of_model_arrived(cluster, said)
        case _:
            return Needs()


def data_source_arrived(draft: Draft, source: sr.DataSource) -> None:
    if source.purpose == "control":
        deployments.data_arrived(draft, source)
    else:
        matching.data_arrived(draft, source)


def model_arrived(draft: Draft, announcement: sr.ModelAnnouncement) -> None:
    matching.model_arrived(draft, announcement)
