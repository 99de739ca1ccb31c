"""The digests of a model's files: any change is noticed, what MLflow and Python add is not."""

import re
import shutil
import subprocess

import pytest

from yoyak.errors import UserError
from yoyak.models.manifest import MANIFEST, check_manifest, write_manifest


@pytest.fixture
def model(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "MLmodel").write_text("flavors:")
    (tmp_path / "code/요약.py").write_text("pass")
    return tmp_path


def replace_by_link(path):
    """Put a link to the very same content in the place of a file."""
    path.symlink_to(path.rename(path.parent.parent / "elsewhere"))


def problem(folder, expected=None):
    """What is wrong with a model; empty if nothing is."""
    try:
        check_manifest(folder, expected, where="models:/m/1", remedy="restore it")
    except UserError as error:
        return str(error)
    return ""


def test_the_same_files_have_the_same_digest_and_pass(model, tmp_path_factory):
    digest = write_manifest(model)
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert not problem(model, digest)
    assert write_manifest(model) == digest
    copy = tmp_path_factory.mktemp("copy") / "model"
    shutil.copytree(model, copy)
    assert not problem(copy, digest)


def test_coreutils_read_it(model):
    write_manifest(model)
    done = subprocess.run(["sha256sum", "--check", "--quiet", MANIFEST], cwd=model, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "MLmodel").write_text("x"), "the file MLmodel is not the one that was logged"),
        (lambda folder: (folder / "code/요약.py").unlink(), "the file code/요약.py is missing"),
        (lambda folder: (folder / "code/os.py").write_text("x"), "the file code/os.py does not belong to it"),
        (lambda folder: (folder / "link").symlink_to("/etc/passwd"), "the file link does not belong to it"),
        (lambda folder: (folder / "code/json").symlink_to("/tmp"), "the file code/json does not belong to it"),
        (lambda folder: (folder / "code/__pycache__").symlink_to("/tmp"), "code/__pycache__ does not belong to it"),
        (lambda folder: replace_by_link(folder / "MLmodel"), "the file MLmodel does not belong to it"),
        (lambda folder: (folder / MANIFEST).write_text(""), f"{MANIFEST}, which says what its files are, is not"),
        (lambda folder: (folder / MANIFEST).unlink(), f"has no {MANIFEST}"),
    ],
)
def test_every_change_is_named(model, harm, message):
    digest = write_manifest(model)
    harm(model)
    assert message in problem(model, digest)
    assert problem(model, digest).endswith(": restore it.")


def test_what_mlflow_and_python_add_is_no_change(model):
    digest = write_manifest(model)
    (model / "registered_model_meta").write_text("model_name: yoyak")
    (model / "code/__pycache__").mkdir()
    (model / "code/__pycache__/a.cpython-311.pyc").write_bytes(b"x")
    assert not problem(model, digest)


def test_a_model_of_an_older_version_is_not_checked(model):
    assert not problem(model)
    assert "has no" in problem(model, "0" * 64)
