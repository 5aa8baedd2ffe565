"""Uses an MCP server with the Python SDK 1.x and prints a line for each thing that was understood.
Arguments: the server's address."""

import asyncio
import sys
from datetime import timedelta

from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client

# Far below the patience of the test, which then says where it stopped.
ANSWER_MAX = timedelta(seconds=20)


async def sample(context, params):
    content = types.TextContent(type="text", text="sampled")
    return types.CreateMessageResult(role="assistant", content=content, model="test")


async def elicit(context, params):
    return types.ElicitResult(action="accept", content={"username": "ann", "email": "ann@example.org"})


def text(result):
    assert not result.isError, result
    return result.content[0].text


async def use(session):
    tools = [tool.name for tool in (await session.list_tools()).tools]
    assert "test_simple_text" in tools, tools
    print("tools")
    assert text(await session.call_tool("test_simple_text", {}))
    print("call")
    seen = []

    async def progress(done, total, message):
        seen.append(done)

    text(await session.call_tool("test_tool_with_progress", {}, progress_callback=progress))
    assert len(seen) >= 3, seen
    print("progress")
    assert "sampled" in text(await session.call_tool("test_sampling", {"prompt": "hi"}))
    print("sampling")
    assert "ann" in text(await session.call_tool("test_elicitation", {"message": "who"}))
    print("elicitation")
    resource = await session.read_resource("test://static-text")
    assert resource.contents[0].text
    print("resource")
    prompt = await session.get_prompt("test_simple_prompt")
    assert prompt.messages
    print("prompt")


async def main(url):
    async with streamable_http_client(url) as (read, write, session_id):
        async with ClientSession(
            read, write, ANSWER_MAX, sampling_callback=sample, elicitation_callback=elicit
        ) as session:
            await session.initialize()
            assert session_id(), "it opened no session"
            await use(session)


asyncio.run(main(sys.argv[1]))
