"""Which versions of hub and site fit: a hub knows sites of its own minor version and of the one before."""

from __future__ import annotations

HEADER = "Fedyard-Version"
"""In which the hub says its version; a site says its own in `User-Agent: fedyard/<version>`."""
MAX_DIGITS = 6


def misfit(hub: str, site: str) -> str:
    """What is wrong with a site's version at this hub, in a sentence; empty if nothing is, or one is no version."""
    ours, theirs = _major_and_minor(hub), _major_and_minor(site)
    if ours is None or theirs is None:
        return ""
    major, minor = ours
    if theirs in ((major, minor), (major, minor - 1)):
        return ""
    newer = theirs > ours
    remedy = "the hub has to be updated first" if newer else f"install fedyard {major}.{minor} at the site"
    known = f"{major}.{minor - 1} and {major}.{minor}" if minor else f"{major}.{minor}"
    return f"versions: the hub runs Fedyard {hub} and the site {site}; that hub knows sites of {known}: {remedy}"


def _major_and_minor(version: str) -> tuple[int, int] | None:
    major, minor, *_ = [*version.split("."), ""]
    if not all(part.isascii() and part.isdigit() and len(part) <= MAX_DIGITS for part in (major, minor)):
        return None
    return int(major), int(minor)
