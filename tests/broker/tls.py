"""TLS before a server that speaks none: a relay with a certificate, which may ask its clients for theirs."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PASSWORD = "of the client's key"
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Certificates:
    """Files of PEM: an authority's, and a server's and a client's that it signed. The client's key has a password."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def certificates(folder: Path, *names: str, until: dt.timedelta = DAY) -> Certificates:
    """Fresh ones, good for a day (the server's: `until`, from now), for 127.0.0.1 or, if there are any, these names."""
    authority = ec.generate_private_key(ec.SECP256R1())
    files = Certificates(*(folder / f"{name}.pem" for name in ("ca", "server", "server-key", "client", "client-key")))
    files.authority.write_bytes(_signed("authority", authority.public_key(), authority, authority=True))
    for name, certificate, key_file, password in (
        ("server", files.server, files.server_key, None),
        ("client", files.client, files.client_key, PASSWORD),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate.write_bytes(_signed(name, key.public_key(), authority, names, until=until))
        shut = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, shut))
    return files


def _signed(
    name: str,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    names: Sequence[str] = (),
    *,
    authority: bool = False,
    until: dt.timedelta = DAY,
) -> bytes:
    now = dt.datetime.now(dt.UTC)
    called = [x509.DNSName(one) for one in names] or [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(_called(name))
        .issuer_name(_called("authority"))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(now + until)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(called), critical=False)
    )
    return made.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class TlsRelay:
    """Forwards what comes by TLS to `target` on this machine, in the clear. mutual: clients must show a certificate.

    port: 0 for one that is free.
    """

    def __init__(self, port: int, target: int, files: Certificates, *, mutual: bool) -> None:
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(files.server, files.server_key)
        if mutual:
            self._context.load_verify_locations(files.authority)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._open = True
        self.refused = 0
        """Connections without a handshake that was to our liking."""
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._open = False
        for each in (self._listener, *self._sockets):
            _end(each)

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._greet, args=(client,), daemon=True).start()

    def _greet(self, client: socket.socket) -> None:
        try:
            safe = self._context.wrap_socket(client, server_side=True)
        except (OSError, ssl.SSLError):
            self.refused += 1
            _end(client)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:  # who did not believe the certificate has gone, and so may the server have
            _end(safe)
            return
        self._sockets += [safe, server]
        threading.Thread(target=_forward, args=(server, safe), daemon=True).start()
        _forward(safe, server)


def _forward(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)
    _end(source)
    _end(sink)


def _end(each: socket.socket) -> None:
    """Closing alone would not wake the thread that reads from it."""
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        each.close()
