"""The pod of examples/kubernetes: this machine's engine runs its container with the limits of the manifest."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from support import kubernetes
from support.containers import AGENT, Container, engine, run
from support.repositories import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SERVER = """
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""


def limits(container: dict[str, Any]) -> list[str]:
    """Return the flags of an engine for what a container of a manifest may do."""
    may = container["securityContext"]
    assert (may["readOnlyRootFilesystem"], may["allowPrivilegeEscalation"]) == (True, False)
    capabilities = may["capabilities"]
    drop, add = ([f"--cap-{how}={name}" for name in capabilities[how]] for how in ("drop", "add"))
    return ["--network=none", "--read-only", "--security-opt=no-new-privileges", *drop, *add]


class Pod:
    """The example's pod with a repository, and a volume of root's that is open to everybody, as an emptyDir is."""

    def __init__(self, place: Path) -> None:
        self.name = f"release-agent-test-{secrets.token_hex(4)}"
        self.spec = kubernetes.pod()
        Repository(place / "repos" / "api").commit({"server.py": SERVER}, tag="v1.0.0")
        for claim in ("api-config", "api-services"):
            (place / claim).mkdir()
            for file, text in kubernetes.data_of(claim).items():
                soon = text.replace('exit_when = "fatal"', 'exit_when = "fatal"\nexit_after = "1s"')
                (place / claim / file).write_text(soon)
        sources: dict[str, Path | str] = {
            "repositories": place / "repos",
            "config": place / "api-config",
            "services": place / "api-services",
            "app": self.name,
        }
        self._mounts = sources
        run(engine(), "volume", "create", self.name)
        open_to_all = f"--volume={self.name}:/volume"
        run(engine(), "run", "--rm", open_to_all, AGENT, "sh", "-c", "chown root:root /volume && chmod 777 /volume")

    def start(self) -> Container:
        """Run the init container twice, as for a pod that was replaced, and start the other one."""
        (first,), (main,) = self.spec["initContainers"], self.spec["containers"]
        for _ in range(2):
            run(engine(), "run", "--rm", *limits(first), *self._volumes(first), AGENT, *first["command"])
        return Container.start(self.name, AGENT, *limits(main), *self._volumes(main))

    def _volumes(self, container: dict[str, Any]) -> Sequence[str]:
        flags = []
        for mount in container["volumeMounts"]:
            source, target = self._mounts.get(mount["name"]), mount["mountPath"]
            writable = "ro" if mount.get("readOnly") else "rw"
            flags.append(f"--volume={source}:{target}:{writable}" if source else f"--tmpfs={target}")
        return flags

    def close(self) -> None:
        """Remove it."""
        for what in ("container", "volume"):
            run(engine(), what, "rm", "--force", self.name, check=False)


@pytest.fixture
def pod(images: None, tmp_path: Path) -> Iterator[Pod]:  # noqa: ARG001
    tmp_path.chmod(0o755)
    made = Pod(tmp_path)
    yield made
    made.close()


def _answers(container: Container, kind: str) -> bool:
    return container.execute(*kubernetes.probe(kind), check=False).returncode == 0


def test_pod_of_the_example_becomes_ready_within_its_limits_and_ends_when_its_service_is_beyond_help(pod: Pod) -> None:
    container = pod.start()
    container.until("the pod is ready", lambda: _answers(container, "readinessProbe"))
    assert _answers(container, "livenessProbe")
    assert container.execute("stat", "--format", "%U:%G %a", "/srv/app").stdout.strip() == "release:release 755"

    container.execute("rm", "/srv/app/current/server.py")
    container.execute("supervisorctl", "restart", "web", check=False)

    assert _answers(container, "livenessProbe")
    container.until("the container ends", lambda: container.inspect("{{.State.Status}}") == "exited")
    assert container.inspect("{{.State.ExitCode}}") == "0"
    assert "exit.fired" in container.log()
