#!/bin/sh
# with-secrets COMMAND...: runs a command with secrets that lie in files. NAME_FILE names the file of NAME.
set -eu
for name in MLFLOW_TRACKING_PASSWORD AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY PGPASSWORD; do
    eval "file=\${${name}_FILE:-}"
    [ -n "$file" ] || continue
    [ -r "$file" ] || { echo "with-secrets: ${name}_FILE names $file, which cannot be read by user $(id -u)." >&2; exit 1; }
    value=$(cat "$file")
    export "$name=$value"
    unset "${name}_FILE"
done
exec "$@"
