#!/usr/bin/env bash
# backup.sh FOLDER: saves the databases and then the objects to FOLDER/<time>, which appears when it is complete.
#
# In this order: an artifact that is logged meanwhile is then in the backup without its run, which harms nobody, and no run
# is in it without its artifacts. COMPOSE is the command that knows the stack.
set -euo pipefail
umask 077
folder=$1/$(date --utc +%Y-%m-%dT%H%M%SZ)
work=$folder.part
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
for database in mlflow mlflow_auth optuna; do
    $COMPOSE exec -T postgres pg_dump --username=postgres --format=custom "$database" >"$work/$database.dump"
done
$COMPOSE exec -T mlflow python /opt/stack/objects.py save >"$work/objects.tar"
(cd "$work" && sha256sum -- *.dump objects.tar >SHA256SUMS)
mv "$work" "$folder"
trap - EXIT
echo "$folder: $(du --summarize --human-readable "$folder" | cut -f1)"
