"""Draw the connections in and around a container."""

from __future__ import annotations

from svg import Picture

_TITLE = "The connections in and around a container"
_DESCRIPTION = """In the container supervisord starts the agent. deploy and boot are one run each, and the monitor keeps
running. A run reads the git repositories, which are mounted read-only, and writes the root directory. It asks supervisord over
RPC to restart the services, and probes the services. The services run from the live release. The agent reports the host to the
Consul agent. People and other programs start a deployment through supervisord: by supervisorctl, over HTTP, or with a rollout
across a fleet."""


_WIDE, _HIGH = 150, 62
_LEFT, _RIGHT = 172, 480  # columns in the container
_ROWS = (56, 176, 296)


def draw() -> str:
    """Return the picture."""
    picture = Picture(394, _TITLE, _DESCRIPTION)
    picture.zone(155, 20, 490, 358)
    picture.text(_LEFT, 42, "container", "label")
    first, second, third = _ROWS
    picture.card("plain", (15, first, 120, _HIGH), "You, or CI", "supervisorctl,", "curl, a rollout")
    picture.card("plain", (_LEFT, first, _WIDE, _HIGH), "supervisord", "with the plugin", "release")
    picture.card("step", (_RIGHT, first, _WIDE, _HIGH), "deploy, boot", "the agent: one run,", "then it ends")
    picture.card("plain", (665, first, 120, _HIGH), "/repos", "git, mounted", "read-only")
    picture.card("good", (_LEFT, second, _WIDE, _HIGH), "web, worker …", "your services")
    picture.card("plain", (_RIGHT, second, _WIDE, _HIGH), "/srv/app", "releases, current,", "shared, journal")
    picture.card("plain", (665, second, 120, _HIGH), "Consul agent", "the service and", "the host's record")
    picture.card("step", (_LEFT, third, _WIDE, _HIGH), "monitor", "the agent: looks", "and reports")
    _arrows(picture)
    return picture.svg()


def _arrows(picture: Picture) -> None:
    """Draw the connections."""
    edge, below = _LEFT + _WIDE, _ROWS[0] + _HIGH
    picture.arrow((135, 80), (_LEFT - 1, 80))
    picture.arrow((edge, 74), (_RIGHT - 1, 74))
    picture.text(edge + 8, 69, "starts")
    picture.arrow((_RIGHT, 104), (edge + 1, 104))
    picture.text(edge + 16, 98, "RPC: states, restarts")
    picture.arrow((_RIGHT + _WIDE, 80), (664, 80))
    picture.arrow((235, below), (235, _ROWS[1] - 1))
    picture.text(186, 151, "starts")
    picture.arrow((520, below), (520, 147), (290, 147), (290, _ROWS[1] - 1))
    picture.text(360, 141, "probes")
    picture.arrow((580, below), (580, _ROWS[1] - 1))
    picture.text(588, 151, "writes")
    picture.arrow((_RIGHT + _WIDE, 104), (648, 104), (648, 207), (664, 207))
    picture.arrow((edge, 207), (_RIGHT - 1, 207))
    picture.text(edge + 8, 201, "run from current")
    picture.arrow((247, _ROWS[2]), (247, _ROWS[1] + _HIGH + 1))
    picture.text(255, 271, "looks: states, probes")
    picture.arrow((_LEFT, 104), (162, 104), (162, 327), (_LEFT - 1, 327))
    picture.text(170, 271, "starts")
    picture.arrow((edge, 327), (725, 327), (725, _ROWS[1] + _HIGH + 1))
    picture.text(edge + 8, 321, "health")
