"""The server stack and its images: what can be told without an engine, and the doors and budgets where there is one.

The whole path, from a training to a database that was lost and is back, is `make containers-test`, which takes minutes.
"""

from __future__ import annotations

import configparser
import importlib.util
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from types import ModuleType
from typing import IO

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docker"
SETTINGS = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = SETTINGS["services"]


def load(path: str) -> ModuleType:
    """Return a script of docker/ as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem + "_of_docker", FOLDER / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


PACKAGES = load("packages.py")
LOCK = PACKAGES.locked(ROOT / "requirements.lock")


def listed(name: str) -> tuple[set[str], set[str]]:
    """Return what an image's list has, and what it leaves out."""
    text = (FOLDER / "packages" / name).read_text(encoding="utf-8")
    without = re.findall(r"^# without: (.*)$", text, re.MULTILINE)
    return {line for line in text.splitlines() if line and line[0] != "#"}, set(" ".join(without).split())


@pytest.mark.parametrize("name", ["mlflow.txt", "serve.txt"])
def test_an_image_has_every_package_that_its_packages_need_or_says_which_it_leaves_out(name):
    names, without = listed(name)
    assert names <= set(LOCK), f"not in requirements.lock: {names - set(LOCK)}"
    missing = {}
    for package in names:
        try:
            needed = [Requirement(line) for line in requires(package) or []]
        except PackageNotFoundError:
            continue  # An environment that was made before the package came to the lock.
        for one in needed:
            wanted = PACKAGES.normalize(one.name)
            if (one.marker is None or one.marker.evaluate({"extra": ""})) and wanted not in names | without:
                missing[wanted] = package
    assert not missing
    assert not names & without


def test_the_served_image_leaves_out_torch_and_what_trains():
    names, _ = listed("serve.txt")
    assert not names & {"torch", "transformers", "optimum", "mlflow", "scikit-learn", "pyarrow", "setuptools", "pip"}


def test_packages_that_are_not_as_in_the_lock_are_named(tmp_path):
    lock = tmp_path / "requirements.lock"
    pins = {name: version for name, version in LOCK.items() if name != "pluggy"}
    pins["pytest"] = "0.1"
    lock.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()), encoding="utf-8")
    found = PACKAGES.unlocked(lock, set())
    assert any(line.startswith("pytest ") and "the lock has 0.1" in line for line in found)
    assert any(line.startswith("pluggy ") for line in found)
    # What only pytest needs may be missing where pytest may; its own version is still compared.
    assert not any(line.startswith("pluggy ") for line in PACKAGES.unlocked(lock, {"pytest"}))


