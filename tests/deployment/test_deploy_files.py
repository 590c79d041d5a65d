"""The files for NVIDIA's container: their schemas, and the facts that their safety rests on."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import shlex
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lung_nodule.core.validation import MOST_VOXELS
from lung_nodule.deployment.repository.model_repository import TEMPLATES
from lung_nodule.deployment.server import canary
from tests.deployment.fake_triton import serving_page
from tests.module_file import module_from

DEPLOY = TEMPLATES / "deploy"
TAG = "25.06-py3"
KUBERNETES = "1.30"
KINDS_OF_OPERATORS = {"PodMonitor"}
KUSTOMIZATION = "kustomization.yaml"
APPLIED = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if "values" not in path.name)
requires_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def load(name: str | Path) -> Any:
    """A YAML file of the folder."""
    return yaml.safe_load((DEPLOY / name).read_text())


def manifest(name: str) -> dict[str, Any]:
    """A manifest by its file's name."""
    return load(f"kubernetes/{name}.yaml")


def pods() -> dict[str, dict[str, Any]]:
    """The specifications of the pods."""
    return {"server": manifest("deployment")["spec"]["template"]["spec"], "loader": manifest("loader")["spec"]}


def server() -> dict[str, Any]:
    """The server's container in Kubernetes."""
    return pods()["server"]["containers"][0]


def service() -> dict[str, Any]:
    """The server in the Compose file."""
    return load("compose.yaml")["services"]["triton"]


