from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.consul.client import ConsulClient
from release_agent.errors import Code, Misconfigured
from release_agent.rollout.inventory import maestro
from release_agent.rollout.inventory.choice import InventoryChoice, choose
from release_agent.rollout.model import InventoryHost
from support.configuration import write
from support.maestro_files import HEAD, SHIPS, one, problems_of, read, services

if TYPE_CHECKING:
    from pathlib import Path


# One file as maestro-ng's documentation describes them: templates that make instances, ports of every form.
TEMPLATED = """\
# The shop: a store of three nodes, and what asks it.
__maestro:
  schema: 2

{%- set name = 'shop' %}
name: {{ name }}

registries:
  private: {registry: 'https://images.example.org/v1/', username: ci, password: secret}
ship_defaults:
  timeout: 60
ships:
  one: {ip: 192.168.10.2, docker_port: 4243, timeout: 5}
  two:
    ip: c416.ore3.example.org
    endpoint: c416.corp.example.org
    ssh_tunnel:
      user: ops
      key: {{ env.HOME }}/.ssh/id_dsa
      port: 22

audit:
  - type: log
    file: /tmp/audit.log

services:
  {%- with nodes = {'one': [('store-1', 1), ('store-2', 2)], 'two': [('store-3', 3)]} %}
  store:
    image: images.example.org/store:3.4.6-2
    env:
      {#- Ids of the whole cluster. #}
      {%- set ids = [] %}
      {%- for ship, details in nodes.items() %}
        {%- for name, id in details %}
          {%- set DO = ids.append('{}:{}'.format(name, id)) %}
        {%- endfor %}
      {%- endfor %}
      {%- if ids|length > 1 %}
      STORE_IDS: {{ ids|join(',') }}
      {%- endif %}
    lifecycle:
      running: [{type: tcp, port: client, max_wait: 10}]
    instances:
      {%- for ship, details in nodes.items() %}
      {%- for name, id in details %}
      {{ name }}:
        ship: {{ ship }}
        ports:
          client:
            exposed: 2181
            external: {{ 2181 + loop.index0 }}
          peer: {exposed: 2888, external: [192.168.10.2, {{ 2888 + loop.index0 }}]}
          control: "9001:{{ 19000 + loop.index0 }}"
        volumes:
          /data/store/{{ id }}: /var/lib/store
          /etc/localtime: {target: /etc/localtime, mode: ro}
        env: {STORE_ID: {{ id }}}
        limits: {memory: 1g, cpu: 2}
        lifecycle:
          running:
            - {type: exec, command: "python ./ask.py", attempts: 10}
            - {type: http, port: client, path: /health}
          pre-stop: [{type: rexec, command: leave}]
          stopped: [{type: sleep, wait: 5}]
      {%- endfor %}
      {%- endfor %}
  {%- endwith %}

  front:
    image: images.example.org/front:{{ env.TAG|default('latest') }}
    requires: [ store ]
    ports: {supervisor: 9101, http: "80:8080", dns: 53/udp}
    instances:
      front-1:
        ship: two
        stop_timeout: 60
        net: host
      front-2:
        ship: one

  look:
    image: ubuntu
    wants_info: [ store, front ]
    omit: true
    instances:
      look: {ship: one, command: "bash -c 'env'"}
"""


def with_ports(ports: str) -> str:
    return one(f"{{ship: one, ports: {ports}}}")


def test_a_file_as_maestros_documentation_describes_them(tmp_path: Path) -> None:
    assert read(tmp_path, TEMPLATED, environ={"HOME": "/root"}) == [
        InventoryHost("store-1", "http://192.168.10.2:19000", "store"),
        InventoryHost("store-2", "http://192.168.10.2:19001", "store"),
        InventoryHost("store-3", "http://c416.ore3.example.org:19000", "store"),
        InventoryHost("front-1", "http://c416.ore3.example.org:9101", "front", rank=1),
        InventoryHost("front-2", "http://192.168.10.2:9101", "front", rank=1),
    ]


