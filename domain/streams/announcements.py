"""What a record of a control topic says: data for a deployment, data for federated models, or such a model.

The form is Kafka-ML's: JSON without a version. What is not known of is kept with the record and does not matter;
what is known of and odd makes the record a flawed one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol, TypeAlias

import msgspec

from domain.streams.expressions import NoExpression, ranges_of
from domain.streams.nesting import MAX_DEPTH, is_deep
from domain.streams.restrictions import NoRestrictions, canonical

_PLAIN = r"^[^\x00]*$"
Short = Annotated[str, msgspec.Meta(max_length=250, pattern=_PLAIN)]
Long = Annotated[str, msgspec.Meta(max_length=4000, pattern=_PLAIN)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
InputFormat = Literal["RAW", "AVRO", "JSON", "TELEGRAF_STR_JSON"]
FlawCode = Literal["no_key", "bad_key", "no_value", "not_json", "wrong_types", "too_large"]


class Flaw(msgspec.Struct, frozen=True):
    """Why a record cannot be understood. detail: for people; it quotes nothing of the record's content."""

    code: str
    detail: str


class AnnouncedData(msgspec.Struct, frozen=True):
    """As in Kafka-ML 4.2 and 4.3. deployment_number: None where the key says nothing. restrictions_json: canonical.

    data_topic: an expression (domain/streams/expressions.py).
    """

    deployment_number: int | None
    data_topic: str
    unsupervised_topic: str | None
    input_format: str
    input_config_json: str
    description: str
    restrictions_json: str
    shape: str
    validation_rate: float
    test_rate: float
    total_msg: int | None
    incremental: bool


class AnnouncedModel(msgspec.Struct, frozen=True):
    """As in Kafka-ML 4.4. restriction_json: canonical."""

    string_id: str
    input_shape: str
    output_shape: str
    restriction_json: str
    min_data: int
    framework: str
    distributed: bool
    incremental: bool
    blockchain: bool


Announced: TypeAlias = AnnouncedData | AnnouncedModel | Flaw


class _Data(msgspec.Struct):
    topic: Annotated[str, msgspec.Meta(min_length=1, max_length=32_768, pattern=_PLAIN)]
    unsupervised_topic: Annotated[str, msgspec.Meta(max_length=32_768, pattern=_PLAIN)] | None = None
    input_format: InputFormat = "RAW"
    input_config: dict[str, Any] | str | None = None
    description: Long | None = ""
    dataset_restrictions: Any = None
    validation_rate: Rate | None = 0.0
    test_rate: Rate | None = 0.0
    total_msg: Count | None = None
    incremental: bool | None = False


class _Format(msgspec.Struct):
    input_shape: Short
    output_shape: Short = ""


class _Params(msgspec.Struct):
    federated_string_id: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]{1,64}(?!\n)$")]
    data_restriction: Any = None
    min_data: Count = 0


class _Model(msgspec.Struct):
    model_format: _Format
    federated_params: _Params
    framework: Annotated[str, msgspec.Meta(max_length=30, pattern=_PLAIN)] = "tf"
    distributed: bool = False
    incremental: bool = False
    blockchain: dict[str, Any] | None = None


MAX_CONFIG = 16_384
"""Characters of an input's configuration: what trains on the data finds it in a variable of its environment."""
MAX_TOPICS = 100
"""In which data may lie; all of them are asked for before anybody trains on the data."""
_data = msgspec.json.Decoder(_Data)
_model = msgspec.json.Decoder(_Model)
_encoder = msgspec.json.Encoder(order="sorted")


class Taken(Protocol):
    """A record as it was taken in; a `TakeRecord` is one."""

    @property
    def purpose(self) -> str: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes: ...
    @property
    def flaw(self) -> str: ...


def announced(command: Taken) -> Announced:
    """What the record says, by what its topic is for."""
    if command.flaw:
        return Flaw(command.flaw, _WHY.get(command.flaw, "it was not taken"))
    return read(command.purpose, command.key, command.value)


