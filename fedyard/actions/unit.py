"""A systemd unit for a site's agent: it may do what an agent does, and is started again unless people have to look."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedyard.agent.site import SiteError

STATE = Path("/var/lib")
"""Where systemd makes folders for services, also for users that it draws."""
IDENTITY_CHANGED = 3
"""The exit code after which nothing is tried again before somebody has looked."""
_UNIT = """\
# A site's agent, as `fedyard site unit` writes it. docs/installing.md says what it may do.
[Unit]
Description=Fedyard site: agent
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
{account}
ExecStart={program} --folder {folder} site run
WorkingDirectory={folder}
Restart=always
RestartSec=5
# Where systemd knows it (254).
RestartSteps=6
RestartMaxDelaySec=60
# Another site has shown another identity than it had: people have to look first.
RestartPreventExitStatus={identity_changed}
# What hooks have said is sent for ten seconds at most, after they have had tasks.stop_within_s to end.
TimeoutStopSec=60
# Hooks end with the agent by themselves{outlive}.
KillMode={kill}

UMask=0077
{place}
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=true
# Data that tasks read may lie anywhere that its user may read; written is its own folder alone.
ProtectSystem=strict
ProtectHome=read-only
ProtectClock=true
ProtectControlGroups=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
PrivateTmp=true
RemoveIPC=true
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
LockPersonality=true
SystemCallArchitectures=native
# With what the agent confines the processes of tasks by.
SystemCallFilter=@system-service landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
TasksMax=4096

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Service:
    """user: None: one that systemd draws for as long as the agent runs. groups: whose files it may read besides.

    outlived: workloads that run as processes of this machine go on without the agent.
    """

    program: list[str]
    folder: Path
    user: str | None = None
    groups: tuple[str, ...] = ()
    outlived: bool = False


def unit_of(service: Service) -> str:
    """The unit's text. Raises `SiteError` where there is none for what is wanted."""
    folder = _as_named(service.folder)
    below = folder.parent == STATE
    if service.user is None and not below:
        raise SiteError(
            f"{folder}: a user that systemd draws has its folder in {STATE}: move it there, e.g. to "
            f"{STATE / 'fedyard-site'}, or name a user that owns it with --user"
        )
    account = ["DynamicUser=true"] if service.user is None else [f"User={service.user}", f"Group={service.user}"]
    account += [f"SupplementaryGroups={' '.join(service.groups)}"] if service.groups else []
    place = [f"StateDirectory={_word(folder.name)}", "StateDirectoryMode=0700"]
    return _UNIT.format(
        account="\n".join(account),
        program=" ".join(map(_word, service.program)),
        folder=_word(str(folder)),
        identity_changed=IDENTITY_CHANGED,
        outlive="; workloads that run as processes of this machine ([cluster]) outlive it" if service.outlived else "",
        kill="process" if service.outlived else "mixed",
        place="\n".join(place if below else [f"ReadWritePaths={_word(str(folder))}"]),
    )


def _as_named(folder: Path) -> Path:
    """What systemd makes for users that it draws lies in `private`, and is called without that."""
    private = STATE / "private"
    return STATE / folder.relative_to(private) if folder.is_relative_to(private) else folder


def _word(text: str) -> str:
    """As systemd reads one word of a line: `%` and `$` are its own signs, and spaces end a word."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"' if any(sign.isspace() or sign in "\"'\\;" for sign in text) else plain
