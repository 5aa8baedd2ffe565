"""Keys of one end, and their text form."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ..errors import SealError

KEY_BYTES = 32


class Identity:
    """A key pair. Its ``public_key`` (43 letters) is what the other end pins."""

    def __init__(self, private: X25519PrivateKey) -> None:
        self.private = private
        self.public_bytes = private.public_key().public_bytes_raw()
        self.public_key = encode(self.public_bytes)

    def __repr__(self) -> str:
        return f"Identity(public_key={self.public_key!r})"

    @classmethod
    def generate(cls) -> Identity:
        """A fresh key pair. Nobody can pin it unless it is saved and its public half handed over."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Reads what :meth:`save` wrote, or any X25519 key as PKCS #8 in PEM."""
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, X25519PrivateKey):
            raise SealError(f"{path} holds no X25519 key")
        return cls(key)

    def save(self, path: Path) -> None:
        """Writes the private key to a new file that only its owner can read."""
        text = self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(text)


def encode(key: bytes) -> str:
    """URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


def decode(text: object) -> bytes:
    """The key in ``text``, which comes from a stranger."""
    if isinstance(text, str) and len(text) == 43:
        try:
            key = base64.b64decode(text + "=", altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            key = b""
        # The last letter has two spare bits: one key has one text.
        if len(key) == KEY_BYTES and encode(key) == text:
            return key
    raise SealError("the other end's key is not 32 bytes in URL-safe base64")
