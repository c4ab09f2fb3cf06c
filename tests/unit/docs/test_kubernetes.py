"""Kubernetes, the agent and supervisord accept the manifests of examples/kubernetes."""

from __future__ import annotations

import configparser
import copy
import tomllib
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from release_agent.config import load
from support import kubernetes
from support.markdown import names, page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_agent.config.schema import Problem

VERSIONS = ("1.29", kubernetes_validate.latest_version())
RESOURCES = [(each["kind"], each) for each in kubernetes.manifests()]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("_kind", "resource"), RESOURCES)
def test_manifest_is_what_the_schema_of_kubernetes_has(_kind: str, resource: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(resource, version, strict=True)


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


def test_schema_refuses_an_unknown_field_wherever_it_stands_in_the_container() -> None:
    resource = kubernetes.manifests()[-1]
    count = len(list(objects(resource["spec"]["template"]["spec"]["containers"])))

    for i in range(count):
        broken = copy.deepcopy(resource)
        list(objects(broken["spec"]["template"]["spec"]["containers"]))[i]["unknownField"] = "x"
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_configuration_of_the_example_is_right_and_names_its_service_and_a_mounted_repository() -> None:
    problems: list[Problem] = []
    config = load.parse(tomllib.loads(kubernetes.data_of("api-config")["release-agent.toml"]), problems, {})
    services = configparser.RawConfigParser()
    services.read_string(kubernetes.data_of("api-services")["web.conf"])

    assert problems == []
    assert services.sections() == [f"program:{service.name}" for service in config.services]
    assert services["program:web"]["directory"] == f"{config.app.root}/current"
    mounts = {mount["mountPath"]: mount for mount in kubernetes.pod()["containers"][0]["volumeMounts"]}
    assert config.app.root in mounts
    assert all(mounts["/" + repository.path.split("/")[1]]["readOnly"] for repository in config.repositories)


def test_pod_stops_later_than_its_services_and_mounts_directories() -> None:
    services = configparser.RawConfigParser()
    services.read_string(kubernetes.data_of("api-services")["web.conf"])
    pod = kubernetes.pod()

    assert pod["terminationGracePeriodSeconds"] > int(services["program:web"]["stopwaitsecs"])
    assert [mount for mount in pod["containers"][0]["volumeMounts"] if "subPath" in mount] == []


def test_capabilities_are_the_documented_ones() -> None:
    rows = page("docs/guides/containers.md").section("Capabilities").rows()

    documented = [name for row in rows for name in names(row[0])]
    capabilities = kubernetes.pod()["containers"][0]["securityContext"]["capabilities"]
    assert capabilities == {"drop": ["ALL"], "add": sorted(documented)}


def test_documented_checks_of_compose_and_of_an_image_are_the_readiness_probe() -> None:
    section = page("docs/guides/containers.md").section("Health checks")
    (compose,), (image,) = section.examples("yaml"), section.examples("dockerfile")

    of_image = " ".join(image.partition(" CMD \\\n")[2].split())
    for shown in (yaml.safe_load(compose)["services"]["api-1"]["healthcheck"]["test"], of_image):
        assert ["sh", "-c", shown] == kubernetes.probe("readinessProbe")
