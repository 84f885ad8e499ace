"""Fedota's FlStatus: what is read by hand is what protobuf's own runtime reads, and a gRPC client is answered."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from fedyard.sidecar.rounds import Stage
from fedyard.sidecar.status import StatusServer, read_status


def fedotas_message():
    """FlRoundStatus: `Stages stage = 1; uint32 roundNo = 2;`, in no package."""
    file = descriptor_pb2.FileDescriptorProto(name="fl_status.proto", syntax="proto3")
    stages = file.enum_type.add(name="Stages")
    for number, name in enumerate(["SELECTION", "CONFIGURATION", "REPORTING", "COMPLETED"]):
        stages.value.add(name=name, number=number)
    kind = descriptor_pb2.FieldDescriptorProto
    message = file.message_type.add(name="FlRoundStatus")
    message.field.add(name="stage", number=1, type=kind.TYPE_ENUM, label=kind.LABEL_OPTIONAL, type_name=".Stages")
    message.field.add(name="roundNo", number=2, type=kind.TYPE_UINT32, label=kind.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("FlRoundStatus"))


FlRoundStatus = fedotas_message()


@given(st.integers(0, 2**32 - 1), st.sampled_from(Stage))
def test_it_is_read_as_protobuf_writes_it(number, stage) -> None:
    assert read_status(FlRoundStatus(stage=int(stage), roundNo=number).SerializeToString()) == (number, stage)


@given(st.binary(max_size=40))
def test_what_is_read_of_any_bytes_is_what_protobuf_reads(message) -> None:
    try:
        theirs = FlRoundStatus.FromString(message)
    except Exception:  # noqa: BLE001 - its decoder's own error has no public name
        return  # what is damaged may be read leniently: it is two numbers all the same
    try:
        found = read_status(message)
    except ValueError:
        groups = any(byte & 7 in (3, 4) for byte in message)
        assert groups or theirs.stage not in list(Stage), "an unknown stage, or a group of proto2"
    else:
        assert found == (theirs.roundNo, theirs.stage)


@pytest.mark.parametrize(
    "message", [b"\x08", b"\x08\x04", b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0b", b"\x1a\x05ab"]
)
def test_what_is_none_is_refused(message) -> None:
    with pytest.raises(ValueError):
        read_status(message)


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert read_status(b"\x08\x02\x10\x07\x1a\x02ab\x21\0\0\0\0\0\0\0\0\x2d\0\0\0\0\x30\x05") == (7, Stage.REPORTING)


def test_a_client_of_gRPC_reports_and_what_is_none_of_fedotas_is_refused() -> None:  # noqa: N802 - its name
    taken = []
    server = StatusServer(0, lambda number, stage: taken.append((number, stage)))
    try:
        with grpc.insecure_channel(f"localhost:{server.port}") as channel:
            call = channel.unary_unary("/FlStatus/RoundStatus")
            assert call(FlRoundStatus(stage=3, roundNo=4).SerializeToString(), timeout=10) == b""
            assert taken == [(4, Stage.COMPLETED)]
            for path, message, wanted in (
                ("/FlStatus/RoundStatus", b"\x08\x09", grpc.StatusCode.INVALID_ARGUMENT),
                ("/FlStatus/RoundStatus", bytes(5000), grpc.StatusCode.RESOURCE_EXHAUSTED),
                ("/FlStatus/Other", b"", grpc.StatusCode.UNIMPLEMENTED),
            ):
                with pytest.raises(grpc.RpcError) as error:
                    channel.unary_unary(path)(message, timeout=10)
                assert error.value.code() is wanted
            assert len(taken) == 1
        with pytest.raises(OSError, match="cannot be listened on"):
            StatusServer(server.port, lambda *_: None)
    finally:
        server.stop()