def test_services_that_are_asked_for_are_read_and_no_others_even_where_they_are_to_be_omitted(tmp_path: Path) -> None:
    targets = read(tmp_path, TEMPLATED, "look", "front", environ={"HOME": "/root"})

    assert [(target.name, target.rank) for target in targets] == [("front-1", 0), ("front-2", 0), ("look", 0)]


def test_ports_are_those_of_the_ships_ip_never_of_its_docker_endpoint(tmp_path: Path) -> None:
    text = f"{HEAD}ships: {{s: {{ip: 10.0.0.1, endpoint: 192.168.10.1}}}}\nservices: {{web: {{instances: {{w: {{ship: s}}}}}}}}\n"

    assert read(tmp_path, text) == [InventoryHost("w", "http://10.0.0.1:9001", "web")]


@pytest.mark.parametrize(
    ("ip", "host"), [("'::1'", "[::1]"), ("'fe80::7'", "[fe80::7]"), ("a_b.example.org.", "a_b.example.org.")]
)
def test_a_ship_may_have_a_name_or_an_address_of_ipv6(tmp_path: Path, ip: str, host: str) -> None:
    text = f"{HEAD}ships: {{s: {{ip: {ip}}}}}\nservices: {{web: {{instances: {{w: {{ship: s}}}}}}}}\n"

    assert read(tmp_path, text)[0].url == f"http://{host}:9001"


@pytest.mark.parametrize(
    ("ports", "port"),
    [
        ("{}", 9001),
        ("", 9001),
        ("{http: 8080}", 9001),
        ("{control: 9001}", 9001),
        ("{control: 9001/tcp}", 9001),
        ("{control: '9001:19001'}", 19001),
        ("{control: '9001/tcp:19001/tcp'}", 19001),
        ("{control: '9001:19001/tcp'}", 19001),
        ("{control: {exposed: 9001, external: 19001}}", 19001),
        ("{control: {exposed: 9001/tcp, external: [10.0.0.9, 19001/tcp]}}", 19001),
        ("{control: '9001/udp:19001/udp', http: '9001:19002'}", 19002),
        ("{supervisor: 8001}", 8001),
        ("{rpc: '8001:18001', control: '9001:19001'}", 18001),
        ("{rpc: '8001:18001', supervisor: '8002:18002'}", 18002),
        ("{direct: '9000-9002:19000-19002'}", 19001),
        ("{direct: 9000-9002}", 9001),
        ("{direct: '9000-9002:19000'}", 19000),
    ],
)
def test_the_rpc_is_the_port_named_so_else_the_one_that_exposes_it_else_9001(tmp_path: Path, ports: str, port: int) -> None:
    assert read(tmp_path, with_ports(ports))[0].url == f"http://10.0.0.1:{port}"


def test_a_supervisord_on_another_port_of_all_containers(tmp_path: Path) -> None:
    assert read(tmp_path, with_ports("{a: '9001:1', b: '9101:2'}"), port=9101)[0].url == "http://10.0.0.1:2"
    assert read(tmp_path, with_ports("{a: '9001:1'}"), port=9101)[0].url == "http://10.0.0.1:9101"


def test_an_instance_has_its_services_ports_and_wins_over_them(tmp_path: Path) -> None:
    text = f"""{HEAD}{SHIPS}services:
  web:
    ports: {{supervisor: '9001:19001'}}
    instances:
      a: {{ship: one}}
      b: {{ship: one, ports: {{supervisor: '9001:19002'}}}}
"""
    assert [target.url for target in read(tmp_path, text)] == ["http://10.0.0.1:19001", "http://10.0.0.1:19002"]


@pytest.mark.parametrize(
    "spec",
    ["http", "0", "65536", "9001:22", "'1:2:3'", "53/sctp", "'1/tcp:2/udp'", "5-4", "true", "[1, 2]", "{exposed: 1}", "1.5"],
)
def test_no_ports(tmp_path: Path, spec: str) -> None:
    (problem,) = problems_of(tmp_path, with_ports(f"{{http: {spec}}}"))

    assert problem.startswith("services.web.instances.web-1.ports.http: must be a port such as 9001")


