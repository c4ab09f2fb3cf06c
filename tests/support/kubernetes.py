"""Read the manifests of examples/kubernetes."""

from __future__ import annotations

from typing import Any

import yaml

from support.environment import PROJECT

PATH = "examples/kubernetes/api.yaml"


def manifests() -> list[dict[str, Any]]:
    """Return every resource of the example."""
    return list(yaml.safe_load_all((PROJECT / PATH).read_text(encoding="utf-8")))


def data_of(name: str) -> dict[str, str]:
    """Return the files of a ConfigMap."""
    (data,) = (each["data"] for each in manifests() if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name)
    return dict(data)


def pod() -> dict[str, Any]:
    """Return the specification of the example's pods."""
    (found,) = (each["spec"]["template"]["spec"] for each in manifests() if each["kind"] == "StatefulSet")
    return dict(found)


def probe(kind: str) -> list[str]:
    """Return the command of a probe, such as ``livenessProbe``."""
    return list(pod()["containers"][0][kind]["exec"]["command"])
