"""Bytes sealed in chunks, from one key pair to another; no I/O here.

A wrong chunk is found before any of its bytes are given out, a missing end by ``finish``. What has
been given out before is genuine, but may be all there is: act on it only after ``finish``.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import SealError
from .keys import KEY_BYTES, Identity

SCHEME = "x25519-aesgcm-v1"
MAGIC = b"nfrxseal\x01"
HEADER = len(MAGIC) + 2 * KEY_BYTES
CHUNK = 64 * 1024
TAG = 16


@dataclass(frozen=True, slots=True)
class Context:
    """What the bytes are; both ends must mean the same, or nothing opens."""

    job_id: str
    kind: str
    key: str

    def encoded(self) -> bytes:
        parts = (text.encode() for text in (self.job_id, self.kind, self.key))
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _cipher(shared: bytes, public_keys: tuple[bytes, bytes, bytes], context: Context) -> AESGCM:
    info = SCHEME.encode() + b"\0" + b"".join(public_keys) + context.encoded()
    return AESGCM(HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(shared))


def _exchange(private: X25519PrivateKey, public: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise SealError("the other end's key is not a usable one") from error


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


class Sealer:
    """Seals for ``recipient``. The first output carries the header."""

    def __init__(self, sender: Identity, recipient: bytes, context: Context) -> None:
        # A new one per message: so no key is used twice, and nonces may count from nought.
        once = Identity.generate()
        shared = _exchange(once.private, recipient) + _exchange(sender.private, recipient)
        keys = (once.public_bytes, sender.public_bytes, recipient)
        self._cipher = _cipher(shared, keys, context)
        self._number = 0
        self._plain = bytearray()
        self._out = bytearray(MAGIC + once.public_bytes + sender.public_bytes)

    def update(self, piece: bytes) -> bytes:
        """Takes plain bytes, gives what is ready to be sent."""
        self._plain += piece
        # The last chunk is marked, so one is held back until more comes.
        while len(self._plain) > CHUNK:
            self._seal(CHUNK, last=False)
        return self._taken()

    def finish(self) -> bytes:
        """The rest."""
        self._seal(len(self._plain), last=True)
        return self._taken()

    def _seal(self, size: int, last: bool) -> None:
        nonce = _nonce(self._number, last)
        self._out += self._cipher.encrypt(nonce, bytes(self._plain[:size]), None)
        self._number += 1
        del self._plain[:size]

    def _taken(self) -> bytes:
        out, self._out = bytes(self._out), bytearray()
        return out


class Opener:
    """Opens what was sealed for ``recipient``. ``sender`` is known once the header is there."""

    def __init__(self, recipient: Identity, context: Context) -> None:
        self._recipient = recipient
        self._context = context
        self._sealed = bytearray()
        self._cipher: AESGCM | None = None
        self._number = 0
        self.sender: bytes | None = None

    def update(self, piece: bytes) -> bytes:
        """Takes sealed bytes, gives plain ones that are genuine."""
        self._sealed += piece
        if self._cipher is None:
            if len(self._sealed) < HEADER:
                return b""
            self._open_header()
        plain = bytearray()
        while len(self._sealed) > CHUNK + TAG:
            plain += self._open(CHUNK + TAG, last=False)
        return bytes(plain)

    def finish(self) -> bytes:
        """The rest. Raises :class:`SealError` when something is missing."""
        if self._cipher is None:
            raise SealError("the sealed bytes were cut off")
        return self._open(len(self._sealed), last=True)

    def _open_header(self) -> None:
        if not self._sealed.startswith(MAGIC):
            raise SealError(f"the bytes are not sealed with {SCHEME}")
        start = len(MAGIC)
        once = bytes(self._sealed[start : start + KEY_BYTES])
        self.sender = bytes(self._sealed[start + KEY_BYTES : HEADER])
        ours = self._recipient
        shared = _exchange(ours.private, once) + _exchange(ours.private, self.sender)
        self._cipher = _cipher(shared, (once, self.sender, ours.public_bytes), self._context)
        del self._sealed[:HEADER]

    def _open(self, size: int, last: bool) -> bytes:
        assert self._cipher is not None
        try:
            plain = self._cipher.decrypt(_nonce(self._number, last), bytes(self._sealed[:size]), None)
        except (InvalidTag, ValueError) as error:
            raise SealError("the sealed bytes were altered, cut off, or meant for somebody else") from error
        self._number += 1
        del self._sealed[:size]
        return plain
