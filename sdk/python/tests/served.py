"""Puts a relay in memory on a port of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import h11
import httpx
from relay import Relay


@contextlib.contextmanager
def serve(relay: Relay) -> Iterator[str]:
    """The relay's address for as long as the block lasts; its loop runs in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    start = asyncio.start_server(lambda r, w: _connection(relay, r, w), "127.0.0.1", 0)
    server = asyncio.run_coroutine_threadsafe(start, loop).result(20)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


async def _connection(relay: Relay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request per connection, which is all that a test needs."""
    http = h11.Connection(h11.SERVER)
    with contextlib.closing(writer), contextlib.suppress(ConnectionError, httpx.TransportError):
        head, body = await _request(http, reader)
        url = f"http://relay{head.target.decode()}"
        request = httpx.Request(head.method.decode(), url, headers=list(head.headers), content=body)
        response = await relay.handle_async_request(request)
        headers = [(k, v) for k, v in response.headers.raw if k.lower() not in _FRAMING]
        headers += [(b"transfer-encoding", b"chunked"), (b"connection", b"close")]
        writer.write(http.send(h11.Response(status_code=response.status_code, headers=headers)) or b"")
        async for piece in response.stream:  # type: ignore[union-attr]
            writer.write(http.send(h11.Data(data=piece)) or b"")
            await writer.drain()
        writer.write(http.send(h11.EndOfMessage()) or b"")
        await writer.drain()


_FRAMING = {b"content-length", b"transfer-encoding"}


async def _request(http: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request, bytes]:
    head, body = None, b""
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                http.receive_data(await reader.read(65536))
            case h11.Request() as head:
                pass
            case h11.Data(data=data):
                body += data
            case h11.EndOfMessage() if head is not None:
                return head, body
            case _:
                raise ConnectionError
