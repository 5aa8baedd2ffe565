"""A server of the protocol's first revision over HTTP (argument: serve), and a client of today that
uses one at an address (argument: the address) and prints a line for each thing that was understood."""

import asyncio
import sys

import fastmcp
from fastmcp import Context, FastMCP


def serve():
    server = FastMCP("old")

    @server.tool
    async def count(to: int, context: Context) -> str:
        for done in range(to):
            await context.report_progress(done + 1, to)
        return f"counted to {to}"

    @server.tool
    async def ask(context: Context) -> str:
        answer = await context.elicit("who?", response_type=str)
        return f"they said {answer.data}"

    server.run(transport="sse", host="127.0.0.1", port=0, show_banner=False)


async def use(url):
    seen = []

    async def progress(done, total, message):
        seen.append(done)

    async def elicited(message, response_type, params, context):
        return {"value": "ann"}

    client = fastmcp.Client(url, mode="legacy", elicitation_handler=elicited, progress_handler=progress)
    async with client:
        assert [tool.name for tool in await client.list_tools()] == ["count", "ask"]
        print("tools")
        assert (await client.call_tool("count", {"to": 3})).data == "counted to 3"
        assert seen == [1, 2, 3], seen
        print("progress")
        assert (await client.call_tool("ask", {})).data == "they said ann"
        print("elicitation")


async def use_in_time(url):
    async with asyncio.timeout(30):
        await use(url)


serve() if sys.argv[1] == "serve" else asyncio.run(use_in_time(sys.argv[1]))
