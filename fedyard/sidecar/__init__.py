"""Beside a project's own coordinator: it takes the round status that Fedota's coordinator reports, and tells the hub.

    coordinator --- gRPC, localhost ---> sidecar --- HTTPS, a token of its own ---> hub
                                            `--- reads initFiles/fl_checkpoint

The coordinator's image stays as it is: it reports to `WEBSERVER_ADDRESS`, without a token and without saying which
problem it is of. What follows from a report is pure (rounds.py); it is noted before the call is answered (journal.py)
and told from there, in order, as soon as the hub takes it (reporter.py). The hub itself has no gRPC, and of this
package status.py alone has: `python3 -m fedyard.sidecar` wants the extra `fedyard[sidecar]`.
"""
