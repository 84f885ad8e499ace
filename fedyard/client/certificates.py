"""Why a server's certificate is not believed, for those who have to mend it: which one it is, and what is wrong."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Self

_REMEDIES = {
    10: "have it renewed, or set this machine's clock right",
    9: "set this machine's clock right, or have it replaced",
    18: "",
    19: "",
    20: "",
    21: "",
    62: "use an address that it is for, or have one made for this address",
    64: "use an address that it is for, or have one made for this address",
}
"""By OpenSSL's code. Empty: nobody here knows its authority."""
_AUTHORITY = (
    "if its issuer is to be believed (your own authority, or a proxy of your house that opens connections), name a file"
    " with the issuer's certificate: ca_file of site.toml, --ca-file of `site init`"
)


class Looking(ssl.SSLContext):
    """Believes every certificate, and keeps the last one: to be looked at, never to send anything that is secret."""

    seen: bytes | None = None

    def __new__(cls) -> Self:
        made = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made

    def wrap_socket(self, sock: socket.socket, *arguments: object, **options: object) -> ssl.SSLSocket:
        made = super().wrap_socket(sock, *arguments, **options)  # type: ignore[arg-type]
        self.seen = made.getpeercert(binary_form=True)
        return made


def not_believed(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """The verification that failed, however deep in the error it lies; None if it is something else that went wrong."""
    return next((one for one in _within(error, 6) if isinstance(one, ssl.SSLCertVerificationError)), None)


def _within(error: BaseException, depth: int) -> Iterator[BaseException]:
    yield error
    if depth:
        below = (error.__cause__, error.__context__, getattr(error, "reason", None), *error.args)
        for one in below:
            if isinstance(one, BaseException):
                yield from _within(one, depth - 1)


def told(whose: str, failure: ssl.SSLCertVerificationError, shown: bytes | None) -> str:
    """Which certificate it is, why it is not believed, and what helps. shown: the certificate, in DER."""
    why = failure.verify_message or failure.reason or "it does not hold"
    remedy = _REMEDIES.get(failure.verify_code) or _AUTHORITY
    about = f" {_facts(shown)}." if shown is not None else ""
    return f"the certificate of {whose} is not believed: {why}.{about} {remedy[0].upper()}{remedy[1:]}"


def _facts(shown: bytes) -> str:
    from cryptography import x509  # noqa: PLC0415 - only where something is wrong
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - as above

    try:
        found = x509.load_der_x509_certificate(shown)
        names = _names(found)
    except ValueError:
        return "It cannot be read"
    until = f"{found.not_valid_before_utc:%Y-%m-%d} until {found.not_valid_after_utc:%Y-%m-%d}"
    return (
        f"It is {found.subject.rfc4514_string() or 'nameless'}, for {', '.join(names) or 'no address'}, issued by "
        f"{found.issuer.rfc4514_string() or 'nobody'}, good from {until}, SHA-256 {found.fingerprint(SHA256()).hex()}"
    )


def _names(certificate: object) -> list[str]:
    """What it is for, at most five."""
    from cryptography import x509  # noqa: PLC0415 - as above

    assert isinstance(certificate, x509.Certificate)
    try:
        said = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(one.value) for one in said][:5]
