"""Run a real Consul agent on loopback, for one test or for all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from support.environment import PROJECT, clean_environment
from support.servers import free_port
from support.waiting import eventually, freeze


def binary() -> str:
    """Return Consul's binary: from .tools, where scripts/get-consul puts it, or from the PATH."""
    own = PROJECT / ".tools" / "consul"
    found = str(own) if own.exists() else shutil.which("consul")
    assert found, "no Consul: run scripts/get-consul"
    return found


class ConsulProcess:
    """One agent in development mode; with ``acl``, a server that denies everything that no token allows."""

    def __init__(self, *, acl: bool = False, port: int = 0) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="ra-consul-"))
        self.port = port or free_port()
        self.token = "11111111-2222-3333-4444-555555555555" if acl else ""
        ports: dict[str, int] = {"http": self.port, "dns": -1, "grpc": -1, "server": free_port()}
        ports |= {"serf_lan": free_port(), "serf_wan": free_port()}
        settings: dict[str, Any] = {"ports": ports, "node_name": f"n{self.port}"}
        if acl:
            settings["acl"] = {"enabled": True, "default_policy": "deny", "tokens": {"master": self.token, "agent": self.token}}
        (self.path / "consul.json").write_text(json.dumps(settings))
        self.process = self._start()
        eventually(self._is_ready, "Consul has a leader and knows itself")

    def _start(self) -> subprocess.Popen[bytes]:
        # Give it a data directory, because -dev keeps no data.
        command = [binary(), "agent", "-dev", "-bind=127.0.0.1", "-log-level=err", f"-config-file={self.path}/consul.json"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())

    def _is_ready(self) -> bool:
        try:
            # A service that registers before its node's own check is in the catalog without that check, and counts as healthy.
            checks = self.get(f"/v1/health/node/n{self.port}") if self.get("/v1/status/leader") else []
        except (OSError, urllib.error.URLError):
            return False
        return any(check["CheckID"] == "serfHealth" and check["Status"] == "passing" for check in checks)

    @property
    def address(self) -> str:
        """Return the value for CONSUL_HTTP_ADDR."""
        return f"127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:
        """GET a path with all rights."""
        return self._ask("GET", path)

    def put(self, path: str, body: Any) -> Any:
        """PUT to a path with all rights."""
        return self._ask("PUT", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(f"http://{self.address}{path}", data=body, method=method)
        request.add_header("X-Consul-Token", self.token)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def check(self, service: str) -> dict[str, Any] | None:
        """Return the health check of a service in the agent."""
        checks: dict[str, dict[str, Any]] = self.get("/v1/agent/checks")
        return next((check for check in checks.values() if check["ServiceName"] == service), None)

    def record(self, key: str) -> dict[str, Any]:
        """Return the JSON of a key."""
        record: dict[str, Any] = self.get(f"/v1/kv/{key}?raw")
        return record

    def hang(self) -> None:
        """Let it accept connections and answer nothing."""
        freeze(self.process.pid)

    def go_on(self) -> None:
        """Let it answer again."""
        os.kill(self.process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.path, ignore_errors=True)
