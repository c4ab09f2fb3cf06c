"""Where the tests run: the project, the programs that were installed, an environment in which nothing of the machine shows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# What the machine may say of its own git, Consul, supervisor, agent and proxies.
FOREIGN = ("GIT_", "CONSUL_", "SUPERVISOR_", "RELEASE_", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy")


def clean_environment() -> dict[str, str]:
    """Return an environment in which nothing of this machine's git, Consul, supervisor, agent or proxy shows."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
