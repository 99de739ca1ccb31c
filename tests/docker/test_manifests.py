"""The Kubernetes manifests and the SLURM script: valid by their schemas, confined, and of one piece with the images."""

from __future__ import annotations

import copy
import ipaddress
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from yoyak.serving.environment import ALLOWED_HOSTS
from yoyak.serving.guard import Guard, split_hosts
from yoyak.serving.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docker"
FILES = sorted((FOLDER / "kubernetes").glob("*.yaml"))
OBJECTS = {
    f"{path.stem}/{value['kind']}": value
    for path in FILES
    for value in yaml.safe_load_all(path.read_text(encoding="utf-8"))
}
WORKLOADS = {name: value for name, value in OBJECTS.items() if value["kind"] in ("Deployment", "Job")}
SECRETS = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["secrets"]
KUBERNETES = ("1.29", "1.37")
"""The oldest and the newest version that the schemas are of here."""
SBATCH = FOLDER / "slurm" / "study-workers.sbatch"


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    return workload["spec"]["template"]["spec"]


def containers_of(workload: dict[str, Any]) -> list[dict[str, Any]]:
    pod = pod_of(workload)
    return [*pod.get("initContainers", []), *pod["containers"]]


def test_what_serves_and_what_runs_studies_is_there():
    assert list(OBJECTS) == [
        *(f"serve/{kind}" for kind in ("Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler")),
        *("serve/NetworkPolicy", "study-worker/Job", "study-worker/NetworkPolicy"),
    ]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", OBJECTS)
def test_a_manifest_is_what_its_schema_says_and_nothing_else(name, version):
    kubernetes_validate.validate(OBJECTS[name], version, strict=True)


