"""Calls to the server: key, addresses, errors, and what is tried again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

import anyio
import httpx

from ._backoff import Backoff
from .errors import ApiError, ConnectionLost

# Silence that means that the server has gone. A waiting channel or claim gets longer.
SILENCE_MAX = 45.0
CONNECT_MAX = 10.0
ATTEMPTS = 4
ERROR_BYTES_MAX = 4096
# Refused before any work began, or by a proxy in front: worth another try.
_PASSING = frozenset({429, 502, 503, 504})


def segment(text: str) -> str:
    """One segment of a path, whatever the text holds."""
    return quote(text, safe="")


class Http:
    """One server, one key, one pool of connections."""

    def __init__(
        self,
        base_url: str,
        key: str | None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._base = httpx.URL(base_url.rstrip("/"))
        if self._base.scheme not in ("http", "https") or not self._base.host:
            raise ValueError(f"base_url must be an http or https address, not {base_url!r}")
        self._key = key
        # No redirects: a POST would come out as something else. No pool limit: a slot that waits
        # for a connection while its own upload holds it would wait for ever.
        self._client = httpx.AsyncClient(
            transport=transport,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
            headers={"user-agent": "nfrx-python"},
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    def address(self, place: str) -> str:
        """The address of a path of the server, of a full address that it gave, or of a channel's id."""
        if place.startswith(("http://", "https://")):
            return place
        path = place if place.startswith("/") else f"/api/transfer/{segment(place)}"
        return f"{self._base}".rstrip("/") + path

    async def json(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        silence: float = SILENCE_MAX,
        again: bool = True,
    ) -> Any:
        """The JSON of the answer, ``None`` for 204.

        ``again`` says that the call may reach the server twice without harm. One that never left
        is repeated in any case.
        """
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        backoff = Backoff()
        for left in reversed(range(ATTEMPTS)):
            try:
                async with self.stream(method, path, content, headers=headers, silence=silence) as response:
                    data = await response.aread()
                    return json.loads(data) if response.status_code != 204 and data else None
            except ApiError as error:
                if not again or left == 0 or error.status not in _PASSING:
                    raise
            except httpx.TransportError as error:
                unsent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
                if left == 0 or not (again or unsent):
                    raise ConnectionLost(f"{method} {path}: {error or type(error).__name__}") from error
            except json.JSONDecodeError as error:
                raise ConnectionLost(f"{method} {path}: the answer is no JSON") from error
            await anyio.sleep(backoff.delay())
        raise AssertionError("the last attempt returns or raises")

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        place: str,
        content: bytes | AsyncIterator[bytes] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        silence: float = SILENCE_MAX,
    ) -> AsyncIterator[httpx.Response]:
        """One attempt, its answer still unread. Raises ``ApiError`` for any status from 300 on."""
        address = httpx.URL(self.address(place))
        sent = dict(headers or {})
        if self._key and self._is_ours(address):
            sent["authorization"] = f"Bearer {self._key}"
        if isinstance(content, bytes):
            sent.setdefault("content-type", "application/json")
        timeout = httpx.Timeout(silence, connect=CONNECT_MAX)
        call = self._client.stream(method, address, content=content, headers=sent, timeout=timeout)
        async with call as response:
            if response.status_code >= 300:
                raise await refusal(response)
            yield response

    def _is_ours(self, address: httpx.URL) -> bool:
        """The key goes to the server it is for, not wherever an answer points."""
        return (address.scheme, address.host, address.port) == (
            self._base.scheme,
            self._base.host,
            self._base.port,
        )


async def refusal(response: httpx.Response) -> ApiError:
    """The error in an answer, whose body is believed up to a few kilobytes."""
    data = b""
    with contextlib.suppress(httpx.TransportError):
        async for piece in response.aiter_bytes():
            data += piece
            if len(data) > ERROR_BYTES_MAX:
                break
    try:
        code = json.loads(data)["error"]
    except (ValueError, KeyError, TypeError):
        code = data[:200].decode("utf-8", "replace").strip()
    if not isinstance(code, str) or not code:
        code = response.reason_phrase
    return ApiError(response.status_code, code, response.headers.get("x-request-id"))
