"""The files of examples/system use the same names."""

from __future__ import annotations

import tomllib

import yaml

from support.environment import PROJECT

SYSTEM = PROJECT / "examples" / "system"
COMPOSED = yaml.safe_load((SYSTEM / "compose.yaml").read_text())["services"]


def test_maestro_file_has_the_components_of_compose_with_the_ports_that_are_published() -> None:
    components = {name: one for name, one in COMPOSED.items() if "hostname" in one}
    services = yaml.safe_load((SYSTEM / "maestro.yaml").read_text())["services"]
    instances = {name: one for service in services.values() for name, one in service["instances"].items()}

    assert instances.keys() == components.keys()
    for name, one in instances.items():
        assert f"127.0.0.1:{one['ports']['supervisor']}:9001" in components[name]["ports"]
        assert components[name]["environment"]["CONSUL_HTTP_ADDR"].startswith(components[name]["dns"][0])


def test_each_component_has_a_configuration_of_the_service_it_is() -> None:
    for name in ("api", "web", "worker"):
        app = tomllib.loads((SYSTEM / "hosts" / name / "config" / "release-agent.toml").read_text())["app"]
        assert app["name"] == name
        assert (SYSTEM / "source" / name / "release.toml").exists()