def test_third_party_images_are_pinned_by_digest():
    defaults = [SERVICES[name]["image"] for name in ("postgres", "s3")]
    defaults += re.findall(
        r"^ARG PYTHON_IMAGE=(.*)$", (FOLDER / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(defaults) == 3
    for image in defaults:
        assert re.search(r":[^@]+@sha256:[0-9a-f]{64}\}?$", image), image


def test_nothing_but_torch_comes_from_the_address_of_its_wheels():
    recipe = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    [arguments] = re.findall(r"pip install (.*--index-url.*)", recipe)
    assert "--no-deps" in arguments and arguments.endswith(" torch")


def test_ports_are_published_on_this_machine_alone_unless_somebody_says_otherwise():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(port.startswith("${BIND:-127.0.0.1}:") for port in published)
    assert "ports" not in SERVICES["postgres"]


def test_services_drop_what_they_do_not_need():
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "privileged" not in service, name
    assert {name for name, service in SERVICES.items() if service.get("read_only")} == {"mlflow", "serve"}
    assert SERVICES["serve"]["networks"] == ["tracking"]


def test_no_secret_is_in_the_environment_of_a_service():
    for name, service in SERVICES.items():
        for key, value in service["environment"].items() if "environment" in service else []:
            if re.search(r"PASSWORD|SECRET|ACCESS_KEY", key):
                assert key.endswith("_FILE") and str(value).startswith("/run/secrets/"), f"{name}: {key}"


@pytest.fixture
def checkout(tmp_path):
    """A folder docker/ as a clone has it, and an engine that knows the volumes in ``volumes``."""
    shutil.copytree(FOLDER, tmp_path / "docker", ignore=shutil.ignore_patterns("secrets", ".env", "backups"))
    engine = tmp_path / "engine"
    engine.write_text('#!/bin/sh\ngrep -qx "$3" "$(dirname "$0")/volumes"\n', encoding="utf-8")
    engine.chmod(0o755)
    (tmp_path / "volumes").touch()
    return tmp_path


def make_secrets(checkout: Path) -> subprocess.CompletedProcess[str]:
    command = [str(checkout / "docker" / "secrets.sh"), "yoyak_postgres"]
    environment = {**os.environ, "DOCKER": str(checkout / "engine")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_first_start_makes_every_secret_of_the_stack_and_later_ones_keep_them(checkout):
    assert make_secrets(checkout).returncode == 0
    folder = checkout / "docker" / "secrets"
    made = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert set(made) == set(SETTINGS["secrets"])
    assert len(set(made.values())) == len(made)
    assert all(re.fullmatch(r"[A-Za-z0-9]{20,40}", value) for value in made.values())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    settings = (checkout / "docker" / ".env").read_text(encoding="utf-8")
    assert f"YOYAK_UID={os.getuid()}\n" in settings
    (folder / "s3_secret_key").unlink()
    assert make_secrets(checkout).returncode == 0
    again = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert again.pop("s3_secret_key") != made.pop("s3_secret_key")
    assert again == made


def test_what_trains_sees_no_secret_and_no_backup_of_the_stack_in_the_checkout(checkout, tmp_path, monkeypatch):
    seeing = {name for name, service in SERVICES.items() for volume in service.get("volumes", [])
              if volume.partition(":")[2].startswith("-..}:/project")}  # fmt: skip
    assert seeing == {"trainer", "study-worker"}
    hidden = ["docker/secrets", "docker/backups"]
    for name in seeing:
        assert SERVICES[name]["tmpfs"] == [f"/project/{path}" for path in hidden], name
    # A folder that is mounted read-only has to have them already.
    make_secrets(checkout)
    assert all((checkout / path).is_dir() for path in hidden)
    other = tmp_path / "other"
    monkeypatch.setenv("YOYAK_PROJECT", str(other))
    make_secrets(checkout)
    assert all((other / path).is_dir() for path in hidden)


def test_a_lost_password_of_a_database_that_exists_is_not_made_up(checkout):
    make_secrets(checkout)
    (checkout / "docker" / "secrets" / "mlflow_db_password").unlink()
    (checkout / "volumes").write_text("yoyak_postgres\n", encoding="utf-8")
    done = make_secrets(checkout)
    assert done.returncode == 1
    assert "mlflow_db_password" in done.stderr and "restore the file" in done.stderr
    assert not (checkout / "docker" / "secrets" / "mlflow_db_password").exists()


@pytest.mark.parametrize("path", ["docker/.env", "docker/secrets/s3_secret_key", "docker/backups/x/mlflow.dump"])
def test_git_ignores_secrets_and_backups(path):
    assert subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False).returncode == 0


def run_with_secrets(tmp_path: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(FOLDER / "with-secrets.sh"), "sh", "-c", script]
    return subprocess.run(
        command, env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, check=False
    )


def test_secrets_in_files_become_variables_of_the_command(tmp_path):
    file = tmp_path / "secret"
    file.write_text('it\'s $HOME `x` "y"\n', encoding="utf-8")
    script = 'printf "%s|%s|%s" "$PGPASSWORD" "${PGPASSWORD_FILE-unset}" "$SSL_CERT_FILE"'
    done = run_with_secrets(tmp_path, script, PGPASSWORD_FILE=str(file), SSL_CERT_FILE="/etc/ca")
    assert done.stdout == 'it\'s $HOME `x` "y"|unset|/etc/ca'


def test_a_secret_that_cannot_be_read_is_named(tmp_path):
    done = run_with_secrets(tmp_path, "echo started", AWS_SECRET_ACCESS_KEY_FILE=str(tmp_path / "none"))
    assert done.returncode == 1 and not done.stdout
    assert "AWS_SECRET_ACCESS_KEY_FILE" in done.stderr and str(tmp_path / "none") in done.stderr


class Store:
    """An S3 client whose buckets are in memory: what `objects.py` calls, and nothing else."""

    def __init__(self, buckets: dict[str, dict[str, bytes]]) -> None:
        self.buckets = buckets

    def list_buckets(self):
        return {"Buckets": [{"Name": name} for name in self.buckets]}

    def create_bucket(self, Bucket):  # noqa: N803 boto3's name
        self.buckets[Bucket] = {}

    def get_paginator(self, operation):
        from datetime import UTC, datetime

        assert operation == "list_objects_v2"
        moment = datetime(2026, 11, 28, tzinfo=UTC)
        store = self

        class Paginator:
            def paginate(self, Bucket):  # noqa: N803
                keys = sorted(store.buckets[Bucket])
                yield from ({"Contents": [{"Key": key, "LastModified": moment}]} for key in keys)
                yield {}

        return Paginator()

    def get_object(self, Bucket, Key):  # noqa: N803
        body = self.buckets[Bucket][Key]
        return {"ContentLength": len(body), "Body": io.BytesIO(body)}

    def upload_fileobj(self, body, bucket, key):
        # boto3 calls this if it is there; a file of an archive that is a stream raises then.
        assert not hasattr(body, "seekable") or body.seekable() in (True, False)
        self.buckets[bucket][key] = body.read()


def test_saved_objects_are_the_same_when_they_are_loaded_into_another_store():
    objects = load("mlflow/objects.py")
    long = "한글/" + "k" * 300 + "/" + "n" * 200
    before = {"mlflow": {"a": b"", long: bytes(range(256)) * 9000}, "dvc": {"files/md5/00/1": b"x"}, "empty": {}}
    archive = io.BytesIO()
    assert objects.save(Store({name: dict(found) for name, found in before.items()}), archive) == 3
    archive.seek(0)
    after = {"mlflow": {"kept": b"y"}}
    assert objects.load(Store(after), archive) == 3
    assert after == {"mlflow": {**before["mlflow"], "kept": b"y"}, "dvc": before["dvc"]}


def test_an_archive_that_holds_no_objects_is_refused():
    objects = load("mlflow/objects.py")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as file:
        file.addfile(tarfile.TarInfo("no-bucket"))
    archive.seek(0)
    with pytest.raises(SystemExit, match="no-bucket is not an object"):
        objects.load(Store({}), archive)


# ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine():
    """The Docker client, where an engine answers it and has the images of `make images`."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs a Docker engine (docs/containers.md)")
    return docker


def inspect(docker: str, image: str) -> dict:
    done = subprocess.run([docker, "image", "inspect", image], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs the image {image} (`make images`)")
    return dict(json.loads(done.stdout)[0])


@pytest.mark.parametrize(("name", "budget"), [("serve", 500), ("mlflow", 900), ("train-cpu", None)])
def test_images_keep_to_their_budget_and_never_run_as_root(engine, name, budget):
    image = inspect(engine, f"yoyak/{name}:local")
    assert budget is None or image["Size"] < budget * 1e6
    assert image["Config"]["User"] == "10001:10001"
    assert image["Config"]["Healthcheck"]["Test"]
    assert {"version", "revision", "created", "licenses"} <= {
        label.rpartition(".")[2] for label in image["Config"]["Labels"]
    }


def test_a_served_image_starts_on_a_read_only_file_system_without_torch_or_a_compiler(engine):
    image = f"yoyak/serve:{os.environ.get('YOYAK_TAG', 'local')}"
    inspect(engine, image)
    probe = (
        "import importlib.util, pathlib, shutil, tempfile\n"
        "print([name for name in ('torch', 'transformers', 'pip') if importlib.util.find_spec(name)],"
        " [name for name in ('cc', 'gcc', 'g++', 'ld', 'make') if shutil.which(name)])\n"
        "tempfile.TemporaryFile()\n"
        "import yoyak.serving.app, yoyak.demo.app, onnxruntime, mlflow.pyfunc\n"
        "pathlib.Path('/opt/yoyak/x').touch()\n"
    )
    command = [engine, "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none", image]
    done = subprocess.run([*command, "python", "-c", probe], capture_output=True, text=True, check=False)
    # The system's Python may have a pip of its own; the environment of the image has none.
    assert done.stdout.splitlines()[-1:] in (["[] []"],), done.stdout + done.stderr
    assert "Errno 30" in done.stderr or "Errno 13" in done.stderr, done.stderr


def test_no_data_key_or_cache_enters_a_build(engine, tmp_path):
    context = tmp_path / "context"
    for path in ("data/train.csv", ".git/config", ".dvc/config.local", "docker/.env", "docker/secrets/key",
                 ".env", "docker/mlflow/.env", "docker/mlflow/server.key", "src/yoyak/.env", "src/yoyak/id.pem",
                 "docker/backups/x/mlflow.dump", "mlflow.db", "mlruns/x", "src/yoyak/__pycache__/a.pyc", ".venv/x",
                 "src/yoyak/a.py", "pyproject.toml", "docker/Dockerfile"):  # fmt: skip
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        (context / path).write_text("x", encoding="utf-8")
    shutil.copy(ROOT / ".dockerignore", context)
    recipe = "FROM scratch\nCOPY . /\n"
    out = tmp_path / "out"
    command = [engine, "build", "--quiet", "--file", "-", "--output", f"type=local,dest={out}", str(context)]
    done = subprocess.run(command, input=recipe, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == {"src/yoyak/a.py", "pyproject.toml", "docker/Dockerfile"}


PLANTED = "zqxplantedzqx"
FORBIDDEN = re.compile(
    r"(^|/)(\.env|\.git|\.netrc|\.pypirc|\.dvc|id_rsa|secrets|backups|mlruns)(/|$)|\.(key|db|dump)$|^(project|src)/."
    r"|^(data|wheels|root/\.cache|tmp|var/cache/pip|var/cache/apt/archives|var/lib/apt/lists)/.*[^/]$"
    r"|(^|/)(pip\.conf|\.config/pip|\.cache)(/|$)"
)
"""Names that no file of a layer above the base may have: keys, data, histories, caches, pip's configuration."""
STAGES = {"mlflow": "mlflow-build", "serve": "serve-build", "train-cpu": "train-build,train-cpu-build,train"}
"""What runs pip, or whatever else could leave something in a layer."""


def planted_checkout(folder: Path) -> Path:
    """Return a clone of this checkout, as it is on disk, in which secrets lie where people leave them."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    changed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                             capture_output=True, text=True, check=True).stdout.splitlines()  # fmt: skip
    for path in changed:
        if (ROOT / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
    for path in ("data/train.csv", ".git/planted", ".env", "docker/.env", "docker/secrets/key", "docker/backups/x.dump",
                 "docker/mlflow/.env", "docker/mlflow/server.key", "src/yoyak/.env", "src/yoyak/id.pem", "mlflow.db",
                 "mlruns/0/x", ".dvc/config.local", ".cache/x", "models/bart/model.safetensors"):  # fmt: skip
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(PLANTED, encoding="utf-8")
    return folder


def holds(file: IO[bytes], text: bytes) -> bool:
    """Return whether a file that may be large has a text."""
    before = b""
    while chunk := file.read(1 << 20):
        if text in before + chunk:
            return True
        before = chunk[-len(text) :]
    return False


def planted_configuration(given: str, file: Path) -> set[str]:
    """Write pip's configuration with something planted in it, and return what of it nobody may find in an image."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(given)
    values = [value for section in settings.values() for value in section.values()]
    if not settings.has_section("install"):
        settings.add_section("install")
    hosts = f"{settings['install'].get('trusted-host', '')} {PLANTED}.example"
    settings["install"]["trusted-host"] = hosts.strip()
    with file.open("w", encoding="utf-8") as out:
        settings.write(out)
    accounts = [name for value in values for name in re.findall(r"://([^@/\s]+)@", value)]
    mirrors = [name for value in values for name in re.findall(r"://(?:[^@/\s]*@)?([\w.-]+)", value)]
    return {PLANTED, *accounts, *(set(mirrors) - {"pypi.org", "download.pytorch.org"})}


def search_layers(saved: Path, base: set[str], secrets: set[str]) -> tuple[int, list[str]]:
    """Return how many files a saved image has above its base, and what no layer and no history may hold."""
    count, found = 0, []
    with tarfile.open(saved, "r:") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is None or member.name.removeprefix("blobs/").replace("/", ":") in base:
                continue
            for secret in secrets:
                file.seek(0)
                if holds(file, secret.encode()):
                    found.append(f"{member.name} has {secret}")
            file.seek(0)
            if file.read(512)[257:262] != b"ustar":
                continue  # The image's settings, and how each layer was made.
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as layer:
                # An empty file is a lock, or says that one of a layer below is not there any more.
                held = [one for one in layer if not one.isdir() and (one.size or not one.isfile())]
            names = [one.name.removeprefix("./") for one in held]
            count += len(names)
            found += [name for name in names if FORBIDDEN.search(name)]
    return count, found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlflow", "serve", "train-cpu"])
def test_no_layer_of_an_image_holds_a_secret_data_or_a_cache(engine, name, tmp_path):
    """It is built again, from a context in which secrets lie about and with one in pip's configuration."""
    inspect(engine, f"yoyak/{name}:local")
    python = os.environ.get("PYTHON_IMAGE", "")
    base = subprocess.run([engine, "image", "inspect", python], capture_output=True, text=True, check=False)
    layers = set(json.loads(base.stdout)[0]["RootFS"]["Layers"]) if base.returncode == 0 else set()
    configuration = tmp_path / "pip.conf"
    given = Path(os.environ["PIP_CONF"]).read_text(encoding="utf-8") if os.environ.get("PIP_CONF") else ""
    secrets = planted_configuration(given, configuration)
    # What is planted in a secret does not make Docker run a step again.
    flags = f"--secret id=pip,src={configuration} --no-cache-filter builder,{STAGES[name]}"
    flags += f" --build-arg PYTHON_IMAGE={python}" if python else ""
    image = f"yoyak/{name}:planted"
    command = ["make", "--no-print-directory", "images", f"IMAGES={name}", "TAG=planted", f"BUILD_FLAGS={flags}"]
    checkout = planted_checkout(tmp_path / "checkout")
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    saved = tmp_path / "image.tar"
    try:
        subprocess.run([engine, "save", "--output", str(saved), image], check=True)
        count, found = search_layers(saved, layers, secrets)
        assert count > 1000
        assert not found
    finally:
        subprocess.run([engine, "image", "rm", image], capture_output=True, check=False)
        saved.unlink(missing_ok=True)


def test_what_an_image_must_not_hold_is_found_in_layers_and_histories(tmp_path):
    """The search above, on an image in which everything is wrong."""
    configuration = tmp_path / "pip.conf"
    given = "[global]\nindex-url = https://me:hidden@mirror.example/simple\n[install]\ntrusted-host = other\n"
    secrets = planted_configuration(given, configuration)
    assert secrets == {PLANTED, "me:hidden", "mirror.example"}
    assert f"trusted-host = other {PLANTED}.example" in configuration.read_text(encoding="utf-8")
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("var/cache/apt/archives/lock"))
        for path in ("etc/pip.conf", "tmp/x", "opt/yoyak/lib/a.py", "root/.config/pip/pip.conf", "home/x/.cache/a"):
            member = tarfile.TarInfo(path)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    saved = tmp_path / "image.tar"
    history = b'{"history": [{"created_by": "RUN pip install --index-url https://mirror.example/simple"}]}'
    with tarfile.open(saved, "w") as tar:
        for path, content in (("blobs/sha256/1", layer.getvalue()), ("blobs/sha256/2", history),
                              ("blobs/sha256/3", PLANTED.encode())):  # fmt: skip
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    count, found = search_layers(saved, {"sha256:3"}, secrets)
    assert count == 5
    assert sorted(found) == [
        "blobs/sha256/2 has mirror.example", "etc/pip.conf", "home/x/.cache/a", "root/.config/pip/pip.conf", "tmp/x"
    ]  # fmt: skip
