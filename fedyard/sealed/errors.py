"""Why a sealed payload, a key or an identity is not accepted. Each class has a slug of its own.

A sentence says the fact, the ids and the remedy; it never holds a key, a shared secret or a payload.
"""

from __future__ import annotations


class SealError(Exception):
    """What was sealed cannot be trusted, or nothing can be sealed. It is not worth another try with the same bytes."""

    slug = "seal"
    remedy = ""

    def __init__(self, fact: str) -> None:
        self.fact = fact
        super().__init__(f"{fact}: {self.remedy}" if self.remedy else fact)


class Malformed(SealError):
    """Not of the form in docs/sealing.md."""

    slug = "malformed"
    remedy = "the sender must seal it anew"


class Unsealed(SealError):
    """Not sealed at all, where only sealed payloads are taken: the lowest of all downgrades."""

    slug = "unsealed"
    remedy = "the sender must seal it; a site that trusts its hub may set trust.unsealed in site.toml"


class Unsupported(SealError):
    """A version or suite that this program does not have, or no longer accepts."""

    slug = "unsupported"
    remedy = "bring the older one of both sites up to date"


class Readdressed(SealError):
    """Genuine, but sealed for another place than where the hub handed it out."""

    slug = "readdressed"
    remedy = "the hub showed it in the wrong place; tell the coordinator and the hub's admin"


class NotRecipient(SealError):
    """Sealed, but not to this site."""

    slug = "not_recipient"
    remedy = "the sender must seal it to this site, too"


class WrongEpoch(SealError):
    """Sealed to an epoch whose private key is not here: never was, or its grace is over."""

    slug = "wrong_epoch"
    remedy = "the sender must seal it anew, to the site's current key"


class KeyRevoked(SealError):
    """Sealed to, or offered with, a key that was revoked."""

    slug = "revoked_key"
    remedy = "the sender must seal it anew, to the site's current key"


class Expired(SealError):
    """Its time is over."""

    slug = "expired"
    remedy = "the sender must seal it anew; if it was sent just now, look at both clocks"


class NoKey(SealError):
    """A recipient has no key that could be sealed to."""

    slug = "no_key"
    remedy = "its agent publishes one when it runs"


class UnknownSigner(SealError):
    """The sender's identity was never seen."""

    slug = "unknown_signer"
    remedy = "only members of the project can send; see `fedyard site fingerprint`"


class Unverified(SealError):
    """The identity was seen, but nobody compared its fingerprint, and this site's configuration asks for that."""

    slug = "unverified"
    remedy = "ask that site for its fingerprint, then `fedyard site trust SITE FINGERPRINT`"


class BadSignature(SealError):
    """Not signed by who it says."""

    slug = "bad_signature"
    remedy = "it was changed on its way, or forged; tell the sender and the hub's admin"


class IdentityChanged(SealError):
    """Another identity key than the one that was pinned."""

    slug = "identity_changed"
    remedy = (
        "somebody may be in between. Compare fingerprints with that site by telephone; only if it says that its key "
        "is a new one: `fedyard site trust SITE FINGERPRINT --replace`"
    )


class NotConsented(SealError):
    """Of a project that neither this site's configuration nor its people joined."""

    slug = "not_consented"
    remedy = "if this site shall serve it, its people say `fedyard project join`"


class RolledBack(SealError):
    """An older key than one that was seen before."""

    slug = "rolled_back"
    remedy = "the hub shows an old key; tell its admin"


class Truncated(SealError):
    """Its end is missing."""

    slug = "truncated"
    remedy = "fetch it again; if that does not help, the sender must seal it anew"


class TaskDiffers(SealError):
    """Another task, or the same with other parameters, than this site was told first, or its people gave."""

    slug = "task_differs"
    remedy = (
        "compare the task with the coordinator's; the coordinator's people accept a changed one with "
        "`fedyard project tasks NAME --accept`, and start a new run"
    )


class OlderModel(SealError):
    """A model of an earlier round, or of another run, than one that was seen in this task run."""

    slug = "older_model"
    remedy = "the hub shows an old model; tell the coordinator and the hub's admin"


class Gone(SealError):
    """Its body is not at the hub any more."""

    slug = "gone"
    remedy = "it expired or was deleted; the sender must send it anew"


class NoRoom(SealError):
    """A large message for which this site has no room."""

    slug = "no_room"
    remedy = "it stays at the hub; delete what is not needed, or raise the limit in site.toml, and have it sent anew"


class Diverted(SealError):
    """The hub wants it carried by way of another machine, or does not let it arrive."""

    slug = "diverted"
    remedy = "if that machine is the hub's bucket, name it in transfer_hosts of site.toml; if not, tell the hub's admin"


class Damaged(SealError):
    """Bits were changed, or pieces of it reordered, mixed up, doubled or added."""

    slug = "damaged"
    remedy = "fetch it again; if that does not help, the sender must seal it anew"


class Replayed(SealError):
    """Opened before, and shown again as something new."""

    slug = "replayed"
    remedy = "the hub showed it twice; tell its admin"