@pytest.mark.parametrize(
    ("ports", "why"),
    [
        ("{supervisor: 9001/udp}", '"supervisor" is a UDP port'),
        ("{control: '9001:19001-19003'}", '"control" may be any port from 19001 to 19003'),
        ("{rpc: '8001-8003:19001-19003'}", '"rpc" may be any port from 19001 to 19003'),
    ],
)
def test_ports_that_supervisords_rpc_cannot_have(tmp_path: Path, ports: str, why: str) -> None:
    (problem,) = problems_of(tmp_path, with_ports(ports))

    assert problem.startswith(f"services.web.instances.web-1.ports: {why}")


def test_instances_that_share_a_ship_are_not_refused_before_a_choice_is_made_among_them(tmp_path: Path) -> None:
    text = f"{HEAD}{SHIPS}services: {{web: {{instances: {{a: {{ship: one}}, b: {{ship: two}}, c: {{ship: one}}}}}}}}\n"
    file = str(write(tmp_path / "maestro.yaml", text))

    assert [host.name for host in _chosen(file, limit=["a", "b"])] == ["a", "b"]
    with pytest.raises(Misconfigured, match=r"the same supervisor: a \(http://10\.0\.0\.1:9001\), c"):
        _chosen(file)


def _chosen(file: str, **choice: Any) -> list[InventoryHost]:
    return choose(InventoryChoice(maestro=file, **choice), None, ConsulClient, {})


def test_an_instance_of_two_services_is_refused(tmp_path: Path) -> None:
    text = f"{HEAD}{SHIPS}services:\n  web: {{instances: {{a: {{ship: one}}}}}}\n  db: {{instances: {{a: {{ship: two}}}}}}\n"

    assert problems_of(tmp_path, text) == ["services.db.instances.a: is an instance of web already"]


def test_every_unknown_name_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    text = (
        f"{HEAD}{SHIPS}services:\n  web: {{requires: [db, dbb, 7], instances: {{a: {{ship: tow}}}}}}\n  db: {{instances: {{}}}}\n"
    )

    assert problems_of(tmp_path, text, "web", "wbe", "xyz") == [
        'services.web.requires[1]: there is no "dbb"; did you mean "db"?',
        'services.web.requires[2]: there is no "7"',
        'the services asked for: there is no "wbe"; did you mean "web"?',
        'the services asked for: there is no "xyz"',
        'services.web.instances.a.ship: there is no "tow"; did you mean "two"?',
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD + SHIPS, "services: is missing"),
        (HEAD + "services: {}\n", "ships: is missing"),
        (HEAD + "ships: {s: }\nservices: {}\n", "ships.s.ip: is missing"),
        (HEAD + "ships: {s: {endpoint: h}}\nservices: {}\n", "ships.s.ip: is missing"),
        (HEAD + "ships: {s: {ip: 10.5}}\nservices: {}\n", "ships.s.ip: must be an address or the name of a host, not 10.5"),
        (
            HEAD + "ships: {s: {ip: 'h:9001'}}\nservices: {}\n",
            "ships.s.ip: must be an address or the name of a host, not 'h:9001'",
        ),
        (
            HEAD + "ships: {s: {ip: 'fe80::1%eth0'}}\nservices: {}\n",
            "ships.s.ip: must be an address or the name of a host, not 'fe80::1%eth0'",
        ),
        (HEAD + "ships: {s: {ip: ''}}\nservices: {}\n", "ships.s.ip: must be an address or the name of a host, not ''"),
        (HEAD + "ships: [one]\nservices: {}\n", "ships: must be a mapping"),
        (HEAD + SHIPS + "services: {web: {image: i}}\n", "services.web.instances: is missing"),
        (HEAD + SHIPS + "services: {web: [a]}\n", "services.web: must be a mapping services.web.instances: is missing"),
        (HEAD + SHIPS + "services: {web: {instances: [a]}}\n", "services.web.instances: must be a mapping"),
        (HEAD + SHIPS + "services: {web: {requires: db, instances: {}}}\n", "services.web.requires: must be a list of services"),
        (HEAD + SHIPS + "services: {no: {}}\n", "services.False: must be a string: put it in quotes"),
        (one("{}"), "services.web.instances.web-1.ship: is missing"),
        (one(""), "services.web.instances.web-1.ship: is missing"),
        (one("{ship: [one]}"), "services.web.instances.web-1.ship: must be the name of a ship, not ['one']"),
        (one("{ship: one, ports: [1]}"), "services.web.instances.web-1.ports: must be a mapping"),
        (
            one("{ship: one}").replace("web-1", "'we b'"),
            'services.web.instances.we b: must be a container\'s name, of letters, digits, "_", "." and "-"',
        ),
        (one("{ship: one}", common="    ports: 7\n"), "services.web.ports: must be a mapping"),
    ],
)
def test_what_is_missing_or_of_another_kind_is_told_by_its_path(tmp_path: Path, text: str, problem: str) -> None:
    assert " ".join(problems_of(tmp_path, text)) == problem


