"""Input and output in S3: a server of the same protocol on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from batch_scoring.dialogue_files import ROWS, write_csv, write_parquet
from yoyak import params
from yoyak.batch_scoring.results import part_name
from yoyak.batch_scoring.run import Options, score
from yoyak.batch_scoring.storage import list_names, open_storage, read_bytes
from yoyak.errors import UserError

moto = pytest.importorskip("moto.server", reason="pip install 'moto[s3]', as requirements.lock has it")
BUCKET = "dialogues"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server with an empty bucket, which the environment names as it does for AWS's own tools."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    open_storage.cache_clear()
    yield f"{host}:{port}"
    open_storage.cache_clear()
    server.stop()


@pytest.mark.slow
def test_a_pattern_in_s3_becomes_parts_in_s3(packaged: Path, s3: str, tmp_path: Path) -> None:
    client = boto3.client("s3")
    client.upload_file(str(write_parquet(tmp_path / "a.parquet", ROWS[:9], 4)), BUCKET, "in/a.parquet")
    rows = [*ROWS[9:], {"fname": "bad", "dialogue": ""}]
    client.upload_file(str(write_csv(tmp_path / "b.csv", rows)), BUCKET, "in/b.csv")
    place, output = f"s3://{BUCKET}/in/*.*", open_storage(f"s3://{BUCKET}/out")

    def run(output: str, **options: object) -> str:
        return score(str(packaged), place, output, params.Data(), Options(engine="local", workers=1, **options))  # type: ignore[arg-type]

    sentence = run(f"s3://{BUCKET}/out", part_rows=5)
    assert f"20 summarized in s3://{BUCKET}/out" in sentence
    names = {part_name(number) for number in range(5)}
    assert list_names(output) == {"_manifest.json", "_SUCCESS", "_rejected", *names}
    assert list_names(output, "_rejected") == {part_name(4)}
    client.delete_object(Bucket=BUCKET, Key="out/part-00002.parquet")
    assert "16 of them before" in run(f"s3://{BUCKET}/out")
    local = tmp_path / "out"
    run(str(local), part_rows=5)
    for name in names:
        assert read_bytes(output, output.join(name)) == (local / name).read_bytes()
    with pytest.raises(UserError, match=r"No file matches s3://dialogues/none/\*\.csv"):
        place = f"s3://{BUCKET}/none/*.csv"
        run(str(local))


def test_the_options_of_a_url_name_another_server(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key="a.csv", Body=b"content")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    storage = open_storage(f"s3://{BUCKET}/a.csv?endpoint_override={s3}&scheme=http")
    assert read_bytes(storage, storage.path) == b"content"
