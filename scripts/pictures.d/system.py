"""Draw the containers of examples/system and their connections, by its compose.yaml and maestro.yaml."""

from __future__ import annotations

from pathlib import Path

import yaml
from svg import Picture

HERE = Path(__file__).parents[2] / "examples" / "system"
_TITLE = "The containers on their hosts, and their connections"
_DESCRIPTION = """Developers push one tag to three repositories, which the mirror writes into /repos. The components on both hosts
mount /repos read-only. Each component is a container with supervisord and the agent, and calls the Consul agent of its host.
The Consul agents call the Consul servers. The operator runs release-agent rollout, which calls supervisord in each component."""
_HIGH = 46


def draw() -> str:
    """Return the picture."""
    composed = yaml.safe_load((HERE / "compose.yaml").read_text(encoding="utf-8"))["services"]
    services = yaml.safe_load((HERE / "maestro.yaml").read_text(encoding="utf-8"))["services"]
    instances = {name: one for service in services.values() for name, one in service["instances"].items()}
    picture = Picture(404, _TITLE, _DESCRIPTION)
    servers = [name for name, one in composed.items() if "-server" in one.get("command", [])]
    for number, name in enumerate(servers):
        picture.card("plain", (170 + 160 * number, 18, 140, _HIGH), name, "Consul server")
    for left, ship in ((15, "host-a"), (407, "host-b")):
        _host(picture, left, ship, [name for name, one in instances.items() if one["ship"] == ship])
    picture.card("plain", (325, 340, 150, _HIGH), "mirror", "writes /repos")
    picture.text(410, 331, "mounted read-only")
    picture.card("plain", (15, 340, 150, _HIGH), "developers", "push one tag")
    picture.arrow((165, 363), (324, 363))
    picture.text(188, 357, "three repositories")
    picture.card("step", (615, 340, 170, _HIGH), "operator", "release-agent rollout")
    picture.arrow((765, 340), (765, 288))
    picture.text(662, 331, "supervisor's RPC")
    return picture.svg()


def _host(picture: Picture, left: float, ship: str, names: list[str]) -> None:
    """Draw one host with its Consul agent and its components."""
    picture.zone(left, 96, 378, 190)
    picture.text(left + 12, 118, ship, "label")
    picture.card("plain", (left + 79, 128, 220, _HIGH), f"consul-{ship[-1]}", "Consul agent, DNS")
    picture.arrow((left + 189, 128), (left + 189, 65))
    for place, name in enumerate(names):
        middle = left + 103 + 172 * place
        picture.card("good", (middle - 75, 222, 150, _HIGH), name, "supervisord, agent")
        picture.arrow((middle, 222), (middle, 129 + _HIGH))
        picture.arrow((400, 340), (400, 312), (middle, 312), (middle, 223 + _HIGH))
