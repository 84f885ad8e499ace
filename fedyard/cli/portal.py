"""`fedyard site portal`: the site's portal, until Ctrl-C; or one more link for the one that runs."""

from __future__ import annotations

import click

from fedyard.actions.site import UsageError
from fedyard.agent.site import Folder
from fedyard.cli.common import complain
from fedyard.clock import micros_now
from fedyard.wire.command_line import Command
from fedyard.wire.stopping import on_stop_signal
from fedyard.wire.times import SECOND


@click.command("portal", cls=Command)
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", help="where to listen (8437, or a free one)")
@click.pass_obj
def portal(folder: Folder, port: int | None) -> int:
    """This site in a browser of this machine, until Ctrl-C.

    Prints a link that lets one browser in, once. If it runs already: one more link for it.
    """
    try:
        from fedyard.portal.serving import Busy, Server  # noqa: PLC0415 - an extra, which most sites do not have
    except ImportError as error:
        if error.name is None or error.name.startswith("fedyard"):
            raise
        raise UsageError(f"the portal needs {error.name}: pip install 'fedyard[portal]'") from None
    try:
        server = Server(folder, port, complain)
    except Busy as busy:
        print("the portal runs already; one more link, good once, for ten minutes:")
        print(busy.opened.link(micros_now() / SECOND))
        return 0
    except OSError as error:
        raise UsageError(f"--port {port}: {error.strerror}") from None
    on_stop_signal(server.stop)
    print(f"the portal of {folder.settings().name}, for this machine alone; this link is good once, for ten minutes:")
    print(server.link(), flush=True)
    print("for another one say `fedyard site portal` again; Ctrl-C ends the portal", flush=True)
    server.run()
    return 0
