#!/bin/sh
# Serves /data by S3 to whoever has the keys. They are in the environment, which rclone reads as a line of CSV, and not in
# the command line.
set -eu
RCLONE_AUTH_KEY=$(printf '"%s,%s"' "$(cat /run/secrets/s3_access_key)" "$(cat /run/secrets/s3_secret_key)")
export RCLONE_AUTH_KEY
exec rclone serve s3 /data --config /dev/null --cache-dir /tmp/rclone --addr :9000 --vfs-cache-mode off
