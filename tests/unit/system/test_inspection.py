"""Looks into other processes: their results, and their cost for supervisord, in which some of them run."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from release_agent.system.inspection import accepting_with

CONNECTIONS = 3000
SHORTEST_ROW = 100  # bytes of one connection in /proc/net/tcp


def read_by_this_process() -> int:
    told = Path("/proc/self/io").read_text(encoding="ascii").split()
    return int(told[told.index("rchar:") + 1])


def cost() -> int:
    """How many bytes a look for those that accept connections with this process reads."""
    before = read_by_this_process()
    assert accepting_with([os.getpid()], [os.getpid()]) == {os.getpid()}
    return read_by_this_process() - before


def test_a_look_at_who_accepts_connections_does_not_read_of_each_connection() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        quiet = cost()
        for _ in range(CONNECTIONS):
            # Closed by the client first: each is listed for a minute.
            with socket.create_connection(server.getsockname()) as client:
                accepted, _ = server.accept()
                client.close()
                accepted.close()

        assert cost() < quiet + CONNECTIONS * SHORTEST_ROW / 10