@pytest.mark.parametrize("path", APPLIED, ids=lambda path: path.stem)
def test_manifests_follow_the_schema(path: Path) -> None:
    checker = pytest.importorskip("kubernetes_validate")
    document = yaml.safe_load(path.read_text())
    if document["kind"] in KINDS_OF_OPERATORS:
        with pytest.raises(checker.SchemaNotFoundError):
            checker.validate(document, KUBERNETES, strict=True)
    else:
        checker.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_files_follow_the_schema(name: str) -> None:
    found = importlib.util.find_spec("check_jsonschema")
    if found is None or found.origin is None:
        pytest.skip("check-jsonschema is not installed")
    schema = Path(found.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(load(name))


@requires_kubectl
def test_kubectl_builds_the_kustomization() -> None:
    text = subprocess.run(["kubectl", "kustomize", DEPLOY], check=True, capture_output=True, text=True).stdout
    built = list(yaml.safe_load_all(text))
    assert {(item.get("metadata") or {}).get("namespace") for item in built} == {None, "lung-nodule"}
    maps = {item["metadata"]["name"]: item["data"] for item in built if item["kind"] == "ConfigMap"}
    deployment = next(item for item in built if item["kind"] == "Deployment")["spec"]["template"]["spec"]
    mounted = next(volume for volume in deployment["volumes"] if volume["name"] == "canary")["configMap"]["name"]
    assert maps[mounted] == {"canary.py": (DEPLOY / "canary.py").read_text()}
    assert deployment["containers"][0]["image"] == f"registry.example.org/lung-nodule-triton:{TAG}"


def test_every_manifest_is_applied_or_named_as_extra() -> None:
    listed = set(load(KUSTOMIZATION)["resources"])
    files = {f"kubernetes/{path.name}" for path in (DEPLOY / "kubernetes").iterdir()}
    assert files - listed == {"kubernetes/loader.yaml", "kubernetes/prometheus-adapter-values.yaml"}
    assert listed <= files


def test_one_image_everywhere() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert re.findall(r"^FROM (.*)$", dockerfile, re.MULTILINE) == [f"nvcr.io/nvidia/tritonserver:{TAG}"]
    assert service()["image"] == f"lung-nodule-triton:{TAG}"
    replaced = load(KUSTOMIZATION)["images"][0]
    assert (replaced["name"], replaced["newTag"]) == (server()["image"], TAG)
    assert pods()["loader"]["containers"][0]["image"] == f"{replaced['newName']}:{TAG}"
    texts = [path.read_text() for path in (*DEPLOY.rglob("*.yaml"), DEPLOY / "Dockerfile")]
    assert {tag for text in texts for tag in re.findall(r"\d\d\.\d\d-py3", text)} == {TAG}


def test_the_image_holds_the_versions_that_are_tested() -> None:
    pins = dict(re.findall(r"([\w-]+)==([\w.]+)", (DEPLOY / "Dockerfile").read_text()))
    required = dict(re.findall(r"^([\w-]+)==([\w.]+)", (TEMPLATES.parent / "requirements.txt").read_text(), re.M))
    assert {"scikit-image", "numpy", "scipy", "pillow"} <= set(pins) & set(required)
    assert {name: version for name, version in pins.items() if required.get(name, version) != version} == {}


@pytest.mark.parametrize("name", ["server", "loader"])
def test_pods_run_without_root_on_a_read_only_root(name: str) -> None:
    pod = pods()[name]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 1000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_compose_runs_without_root_on_a_read_only_root() -> None:
    assert service()["user"] == "1000:1000"
    assert service()["read_only"] is True
    assert service()["cap_drop"] == ["ALL"]
    assert all(volume["read_only"] for volume in service()["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in service()["ports"])
    assert service()["restart"] == "unless-stopped"


PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def test_the_probe_is_the_canary() -> None:
    mounts = {mount["name"]: mount for mount in server()["volumeMounts"]}
    script = [f"{mounts['canary']['mountPath']}/canary.py"]
    for probe in PROBES:
        assert server()[probe]["exec"]["command"] == ["python3", *script]
    assert service()["healthcheck"]["test"] == ["CMD", "python3", *script]
    assert [volume["target"] for volume in service()["volumes"] if volume["source"] == "./canary.py"] == script
    waits = float(re.findall(r'"--timeout", type=float, default=(\d+)', (DEPLOY / "canary.py").read_text())[0])
    longest = [server()[probe]["timeoutSeconds"] for probe in PROBES]
    assert min(*longest, int(service()["healthcheck"]["timeout"].rstrip("s"))) > waits


def test_one_gpu_each() -> None:
    resources = server()["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "1"
    reserved = load("compose.gpu.yaml")["services"]["triton"]["deploy"]["resources"]["reservations"]["devices"]
    assert reserved == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


def test_the_repository_is_mounted_read_only_and_what_is_written_lies_in_memory() -> None:
    mounts = {mount["mountPath"]: mount for mount in server()["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pods()["server"]["volumes"]}
    assert mounts["/models"]["readOnly"] is True
    claimed = volumes[mounts["/models"]["name"]]["persistentVolumeClaim"]["claimName"]
    assert claimed == manifest("volume")["metadata"]["name"]
    assert "--model-repository=/models/repository" in server()["args"]
    assert "--model-repository=/models" in service()["command"]
    assert volumes[mounts["/dev/shm"]["name"]]["emptyDir"]["medium"] == "Memory"
    assert "readOnly" not in mounts["/tmp"]
    assert [entry.split(":")[0] for entry in service()["tmpfs"]] == ["/tmp"]


def test_ports_and_labels_meet() -> None:
    ports = {port["name"]: port["containerPort"] for port in server()["ports"]}
    assert ports == {"http": 8000, "grpc": 8001, "metrics": 8002}
    assert {entry.split(":", 1)[1] for entry in service()["ports"]} == {f"{port}:{port}" for port in ports.values()}
    assert {port["targetPort"] for port in manifest("service")["spec"]["ports"]} == {"http", "grpc"}
    allowed = [{port["port"] for port in rule["ports"]} for rule in manifest("network-policy")["spec"]["ingress"]]
    assert allowed == [{"http", "grpc"}, {"metrics"}]
    assert [endpoint["port"] for endpoint in manifest("pod-monitor")["spec"]["podMetricsEndpoints"]] == ["metrics"]
    labels = manifest("deployment")["spec"]["template"]["metadata"]["labels"]
    assert manifest("service")["spec"]["selector"] == labels
    for name, selector in (("deployment", "selector"), ("pod-monitor", "selector"), ("network-policy", "podSelector")):
        assert manifest(name)["spec"][selector] == {"matchLabels": labels}


def test_the_autoscaler_reads_the_metric_that_the_adapter_offers() -> None:
    scaler, rules = manifest("autoscaler")["spec"], manifest("prometheus-adapter-values")["rules"]["custom"]
    assert [metric["pods"]["metric"]["name"] for metric in scaler["metrics"]] == [rule["name"]["as"] for rule in rules]
    assert scaler["scaleTargetRef"]["name"] == manifest("deployment")["metadata"]["name"]
    assert "replicas" not in manifest("deployment")["spec"]
    assert all("nv_inference_queue_duration_us" in rule["metricsQuery"] for rule in rules)


def test_the_dashboard_has_its_panels_in_order() -> None:
    board = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    panels, names = board["panels"], {entry["name"] for entry in board["templating"]["list"]}
    assert len({panel["id"] for panel in panels}) == len(panels) >= 10
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(panels)
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(panels)))
    assert used - {"__rate_interval"} == names == {"datasource", "model"}


def test_the_proxy_takes_the_largest_voi() -> None:
    limit = re.findall(r"client_max_body_size (\d+)m;", (DEPLOY / "nginx.conf").read_text())
    assert [int(size) * 2**20 > 4 * MOST_VOXELS for size in limit] == [True]


def test_the_folder_is_no_model() -> None:
    assert not list(DEPLOY.rglob("config.pbtxt"))


def test_the_script_asks_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    script = module_from(DEPLOY / "canary.py", "deployed_canary")
    with serving_page(b"{}") as url, pytest.raises(KeyError, match="inputs"):  # it was answered
        script.ask(url, "mtcnn", 5.0)


@pytest.mark.parametrize(("answered", "well"), [(0, False), (3, True)])
def test_a_busy_server_is_alive(answered: int, well: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers others while the question waits; a wrong answer is never well."""
    script = module_from(DEPLOY / "canary.py", "deployed_canary")
    counts = iter([7, 7 + answered, 7, 7 + answered])

    def page(url: str, body: object, timeout_s: float) -> dict[str, Any]:
        assert url == "http://server/v2/models/mtcnn/stats"
        count = next(counts)
        return {"model_stats": [{"inference_stats": {"success": {"count": count}}}]}

    def late(*_: object) -> None:
        raise script.CanaryTimeoutError("timed out")

    monkeypatch.setattr(script, "_json", page)
    monkeypatch.setattr(script, "ask", late)
    with contextlib.nullcontext() if well else pytest.raises(script.CanaryError, match="timed out"):
        script.check("http://server", "mtcnn", 1.0)

    def wrong(*_: object) -> None:
        raise script.CanaryError("no probabilities")

    monkeypatch.setattr(script, "ask", wrong)
    with pytest.raises(script.CanaryError, match="no probabilities"):
        script.check("http://server", "mtcnn", 1.0)


def test_a_server_that_is_silent_is_late() -> None:
    script = module_from(DEPLOY / "canary.py", "deployed_canary")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(script.CanaryTimeoutError):
            script.ask(url, "mtcnn", 0.2)


def test_a_drained_node_takes_one_pod() -> None:
    budget = manifest("disruption-budget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == manifest("deployment")["spec"]["selector"]


def test_float32_is_not_computed_as_tf32() -> None:
    assert "ENV NVIDIA_TF32_OVERRIDE=0" in (DEPLOY / "Dockerfile").read_text().splitlines()


def test_the_script_asks_what_the_canary_asks() -> None:
    script = module_from(DEPLOY / "canary.py", "deployed_canary")
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    config = ModelConfig(input=[{"name": name} for name in script.INPUTS])
    values = canary._values(config)
    assert values is not None
    given = {name: (list(value.shape), value.ravel().tolist()) for name, value in values.items()}
    assert given == {name: (shape, data) for name, (shape, data) in script.INPUTS.items()}


def test_commands_of_both_are_the_same_but_for_the_place() -> None:
    def known(arguments: list[str]) -> set[str]:
        return {shlex.split(argument)[0].split("=")[0] for argument in arguments}

    assert known(server()["args"]) == known(service()["command"])
