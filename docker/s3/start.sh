#!/bin/sh
# Starts SeaweedFS with one account: without keys in its environment it would answer anyone. Its master, volumes and filer
# ask for no password, so that no port but that of S3 may be published.
set -eu
AWS_ACCESS_KEY_ID=$(cat /run/secrets/s3_access_key)
AWS_SECRET_ACCESS_KEY=$(cat /run/secrets/s3_secret_key)
[ -n "$AWS_ACCESS_KEY_ID" ] && [ -n "$AWS_SECRET_ACCESS_KEY" ]
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
exec /entrypoint.sh mini -dir=/data -s3.port=9000 -s3.allowedOrigins=http://localhost -master.telemetry=false \
    -admin.ui=false -webdav=false
