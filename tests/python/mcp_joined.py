"""Uses two MCP servers that are one with the Python SDK in both eras, and prints a line for each thing
that was understood. Arguments: the address of the whole."""

import asyncio
import sys

from mcp import Client


async def use(url, mode):
    async with Client(url, mode=mode) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        for server in ["http", "stdio"]:
            assert f"{server}__test_simple_text" in tools, tools
            result = await client.call_tool(f"{server}__test_simple_text", {})
            assert not result.is_error and result.content[0].text, result
            seen = []

            async def progress(done, total, message):
                seen.append(done)

            await client.call_tool(f"{server}__test_tool_with_progress", {}, progress_callback=progress)
            assert len(seen) >= 3, seen
            print(mode, client.protocol_version, server)


async def main(url):
    # Far below the patience of the test, which then says where it stopped.
    async with asyncio.timeout(30):
        await use(url, "legacy")
        await use(url, "auto")


asyncio.run(main(sys.argv[1]))
