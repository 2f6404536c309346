"""Clients of one server with a few connections each.

A connection pool looks at each of its connections for each request, so one pool of 64 spends more
time on that than on the requests; eight pools of eight do not.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["Lanes"]

_PLACES = 4


class Lanes:
    """As many clients as requests in flight need, each for four of them; made when they are first needed."""

    def __init__(self, make: Callable[[], "AsyncOpenAI"]) -> None:
        self._make = make
        self.first = make()
        self._clients = [self.first]
        self._free = [self.first] * _PLACES

    @contextmanager
    def place(self) -> Iterator["AsyncOpenAI"]:
        """Hold a place of a client: the one that was given back last, whose connection is open."""
        if not self._free:
            client = self._make()
            self._clients.append(client)
            self._free = [client] * _PLACES
        client = self._free.pop()
        try:
            yield client
        finally:
            self._free.append(client)

    async def aclose(self) -> None:
        """Close the connections of all clients."""
        for client in self._clients:
            await client.close()
