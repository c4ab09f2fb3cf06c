"""Name the project and the installed programs of the tests, and make an environment without the machine's own settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# The machine's own variables for git, Consul, supervisor, the agent and proxies.
FOREIGN = ("GIT_", "CONSUL_", "SUPERVISOR_", "RELEASE_", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy")


def clean_environment() -> dict[str, str]:
    """Return an environment without this machine's variables for git, Consul, supervisor, the agent and proxies."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
