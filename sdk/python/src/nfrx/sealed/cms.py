"""The older scheme ``cms-x509-selfsigned-v1``, for the other end's sake.

It hides bytes but proves nobody: pin the other end's certificate where you can, and prefer
:class:`X25519Seal`. Each message is held in memory whole.
"""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from .._bodies import HELD_MAX
from ..errors import SealError, TooLarge
from ..models import Channel, Json
from ..seals import Opened, wanted
from . import envelope

SCHEME = "cms-x509-selfsigned-v1"
RESULT_RECIPIENT = "job-metadata-result-cert"
KEY_BITS = 2048
VALID_DAYS = 7
# Without it line ends would be "repaired", which damages everything but text.
AS_THEY_ARE = [pkcs7.PKCS7Options.Binary]


class CmsSeal:
    """Seals with a fresh certificate; ``peers`` are SHA-256 fingerprints (hex) to trust only."""

    scheme = SCHEME
    media_type = "application/pkcs7-mime"

    def __init__(self, peers: Iterable[str] | None = None, *, max_bytes: int = HELD_MAX) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        self._certificate = _self_signed(self._key)
        self._pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()
        self._peers = None if peers is None else frozenset(bytes.fromhex(peer) for peer in peers)
        self._max_bytes = max_bytes

    @property
    def fingerprint(self) -> str:
        """What the other end pins."""
        return self._certificate.fingerprint(hashes.SHA256()).hex()

    def offer(self) -> Mapping[str, Any]:
        asked = {
            "supported_schemes": [SCHEME],
            "result_recipient_cert_pem": self._pem,
            "envelope": envelope.NAME,
        }
        return {"secure_transfer": asked}

    def seal_payload(
        self, channel: Channel, job_id: str, content_type: str | None, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        _agree(channel.properties)
        worker = self._trusted(channel.properties.get("recipient_cert_pem"))
        return self._seal(worker, "client-payload", content_type, pieces)

    async def open_result(self, channel: Channel, job_id: str, pieces: AsyncIterator[bytes]) -> Opened:
        _agree(channel.properties)
        if channel.properties.get("recipient") != RESULT_RECIPIENT:
            raise SealError("the result is not sealed for this job's certificate")
        return await self._open(pieces)

    def payload_properties(self, metadata: Json) -> Mapping[str, Any]:
        self._client(metadata)
        return {
            "encryption_scheme": SCHEME,
            "envelope": envelope.NAME,
            "recipient_cert_pem": self._pem,
        }

    async def open_payload(self, metadata: Json, job_id: str, key: str, pieces: AsyncIterator[bytes]) -> Opened:
        return await self._open(pieces)

    def result_properties(self, metadata: Json) -> Mapping[str, Any]:
        self._client(metadata)
        return {
            "encryption_scheme": SCHEME,
            "envelope": envelope.NAME,
            "recipient": RESULT_RECIPIENT,
        }

    def seal_result(
        self, metadata: Json, job_id: str, key: str, content_type: str | None, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        return self._seal(self._client(metadata), "worker-result", content_type, pieces)

    def _client(self, metadata: Json) -> x509.Certificate:
        asked = wanted(metadata) or {}
        if asked.get("envelope") != envelope.NAME:
            raise SealError(f"the job's envelope is not {envelope.NAME}")
        return self._trusted(asked.get("result_recipient_cert_pem"))

    def _trusted(self, pem: object) -> x509.Certificate:
        if not isinstance(pem, str):
            raise SealError("the other end gave no certificate")
        try:
            certificate = x509.load_pem_x509_certificate(pem.encode())
        except ValueError as error:
            raise SealError("the other end's certificate can't be read") from error
        if self._peers is not None and certificate.fingerprint(hashes.SHA256()) not in self._peers:
            raise SealError("the other end's certificate is not one of the pinned ones")
        return certificate

    async def _seal(
        self,
        recipient: x509.Certificate,
        role: str,
        content_type: str | None,
        pieces: AsyncIterator[bytes],
    ) -> AsyncIterator[bytes]:
        body = await self._whole(pieces)
        plain = envelope.wrap(body, content_type or "application/octet-stream", SCHEME, role)
        builder = pkcs7.PKCS7EnvelopeBuilder().set_data(plain).add_recipient(recipient)
        builder = builder.set_content_encryption_algorithm(algorithms.AES256)
        yield builder.encrypt(serialization.Encoding.DER, AS_THEY_ARE)

    async def _open(self, pieces: AsyncIterator[bytes]) -> Opened:
        sealed = await self._whole(pieces)
        try:
            plain = pkcs7.pkcs7_decrypt_der(sealed, self._certificate, self._key, [])
        except ValueError as error:
            raise SealError("the sealed bytes were altered, or meant for somebody else") from error
        content_type, body = envelope.unwrap(plain)

        async def once() -> AsyncIterator[bytes]:
            yield body

        return Opened(once(), content_type)

    async def _whole(self, pieces: AsyncIterator[bytes]) -> bytes:
        held = bytearray()
        async for piece in pieces:
            held += piece
            if len(held) > self._max_bytes:
                raise TooLarge(f"{SCHEME} holds messages whole, {self._max_bytes} bytes at most")
        return bytes(held)


def _agree(properties: Json) -> None:
    if properties.get("encryption_scheme") != SCHEME or properties.get("envelope") != envelope.NAME:
        raise SealError(f"the worker does not seal with {SCHEME} and {envelope.NAME}")


def _self_signed(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "nfrx sealed transfer"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "nfrx"),
        ]
    )
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of two machines differ.
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
