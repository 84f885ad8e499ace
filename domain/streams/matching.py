"""Which data may train which federated model: the rule, in one place, and the key by which a store finds what it fits.

The law, as Kafka-ML's federated back-end documents it, and as its own defects do not break it:

- the model's announcement and the data's are live, and the run that trains the model has not ended;
- the data are RAW: nothing else says a shape. Its text is the model's, to the letter; of a distributed model with more
  than two dimensions the last one does not count;
- the restrictions are deeply equal, whichever form they were announced in (restrictions.py);
- data that go on for ever are for models that learn for ever, and the others for the others;
- of data that end there are as many records as the model asks for, or more;
- there is an image for the framework: TensorFlow does every case, PyTorch the first one only;
- a model that keeps its rounds in a ledger of a block chain is never trained here.

What does not fit is said, one `Misfit` for each: a pair without any fits. None is an error, so that odd data spoil
nothing but their own match.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from domain.ids import Id, derive, sha256_hex
from domain.states import RUN_FINAL, AnnouncementState, RunState
from domain.stream_records import DataSource, ModelAnnouncement
from domain.streams.serving import worker_case

RAW = "RAW"
FEDERATED_IMAGES = {"tf": "tensorflow_federated", "pth": "pytorch_federated"}
"""A framework, as announced -> which image trains it (FEDYARD_STREAMS, images)."""
CASES_OF = {"tf": (1, 2, 3, 4), "pth": (1,)}
"""What these images can do."""


class Misfit(StrEnum):
    """Why a pair does not fit."""

    MODEL_GONE = "model_gone"
    NO_RUN = "no_run"
    RUN_ENDED = "run_ended"
    LEDGER = "ledger"
    FRAMEWORK = "framework"
    DATA_GONE = "data_gone"
    FORMAT = "format"
    SHAPE = "shape"
    RESTRICTIONS = "restrictions"
    KIND = "kind"
    AMOUNT = "amount"


def misfits_of_model(model: ModelAnnouncement, run: RunState | None, images: Collection[str]) -> tuple[Misfit, ...]:
    """What keeps it from fitting any data, in the order of `Misfit`.

    run: of the run that trains the model; None: there is none. images: the names of those that the settings have.
    """
    found = {
        Misfit.MODEL_GONE: model.state != AnnouncementState.LIVE,
        Misfit.NO_RUN: run is None,
        Misfit.RUN_ENDED: run in RUN_FINAL,
        Misfit.LEDGER: model.blockchain,
        Misfit.FRAMEWORK: not _has_image(model, images),
    }
    return tuple(misfit for misfit, there in found.items() if there)


def misfits(
    model: ModelAnnouncement, data: DataSource, run: RunState | None, images: Collection[str]
) -> tuple[Misfit, ...]:
    """What does not fit, in the order of `Misfit`; nothing: they fit. run, images: as above."""
    found = {
        Misfit.DATA_GONE: data.state != AnnouncementState.LIVE,
        Misfit.FORMAT: data.input_format != RAW,
        Misfit.SHAPE: data.input_format == RAW and (not data.shape or data.shape != shape_of_data(model)),
        Misfit.RESTRICTIONS: data.restrictions_json != model.restriction_json,
        Misfit.KIND: data.incremental != model.incremental,
        Misfit.AMOUNT: missing_records(model, data) != 0,
    }
    return (*misfits_of_model(model, run, images), *(misfit for misfit, there in found.items() if there))


def case_of(model: ModelAnnouncement) -> int:
    """CASE, as the workers for it are told."""
    return worker_case(distributed=model.distributed, incremental=model.incremental, ledger=model.blockchain)


def shape_of_data(model: ModelAnnouncement) -> str:
    """The shape that data for this model have, as text."""
    last_counts = not model.distributed or len(model.input_shape.split()) <= 2
    return model.input_shape if last_counts else model.input_shape.rpartition(" ")[0]


def missing_records(model: ModelAnnouncement, data: DataSource) -> int | None:
    """How many more it would take; None: the data end, and do not say how many there are."""
    if data.incremental:
        return 0
    return None if data.total_msg is None else max(0, model.min_data - data.total_msg)


def _has_image(model: ModelAnnouncement, images: Collection[str]) -> bool:
    image = FEDERATED_IMAGES.get(model.framework)
    return image in images and (model.blockchain or case_of(model) in CASES_OF[model.framework])


# keys: what is equal in all that fits, so that only that is looked at


def key_of_model(model: ModelAnnouncement) -> str:
    """Data that fit have the same key, and enough records besides; empty: none ever will."""
    if model.blockchain or model.framework not in FEDERATED_IMAGES:
        return ""
    return _key(shape_of_data(model), model.restriction_json, incremental=model.incremental)


def key_of_data(data: DataSource) -> str:
    """Models that fit have the same key, and ask for no more records; empty: none ever will."""
    unknown = not data.incremental and data.total_msg is None
    if data.input_format != RAW or unknown:
        return ""
    return _key(data.shape, data.restrictions_json, incremental=data.incremental)


def _key(shape: str, restrictions: str, *, incremental: bool) -> str:
    kind = "online" if incremental else "ends"
    return sha256_hex(f"{kind}\n{shape}\n{restrictions}".encode()) if shape else ""


# ids: from what is matched, so that a pair is matched once however often it is announced


def stream_of(data: DataSource) -> Id:
    """The data themselves, whoever announces them again: where they lie."""
    return derive("data stream", data.cluster, data.data_topic, data.unsupervised_topic or "")


def match_id(model: ModelAnnouncement, data: DataSource) -> Id:
    """Of a model and data, not of two announcements of them."""
    return derive("match", model.cluster, model.string_id, stream_of(data))


def adopted_run_id(cluster: str, string_id: str) -> Id:
    """The run that this hub gives a model that is trained elsewhere."""
    return derive("adopted", cluster, string_id)


def client_id_of(match: Id) -> str:
    """What its worker is called in topics: 8 hexadecimal digits."""
    return sha256_hex(match.encode())[:8]


def newest_of(announcements: Collection[DataSource]) -> DataSource:
    """The one that counts, of several of the same data: in whichever order they came."""
    return max(announcements, key=lambda one: (one.announced_at, one.topic, one.partition, one.log_offset, one.id))


def newest_model(announcements: Collection[ModelAnnouncement]) -> ModelAnnouncement:
    """The same of a model's."""
    return max(announcements, key=lambda one: (one.announced_at, one.topic, one.partition, one.log_offset, one.id))


