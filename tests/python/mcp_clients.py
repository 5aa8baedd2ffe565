"""Uses an MCP server with the Python SDK in both eras and with FastMCP, and prints a line for each
thing that was understood. Arguments: the server's address."""

import asyncio
import sys

import fastmcp
import mcp_types as types
from mcp import Client


async def sample(context, params):
    content = types.TextContent(type="text", text="sampled")
    return types.CreateMessageResult(role="assistant", content=content, model="test")


async def elicit(context, params):
    wanted = {"username": "ann", "email": "ann@example.org", "name": "ann"}
    fields = params.requested_schema["properties"]
    return types.ElicitResult(action="accept", content={field: wanted[field] for field in fields})


def text(result):
    assert not result.is_error, result
    return result.content[0].text


async def sdk(url, mode):
    async with Client(url, mode=mode, sampling_callback=sample, elicitation_callback=elicit) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        assert "test_simple_text" in tools, tools
        print(mode, "tools")
        assert text(await client.call_tool("test_simple_text", {}))
        print(mode, "call")
        seen = []

        async def progress(done, total, message):
            seen.append(done)

        text(await client.call_tool("test_tool_with_progress", {}, progress_callback=progress))
        assert len(seen) >= 3, seen
        print(mode, "progress")
        if mode == "legacy":
            assert "sampled" in text(await client.call_tool("test_sampling", {"prompt": "hi"}))
            print(mode, "sampling")
            assert "ann" in text(await client.call_tool("test_elicitation", {"message": "who"}))
            print(mode, "elicitation")
        else:
            # The server asks in its answer, and the client calls again with what it wanted.
            assert "sampled" in text(await client.call_tool("test_input_required_result_sampling", {}))
            print(mode, "sampling")
            assert "ann" in text(await client.call_tool("test_input_required_result_elicitation", {}))
            print(mode, "elicitation")
        resource = await client.read_resource("test://static-text")
        assert resource.contents[0].text
        print(mode, "resource")
        prompt = await client.get_prompt("test_simple_prompt")
        assert prompt.messages
        print(mode, "prompt")


async def fast(url):
    async def sampled(messages, params, context):
        return "sampled"

    async def elicited(message, response_type, params, context):
        return {"username": "ann", "email": "ann@example.org"}

    client = fastmcp.Client(url, mode="legacy", sampling_handler=sampled, elicitation_handler=elicited)
    async with client:
        assert (await client.call_tool("test_simple_text", {})).content[0].text
        print("fastmcp call")
        seen = []

        async def progress(done, total, message):
            seen.append(done)

        await client.call_tool("test_tool_with_progress", {}, progress_handler=progress)
        assert len(seen) >= 3, seen
        print("fastmcp progress")
        assert "sampled" in (await client.call_tool("test_sampling", {"prompt": "hi"})).content[0].text
        print("fastmcp sampling")
        assert "ann" in (await client.call_tool("test_elicitation", {"message": "who"})).content[0].text
        print("fastmcp elicitation")


async def main(url):
    await sdk(url, "legacy")
    await sdk(url, "auto")
    await fast(url)


asyncio.run(main(sys.argv[1]))
