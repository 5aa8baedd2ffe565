"""The envelope ``header-body-v1``: a few header lines, an empty line, the body as it is."""

from __future__ import annotations

from ..errors import SealError

NAME = "header-body-v1"
VERSION = "1"
SEPARATOR = b"\r\n\r\n"
HEADERS_MAX = 8192
REQUIRED = ("x-nfrx-envelope-version", "content-type", "content-length")


def wrap(body: bytes, content_type: str, protocol: str, role: str) -> bytes:
    """Puts ``body`` into an envelope."""
    if any(letter in content_type for letter in "\r\n") or not content_type.strip():
        raise ValueError(f"{content_type!r} is no content type")
    lines = (
        f"X-Nfrx-Envelope-Version: {VERSION}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        f"X-Example-Protocol: {protocol}",
        f"X-Example-Role: {role}",
    )
    return "\r\n".join(lines).encode() + SEPARATOR + body


def unwrap(plain: bytes) -> tuple[str, bytes]:
    """Content type and body. Raises :class:`SealError` for anything but a whole envelope."""
    end = plain.find(SEPARATOR, 0, HEADERS_MAX)
    if end < 0:
        raise SealError("the envelope has no end of its headers")
    headers = _headers(plain[:end])
    body = plain[end + len(SEPARATOR) :]
    missing = [name for name in REQUIRED if name not in headers]
    if missing:
        raise SealError(f"the envelope lacks {', '.join(missing)}")
    if headers["x-nfrx-envelope-version"] != VERSION:
        raise SealError(f"the envelope's version is {headers['x-nfrx-envelope-version']!r}, not {VERSION}")
    if headers["content-length"] != str(len(body)):
        raise SealError(f"the envelope says {headers['content-length']!r} bytes and holds {len(body)}")
    return headers["content-type"], body


def _headers(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    try:
        lines = block.decode().split("\r\n")
    except UnicodeDecodeError as error:
        raise SealError("the envelope's headers are no text") from error
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if line[:1].isspace() or not colon or not name or name in headers:
            raise SealError("the envelope has a folded, empty, broken or doubled header line")
        headers[name] = value.strip()
    return headers