def test_the_schemas_refuse_a_key_that_there_is_not_and_a_value_of_another_type():
    for key, wrong in (("replica", 2), ("replicas", "two")):
        deployment = copy.deepcopy(OBJECTS["serve/Deployment"])
        deployment["spec"][key] = wrong
        with pytest.raises(kubernetes_validate.ValidationError, match=key):
            kubernetes_validate.validate(deployment, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_container_is_confined_and_bounded(name):
    pod = pod_of(WORKLOADS[name])
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in containers_of(WORKLOADS[name]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        for bound in ("requests", "limits"):
            assert set(container["resources"][bound]) == {"cpu", "memory", "ephemeral-storage"}
        # Threads are one for each processor of the limit.
        assert container["resources"]["limits"]["cpu"].isdigit()
    assert all({"emptyDir", "secret"} & set(volume) for volume in pod["volumes"]), "nothing of the node is mounted"
    assert all(volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume)


@pytest.mark.parametrize("name", WORKLOADS)
def test_images_are_those_that_are_built_and_secrets_those_that_are_made(name):
    targets = re.findall(r"^FROM .* AS (\S+)$", (FOLDER / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    for container in containers_of(WORKLOADS[name]):
        image = re.fullmatch(r"yoyak/([a-z-]+):local", container["image"])
        assert image and image[1] in targets
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        assert set(mounts) <= {volume["name"] for volume in pod_of(WORKLOADS[name])["volumes"]}
        for variable in container.get("env", []):
            value = variable.get("value", "")
            if variable["name"].endswith("_FILE"):
                folder, _, secret = value.rpartition("/")
                assert folder == mounts["secrets"]["mountPath"] and secret in SECRETS
            else:
                assert not re.search("PASSWORD|SECRET|KEY", variable["name"]), "a secret is a file"


def test_whatever_is_written_has_a_volume():
    [serve] = containers_of(OBJECTS["serve/Deployment"])
    assert {mount["mountPath"] for mount in serve["volumeMounts"] if not mount.get("readOnly")} == {"/tmp"}
    worker = containers_of(OBJECTS["study-worker/Job"])[-1]
    assert {mount["mountPath"] for mount in worker["volumeMounts"] if not mount.get("readOnly")} == {"/tmp", "/cache"}


def test_the_objects_of_a_server_mean_the_same_pods_and_port():
    deployment = OBJECTS["serve/Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        OBJECTS["serve/Service"]["spec"]["selector"],
        OBJECTS["serve/PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        OBJECTS["serve/NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector == labels for selector in selectors)
    target = OBJECTS["serve/HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert "replicas" not in deployment["spec"], "the autoscaler's decision would be undone"
    [serve] = containers_of(deployment)
    [port] = serve["ports"]
    assert port["containerPort"] == 5001 and "5001" in serve["args"]
    [service] = OBJECTS["serve/Service"]["spec"]["ports"]
    assert service["targetPort"] == port["name"]
    assert OBJECTS["serve/NetworkPolicy"]["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 5001}]
    probes = {name: serve[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/health",
        "livenessProbe": "/health",
        "readinessProbe": "/ready",
    }


@pytest.mark.parametrize("address", ["10.1.2.3", "[fd00::3]"])
@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(
            (name, 200)
            for name in ("yoyak-serve:5001", "yoyak-serve.team.svc", "yoyak-serve.team.svc.cluster.local:5001")
        ),
        ("evil.example.com", 400),
        ("10.1.2.4:5001", 400),
    ],
)
def test_clients_call_the_server_by_the_names_of_its_service_and_probes_by_the_address_of_its_pod(
    address, host, status
):
    [serve] = containers_of(OBJECTS["serve/Deployment"])
    names = {variable["name"]: variable.get("value", "") for variable in serve["env"]}[ALLOWED_HOSTS]
    guard = Guard(PlainTextResponse("ok"), metrics=Metrics(), max_bytes=1 << 20, hosts=split_hosts(names))
    client = TestClient(guard, base_url=f"http://{address}:5001")
    assert client.get("/health", headers={"Host": host}).status_code == status
    assert client.get("/health").status_code == 200


def test_workers_select_nothing_but_themselves():
    job, policy = OBJECTS["study-worker/Job"], OBJECTS["study-worker/NetworkPolicy"]
    assert policy["spec"]["podSelector"]["matchLabels"] == job["spec"]["template"]["metadata"]["labels"]
    assert "ingress" not in policy["spec"] and "Ingress" in policy["spec"]["policyTypes"]


def test_what_trains_cannot_ask_the_metadata_service_of_a_cloud():
    blocks = [ipaddress.ip_network(block) for rule in OBJECTS["study-worker/NetworkPolicy"]["spec"]["egress"]
              for target in rule["to"] for block in target.get("ipBlock", {}).get("except", [])]  # fmt: skip
    assert any(ipaddress.ip_address("169.254.169.254") in block for block in blocks)


class Cluster:
    """A project whose worker says what it was given, and the environment of a SLURM job."""

    def __init__(self, folder: Path) -> None:
        self.project, self.tmp = folder / "project", folder / "node"
        self.tmp.mkdir()
        (self.project / "docker").mkdir(parents=True)
        (self.project / "docker" / "with-secrets.sh").write_text('exec "$@"\n', encoding="utf-8")
        self.environment = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.tmp),
            "SLURM_SUBMIT_DIR": str(self.project),
            "SLURM_CPUS_PER_TASK": "4",
            "OPTUNA_STORAGE": "postgresql+psycopg2://db/optuna",
        }

    def start(self, worker: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        (self.project / "docker" / "study-worker.sh").write_text(worker, encoding="utf-8")
        return subprocess.Popen(
            ["bash", str(SBATCH), *arguments],
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


def test_a_job_runs_a_worker_in_a_clone_of_its_own_and_ends_as_it_does(cluster):
    job = cluster.start('echo "$1 $YOYAK_PROJECT $YOYAK_CLONE $OMP_NUM_THREADS"; ls "$YOYAK_CLONE"; exit 3\n', "mine")
    out, _ = job.communicate(timeout=20)
    study, project, clone, threads = out.split()
    assert (study, project, threads) == ("mine", str(cluster.project), "4")
    assert Path(clone).parent == cluster.tmp and not Path(clone).exists()
    assert job.returncode == 3


def test_a_job_whose_time_is_up_waits_until_its_worker_has_ended_its_trials(cluster):
    worker = 'trap "sleep 0.3; echo trials ended; exit 0" TERM; echo busy; while :; do sleep 0.05; done\n'
    job = cluster.start(worker, "mine")
    assert job.stdout is not None and job.stdout.readline() == "busy\n"
    job.send_signal(signal.SIGTERM)
    out, _ = job.communicate(timeout=20)
    assert (out, job.returncode) == ("trials ended\n", 0)
    assert not list(cluster.tmp.iterdir())


@pytest.mark.parametrize(("arguments", "storage", "missing"), [((), "x", "name a study"), (("a",), "", "PostgreSQL")])
def test_a_job_without_what_it_needs_says_so(cluster, arguments, storage, missing):
    job = cluster.start("exit 0\n", *arguments, OPTUNA_STORAGE=storage)
    _, err = job.communicate(timeout=20)
    assert job.returncode != 0 and missing in err


def test_a_worker_is_in_the_place_of_its_shell_so_that_a_signal_reaches_it(tmp_path):
    project, programs = tmp_path / "project", tmp_path / "bin"
    project.mkdir()
    programs.mkdir()
    subprocess.run(["git", "init", "--quiet", str(project)], check=True)
    says = 'trap "echo ended $4; exit 0" TERM; echo "$$ $*"; while :; do sleep 0.05; done\n'
    for name, script in (("dvc", "exit 0\n"), ("yoyak", says)):
        (programs / name).write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
        (programs / name).chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "YOYAK_PROJECT": str(project),
        "YOYAK_CLONE": str(tmp_path / "clone"),
        "STUDY_WORKERS": "2",
    }
    worker = subprocess.Popen(
        ["sh", str(FOLDER / "study-worker.sh"), "mine"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == f"{worker.pid} study run mine --workers 2\n"
    worker.send_signal(signal.SIGTERM)
    assert worker.communicate(timeout=20)[0] == "ended --workers\n"
    assert worker.returncode == 0
