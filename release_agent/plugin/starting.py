"""Find the program ``deploy`` in supervisord, and start processes by supervisor's own call."""

from __future__ import annotations

from typing import Any

from supervisor.rpcinterface import SupervisorNamespaceRPCInterface
from supervisor.xmlrpc import RPCError

from release_agent.request import PROGRAM, no_program


def deploy_program(supervisord: Any) -> tuple[str, Any]:
    """Return the name of the program ``deploy`` in supervisor's calls, and its process; raises Failed if there is none."""
    for group_name, group in supervisord.process_groups.items():
        if PROGRAM in group.processes:
            return f"{group_name}:{PROGRAM}", group.processes[PROGRAM]
    raise no_program()


def start(supervisord: Any, name: str, process: Any) -> None:
    """Start a process, without waiting for its start; raises RPCError."""
    try:
        SupervisorNamespaceRPCInterface(supervisord).startProcess(name, False)
    except RPCError:
        if not process.pid:
            # Supervisor could not spawn it, and keeps the dispatchers of its closed pipes. The numbers of the pipes now
            # belong to other files, and a client whose connection got such a number would get no answer.
            process.dispatchers = {}
        raise