# for people


def sentence_of_model(misfit: Misfit, model: ModelAnnouncement) -> str:
    """Why no data fit it; empty: that is no reason of the model's."""
    said = {
        Misfit.MODEL_GONE: f"the model's announcement is {model.state}",
        Misfit.NO_RUN: f"no run of this hub trains model {model.string_id}: if it is trained elsewhere, name a "
        f"models_project for cluster {model.cluster}; if that project has as many such runs as it may, end some and "
        "announce the model again",
        Misfit.RUN_ENDED: "the run that trains the model has ended",
        Misfit.LEDGER: "the model keeps its rounds in a ledger of a block chain, which is not supported",
        Misfit.FRAMEWORK: f"there is no image for case {case_of(model)} of framework {model.framework!r}",
    }
    return said.get(misfit, "")


def sentence(misfit: Misfit, model: ModelAnnouncement, data: DataSource) -> str:
    """Why, with what it would take."""
    goes_on = "go on for ever, and the model learns from data that end"
    ends = "end, and the model learns for ever"
    missing = missing_records(model, data)
    amount = f"{missing} records are missing: there are {data.total_msg}, the model asks for {model.min_data}"
    said = {
        Misfit.DATA_GONE: f"the data's announcement is {data.state}",
        Misfit.FORMAT: f"the data are {data.input_format}, which says no shape: only RAW can be compared",
        Misfit.SHAPE: f"the data's shape is {data.shape!r}, the model wants {shape_of_data(model)!r}",
        Misfit.RESTRICTIONS: f"the data's restrictions are {data.restrictions_json}, the model's "
        f"{model.restriction_json}",
        Misfit.KIND: "the data " + (goes_on if data.incremental else ends),
        Misfit.AMOUNT: amount
        if missing is not None
        else f"the data do not say how many records there are, and the model asks for {model.min_data}",
    }
    return said.get(misfit) or sentence_of_model(misfit, model)
