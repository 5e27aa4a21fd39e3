"""Programs around a net that show its whole conversation, for the comments and examples of exported C."""

from __future__ import annotations

from levsha.applications import Chat, Image
from levsha.data.pairs import QUERY_BYTES, RESPONSE_BYTES
from levsha.emit.example import own_state, wrapped
from levsha.emit.names import Names
from levsha.net import Net


def is_chat(net: Net) -> bool:
    """Say whether the net answers a line byte by byte; any other is run once."""
    return isinstance(net.application, Chat)


def has_picture(net: Net) -> bool:
    """Say whether the net reads a picture and names what it shows."""
    return isinstance(net.application, Image)


def chat_program(names: Names) -> list[str]:
    """Return a program that asks a chat one question."""
    put = ["if (!answer[0]) break;", "putchar(answer[0]);"]
    lines = [
        *own_state(names), f'const char *const line = "hello";   // at most {QUERY_BYTES} bytes of UTF-8',
        f"memset({names.state}.query, 0, sizeof {names.state}.query);", f"memcpy({names.state}.query, line, strlen(line));",
        *answer(names, put), "putchar('\\n');",
    ]  # fmt: skip
    return wrapped(names, ["stdio.h", "string.h"], lines)


def answer(names: Names, put: list[str]) -> list[str]:
    """Return the C that answers the query in the state; put: what is done with each byte, `answer[0]`."""
    prefix, state = names.prefix, names.state
    return [
        f"{prefix}_run_query({names.argument});   // once a line",
        f"memset({state}.context, ' ', sizeof {state}.context);",
        f"for (int count = 0; count < {RESPONSE_BYTES}; ++count) {{",
        f"    {prefix}_run_context({names.argument});   // once a byte",
        f"    const uint8_t *const answer = {prefix}_next({names.argument});",
        *(f"    {line}" for line in put),
        f"    memmove({state}.context, {state}.context + 1, sizeof {state}.context - 1);",
        f"    {state}.context[sizeof {state}.context - 1] = answer[0];",
        "}",
    ]