def read(purpose: str, key: bytes | None, value: bytes) -> Announced:
    """purpose: of the topic: control, model or data."""
    if not value:
        return Flaw("no_value", _WHY["no_value"])
    if is_deep(value):
        return Flaw("wrong_types", f"it is nested deeper than {MAX_DEPTH}")
    try:
        if purpose == "model":
            return _model_of(_model.decode(value))
        number = deployment_number_of(key) if purpose == "control" else None
        return number if isinstance(number, Flaw) else _data_of(_data.decode(value), number)
    except msgspec.ValidationError as error:
        return Flaw("wrong_types", _without_content(error))
    except (NoRestrictions, NoExpression, _Odd) as error:
        return Flaw("wrong_types", str(error)[:500])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Flaw("not_json", "its value is no JSON in UTF-8")


def deployment_number_of(key: bytes | None) -> int | Flaw:
    """The whole key, read as a big-endian number without a sign."""
    if not key:
        return Flaw("no_key", "it has no key, which names the deployment")
    number = int.from_bytes(key, "big")
    if number >= 2**63:
        return Flaw("bad_key", f"its key of {len(key)} bytes is no number that a deployment may have")
    return number


class _Odd(Exception):
    """What is said cannot be meant."""


def _data_of(said: _Data, number: int | None) -> AnnouncedData:
    unsupervised = said.unsupervised_topic or None
    ranges = [one for text in (said.topic, unsupervised) if text is not None for one in ranges_of(text) or ()]
    if len({one.topic for one in ranges}) > MAX_TOPICS:
        raise _Odd(f"the data lie in more than {MAX_TOPICS} topics")
    config = _config_of(said.input_config)
    shape = config.get("data_reshape") or ""
    if not isinstance(shape, str) or len(shape) > 250 or "\0" in shape:
        raise _Odd("input_config.data_reshape is no short text")
    config_json = _encoder.encode(config).decode()
    if len(config_json) > MAX_CONFIG:
        raise _Odd(f"input_config has more than {MAX_CONFIG} characters as JSON")
    rates = said.validation_rate or 0.0, said.test_rate or 0.0
    if sum(rates) > 1:
        raise _Odd("validation_rate and test_rate are more than 1 together")
    return AnnouncedData(
        deployment_number=number,
        data_topic=said.topic,
        unsupervised_topic=unsupervised,
        input_format=said.input_format,
        input_config_json=config_json,
        description=said.description or "",
        restrictions_json=canonical(said.dataset_restrictions),
        shape=shape,
        validation_rate=rates[0],
        test_rate=rates[1],
        total_msg=said.total_msg,
        incremental=said.incremental or False,
    )


def _config_of(said: dict[str, Any] | str | None) -> dict[str, Any]:
    """The loggers have written it as a text."""
    if isinstance(said, str):
        if is_deep(said.encode()):
            raise _Odd(f"input_config is nested deeper than {MAX_DEPTH}")
        try:
            said = msgspec.json.decode(said, type=dict[str, Any]) if said.strip() else {}
        except msgspec.DecodeError:
            raise _Odd("input_config is a text that is no JSON object") from None
    return said or {}


def _model_of(said: _Model) -> AnnouncedModel:
    return AnnouncedModel(
        string_id=said.federated_params.federated_string_id,
        input_shape=said.model_format.input_shape,
        output_shape=said.model_format.output_shape,
        restriction_json=canonical(said.federated_params.data_restriction),
        min_data=said.federated_params.min_data,
        framework=said.framework,
        distributed=said.distributed,
        incremental=said.incremental,
        blockchain=bool(said.blockchain),
    )


def _without_content(error: msgspec.ValidationError) -> str:
    """The rule and the place, which comes last; msgspec quotes odd values between quotation marks."""
    rule, _, path = str(error).rpartition(" - at ")
    rule = (rule or path).split(chr(39))[0].strip()
    return f"{rule} at {path}"[:500] if path.startswith("`$") else rule[:500]


_WHY = {
    "no_value": "it has no value",
    "too_large": "it is larger than max_record_bytes of its cluster; only its beginning is kept",
}
