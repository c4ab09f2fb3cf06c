"""Run a fleet: several hosts of :mod:`support.host`, each over HTTP with a password. An application has one repository."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING

from support.desk import Desk
from support.host import Host
from support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USER, PASSWORD = "agent", "a secret of the fleet"
_HTTP = "[inet_http_server]\nport=127.0.0.1:{port}\nusername={user}\npassword={password}\n"


class Fleet(Desk):
    """Hosts ``host-1`` to ``host-N``; each runs v1.0.0, and the repositories also have v1.1.0."""

    def __init__(
        self, size: int = 5, *, apps: Sequence[str] = (), requires: Mapping[str, Sequence[str]] | None = None, **consul: str
    ) -> None:
        """``consul``: the CONSUL_* variables of hosts and operator; none: the record is a file.

        ``apps``: the application of each host, which is its service in fleet.toml. ``requires``: the applications that each
        requires (default: the next one in ``apps``).
        """
        self.hosts = [Host() for _ in apps or range(size)]
        super().__init__(self.hosts[0].path, credentials=(USER, PASSWORD), consul=consul)
        self.services = list(apps)
        self.requires = requires or {one: [other] for one, other in pairwise(dict.fromkeys(apps))}
        self.apps = self.services or ["api"] * size
        self.repositories = {app: host.repository for app, host in zip(self.apps, self.hosts, strict=True)}
        self.repository = self.repositories[self.apps[0]]
        self.release("v1.0.0")
        self.ports = [free_port() for _ in self.hosts]
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._prepare, range(len(self.hosts))))
        self.release("v1.1.0")
        self._write_fleet()

    def release(self, tag: str) -> None:
        """Tag a version of every application."""
        for app, repository in self.repositories.items():
            repository.release(tag, of=app)  # each application has commits of its own

    def _prepare(self, number: int) -> None:
        host = self.hosts[number]
        host.environment |= self.consul
        host.services.append(_HTTP.format(port=self.ports[number], user=USER, password=PASSWORD))
        self.configure(number)
        host.start()
        assert host.deploy("v1.0.0").code == 0

    def configure(self, number: int, extra: str = "", **replaced: str) -> None:
        """Write one host's configuration."""
        host = self.hosts[number]
        name = self.apps[number]
        app = f'[app]\nname = "{name}"\nenvironment = "test"\nhost = "host-{number + 1}"\nroot = "{host.root}"'
        app += f'\nrpc_url = "http://127.0.0.1:{self.ports[number]}"'
        sections = {
            "app": app,
            "repository": f'[[repository]]\nname = "{name}"\npath = "{self.repositories[name].path}"',
            "consul": "enabled = true" if self.consul else "enabled = false",
        }
        host.configure(extra, **(sections | replaced))

    def refuse(self, number: int, revision: str = "v1.1.0") -> None:
        """Make a revision unhealthy on one host after its publication: the host rolls back automatically."""
        self.configure(number, f"[hooks]\nafter_deploy = [{{ run = 'test $RELEASE_REVISION != {revision}' }}]")

    def _write_fleet(self) -> None:
        hosts = "".join(
            f'[[host]]\nname = "host-{number}"\nurl = "http://127.0.0.1:{port}"\n'
            + (f'service = "{self.services[number - 1]}"\n' if self.services else "")
            for number, port in enumerate(self.ports, 1)
        )
        hosts += "".join(f"[service.{one}]\nrequires = {json.dumps(others)}\n" for one, others in self.requires.items())
        self.file.write_text(f'[fleet]\nuser = "{USER}"\npassword_file = "{self.password_file}"\n{hosts}')

    # The hosts

    def live(self) -> list[str | None]:
        """Return what version each host's service answers with."""
        return [host.serves() for host in self.hosts]

    def hold(self, number: int) -> None:
        """Hold the deployments of one host before they publish."""
        self.configure(number, f"[hooks]\nbefore_publish = [{{ run = '{self.hosts[number].gate('held')}' }}]")

    def held(self, number: int) -> None:
        """Wait until one host has started its deployment."""
        self.hosts[number].reached("held")

    def let_go(self, number: int) -> None:
        """Let the held deployment continue."""
        self.hosts[number].open("held")

    def fired(self, number: int) -> list[str]:
        """Return the triggers of one host's runs since its preparation, oldest first."""
        return [entry["trigger"] for entry in reversed(self.hosts[number].history())][1:]

    def close(self) -> None:
        """End everything."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(Host.close, self.hosts))