@pytest.mark.parametrize(
    "text", [one("{ship: *a30}"), one("{ship: one, ports: {rpc: *a30}}"), HEAD + "ships: {s: {ip: *a30}}\nservices: {}\n"]
)
def test_message_shows_only_the_beginning_of_a_value_that_aliases_make_endless(tmp_path: Path, text: str) -> None:
    aliases = "".join(f"x{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 31))

    (problem,) = problems_of(tmp_path, f"x0: &a0 [x]\n{aliases}{text}")

    assert "[...], [...]]" in problem


def test_a_wrong_instance_of_a_service_that_is_not_chosen_is_passed_over(tmp_path: Path) -> None:
    text = services({"a": "", "b": ""}).replace("ship: b", "ship: nowhere")

    assert [target.name for target in read(tmp_path, text, "a")] == ["a-1"]


def test_services_without_instances_are_no_hosts(tmp_path: Path) -> None:
    assert read(tmp_path, f"{HEAD}{SHIPS}services: {{web: {{requires: , instances: {{}}}}}}\n") == []


@pytest.mark.parametrize("schema", ["{schema: 2}", "{schema: {version: 2}}", "{schema: 1}", "{}", ""])
def test_a_file_of_schema_2_or_1_which_is_the_default(tmp_path: Path, schema: str) -> None:
    assert read(tmp_path, with_ports("{}").replace("{schema: 2}", schema))


@pytest.mark.parametrize("schema", ["{schema: 3}", "{schema: '2'}", "{schema: true}", "{schema: [2]}"])
def test_a_file_of_another_schema_is_refused(tmp_path: Path, schema: str) -> None:
    (problem,) = problems_of(tmp_path, with_ports("{}").replace("{schema: 2}", schema))

    assert problem.startswith("__maestro.schema: must be 1 or 2, not ")


def test_a_file_that_cannot_be_read_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")

    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory"), (tmp_path / "binary", "UTF-8")):
        with pytest.raises(Misconfigured) as refused:
            maestro.read(path, [])
        assert refused.value.code == Code.INVENTORY_INVALID
        assert str(path) in refused.value.message
        assert words in refused.value.message


def test_problems_do_not_repeat_what_else_the_file_holds(tmp_path: Path) -> None:
    text = one("{ship: nowhere}") + "registries: {r: {password: hunter2}}\n"

    assert "hunter2" not in "".join(problems_of(tmp_path, text))
    assert "hunter2" not in "".join(problems_of(tmp_path, "registries: {password: hunter2\n- x\n"))


def test_neither_jinja_nor_yaml_is_imported_before_a_file_is_read() -> None:
    code = "import sys; import release_agent.rollout.inventory.maestro; print(sorted({'jinja2', 'yaml'} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout == "[]\n"
