"""The files that pages load. They are everybody's: nothing in them is the hub's own."""

from __future__ import annotations

from flask import Response

from fedyard.look.assets import by_name
from fedyard.look.rendering import WHERE
from web.http.answers import STATIC
from web.http.auth import OPEN
from web.http.calls import Call
from web.http.operations import Operation
from web.problems import not_found


def read(call: Call) -> Response:
    found = by_name().get(call.name("asset"))
    if found is None:
        raise not_found("file", call.name("asset"))
    headers = {"Vary": "Accept-Encoding"}
    if call.request.accept_encodings.quality("gzip") > 0:
        return Response(found.zipped, 200, {**headers, "Content-Encoding": "gzip"}, content_type=found.media)
    return Response(found.content, 200, headers, content_type=found.media)


OPERATIONS = (
    Operation(
        method="GET",
        path=f"{WHERE}/{{asset}}",
        name="page_file",
        about="A file that pages load",
        does=read,
        kind=STATIC,
        authentication=OPEN,
        answers={200: None},
        problems=(404,),
    ),
)
