"""What a form of a page sent."""

from __future__ import annotations

from fedyard.look.forms import Form
from fedyard.wire.problems import ProblemType
from web.http.calls import Call
from web.problems import Refused

MAX_FIELDS = 2000
KEY_FIELD = "_key"


def form_of(call: Call) -> Form:
    """What was sent, urlencoded or multipart, as text; files are `call.request.files`.

    Its size is bounded as that of every request body. Raises 413 for more fields than any form of ours has.
    """
    if "form" in vars(call.request):  # read before, as for whoever has to prove that a page of ours made it
        fields = call.request.form
    else:
        with call.web.shares.bodies.place(call.caller.share):
            fields = call.request.form
    if sum(len(values) for _, values in fields.lists()) > MAX_FIELDS:
        raise Refused(ProblemType.TOO_LARGE, f"a form has {MAX_FIELDS} fields at most; send fewer")
    # A textarea's lines end as HTTP wants it; what is kept has the line feeds that everybody else writes.
    return Form({name: [value.replace("\r\n", "\n") for value in values] for name, values in fields.lists()})
