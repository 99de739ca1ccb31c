"""Save the objects of all buckets to a TAR file on standard output, or bring those of one on standard input back.

    docker compose exec -T mlflow python /opt/stack/objects.py save > objects.tar
    docker compose exec -T mlflow python /opt/stack/objects.py load < objects.tar

It speaks S3 and nothing else, so that a backup of one store can be brought into another.
"""

from __future__ import annotations

import os
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

SECRETS = Path("/run/secrets")


def connect() -> Any:
    """Return a client of the store."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"],
        aws_access_key_id=(SECRETS / "s3_access_key").read_text(encoding="utf-8").strip(),
        aws_secret_access_key=(SECRETS / "s3_secret_key").read_text(encoding="utf-8").strip(),
    )


def save(client: Any, target: BinaryIO) -> int:
    """Write every object as ``bucket/key`` and return how many there were."""
    count = 0
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for bucket in client.list_buckets()["Buckets"]:
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"]):
                for entry in page.get("Contents", []):
                    answer = client.get_object(Bucket=bucket["Name"], Key=entry["Key"])
                    member = tarfile.TarInfo(f"{bucket['Name']}/{entry['Key']}")
                    member.size = answer["ContentLength"]
                    member.mtime = entry["LastModified"].timestamp()
                    archive.addfile(member, answer["Body"])
                    count += 1
    return count


def load(client: Any, source: BinaryIO) -> int:
    """Put every object of an archive in its bucket and return how many there were; no other object is touched."""
    count = 0
    buckets = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    with tarfile.open(fileobj=source, mode="r|") as archive:
        for member in archive:
            bucket, _, key = member.name.partition("/")
            body = archive.extractfile(member)
            if body is None or not key:
                raise SystemExit(f"{member.name} is not an object: this is not an archive that `save` wrote.")
            if bucket not in buckets:
                client.create_bucket(Bucket=bucket)
                buckets.add(bucket)
            # Only to be read: boto3 would try to go back in a file of an archive that is a stream, which cannot. It
            # buffers a part of a large object at a time instead.
            client.upload_fileobj(SimpleNamespace(read=body.read), bucket, key)
            count += 1
    return count


def main() -> int:
    """Run `save` or `load` and say on standard error how many objects there were."""
    match sys.argv[1:]:
        case ["save"]:
            count = save(connect(), sys.stdout.buffer)
        case ["load"]:
            count = load(connect(), sys.stdin.buffer)
        case _:
            print("objects.py save|load", file=sys.stderr)
            return 2
    print(f"{count} objects", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
