"""A claimed job, as its handler sees it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from . import transfers
from ._bodies import HELD_MAX, Body, Source
from ._http import Http, segment
from ._lease import Lease, gone
from .errors import ApiError, ConnectionLost, TooLarge, TransferError
from .models import Channel, Claim, Json
from .seals import Seal
from .transfers import Incoming

# A channel is made anew when its client could not be met on the last one.
CHANNEL_ATTEMPTS = 3


class AsyncWorkerJob:
    """One job in a handler's hands.

    Every call raises :class:`JobCanceled` or :class:`LeaseLost` once the job is ours no longer;
    an async handler is also canceled where it waits.
    """

    def __init__(self, http: Http, claim: Claim, lease: Lease) -> None:
        self._http = http
        self._claim = claim
        self._lease = lease
        self._seal: Seal | None = None

    @property
    def id(self) -> str:
        return self._claim.job_id

    @property
    def type(self) -> str:
        return self._claim.type

    @property
    def metadata(self) -> Json:
        return self._claim.metadata

    @property
    def attempt(self) -> int:
        """1 for the first worker that tries."""
        return self._claim.attempt

    @property
    def is_sealed(self) -> bool:
        """Whether the bytes are hidden from the server."""
        return self._seal is not None

    def check(self) -> None:
        """Raises if the job was canceled or the claim is lost. For loops that make no call."""
        self._lease.check()

    async def progress(self, **members: Any) -> None:
        """Says how far the job is; replaces what was said before. ``percent`` is understood widely."""
        await self._status("running", progress=members)

    async def payload(self, key: str = "payload", max_bytes: int = HELD_MAX) -> bytes:
        """The whole payload. One that broke on its way is asked for again."""
        for left in reversed(range(CHANNEL_ATTEMPTS)):
            try:
                async with self.open_payload(key) as incoming:
                    return await incoming.read(max_bytes)
            except (ConnectionLost, TransferError) as error:
                if left == 0 or isinstance(error, TooLarge):
                    raise
        raise AssertionError("the last attempt returns or raises")

    @contextlib.asynccontextmanager
    async def open_payload(self, key: str = "payload") -> AsyncIterator[Incoming]:
        """The payload as it comes, for what does not fit into memory."""
        properties = self._seal.payload_properties(self.metadata) if self._seal else None
        async with contextlib.AsyncExitStack() as stack:
            incoming = await self._joined(stack, key, properties)
            if self._seal is not None:
                opened = await self._seal.open_payload(self.metadata, self.id, key, incoming.pieces)
                incoming = Incoming(opened.pieces, None, opened.content_type)
            await self._status("running")
            yield incoming

    async def _joined(
        self, stack: contextlib.AsyncExitStack, key: str, properties: Mapping[str, Any] | None
    ) -> Incoming:
        for left in reversed(range(CHANNEL_ATTEMPTS)):
            channel = await self._channel("payload", key, properties)
            try:
                return await stack.enter_async_context(transfers.receive(self._http, channel.url))
            except ApiError as error:
                self.check()
                # Nobody came, or came and left: the client may be connecting again just now.
                if left == 0 or error.status not in (404, 410, 502):
                    raise TransferError(f"the client does not send {key!r}: {error}") from error
        raise AssertionError("the last attempt returns or raises")

    async def send_result(
        self, source: Source, key: str = "result", content_type: str | None = None
    ) -> None:
        """Sends a result, in pieces as ``source`` gives them. Several results need a key each."""
        body = Body(source)
        properties = self._seal.result_properties(self.metadata) if self._seal else None
        for left in reversed(range(CHANNEL_ATTEMPTS)):
            channel = await self._channel("result", key, properties)
            pieces, length, sent_type = body.pieces(), body.length(), content_type
            if self._seal is not None:
                pieces = self._seal.seal_result(self.metadata, self.id, key, content_type, pieces)
                length, sent_type = None, self._seal.media_type
            try:
                await transfers.send(self._http, channel.url, pieces, length, sent_type)
            except (ApiError, ConnectionLost, TransferError) as error:
                self.check()
                refused = isinstance(error, ApiError) and error.status not in (404, 410, 502)
                if left == 0 or refused or not body.is_repeatable:
                    raise TransferError(f"the client does not take {key!r}: {error}") from error
            else:
                return

    async def _channel(self, kind: str, key: str, properties: Mapping[str, Any] | None) -> Channel:
        body: dict[str, Any] = {"key": key}
        if properties is not None:
            body["properties"] = dict(properties)
        return Channel.from_json(await self._call(kind, body), key)

    async def _status(self, state: str, **members: Any) -> None:
        await self._call("status", {"state": state, **members})

    async def _call(self, what: str, body: dict[str, Any]) -> Any:
        """A call about the job. Its refusal as gone is the end of the claim."""
        self.check()
        if self._claim.token is not None:
            body["claim_token"] = self._claim.token
        try:
            return await self._http.json("POST", f"/api/jobs/{segment(self.id)}/{what}", body)
        except ApiError as error:
            if error.status in (404, 409):
                self._lease.lost = self._lease.lost or gone(error)
                raise self._lease.lost from error
            raise

    def seal_with(self, seal: Seal | None) -> None:
        """How the job's bytes are hidden; for the worker's loop, not for handlers."""
        self._seal = seal

    async def end(self, code: str = "", message: str = "") -> None:
        """Writes the last status; for the worker's loop, not for handlers."""
        if code:
            await self._status("failed", error={"code": code, "message": message})
        else:
            await self._status("completed")

    async def release(self) -> None:
        """Gives the job back, for somebody else to do."""
        await self._status("queued")
