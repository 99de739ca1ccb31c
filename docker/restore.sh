#!/usr/bin/env bash
# restore.sh FOLDER: replaces the databases of the stack by those of a backup, and brings back its objects.
#
# Objects that the backup does not have stay. Nothing is touched where the backup is damaged, or where the stack has runs,
# unless FORCE=1 is set. COMPOSE is the command that knows the stack.
set -euo pipefail
folder=$1
[ -f "$folder/SHA256SUMS" ] || { echo "There is no backup in $folder: name one with BACKUP=…" >&2; exit 1; }
(cd "$folder" && sha256sum --check --quiet SHA256SUMS) || { echo "The backup in $folder is damaged." >&2; exit 1; }
psql() { $COMPOSE exec -T postgres psql --username=postgres --no-psqlrc --quiet --tuples-only --no-align "$@"; }

# MLflow's container is needed for the objects, and may not have been able to start without its database.
$COMPOSE up --detach --wait postgres s3 mlflow
if [ "${FORCE:-}" != 1 ]; then
    runs=$(psql --dbname=mlflow --command='SELECT count(*) FROM runs')
    [ "$runs" = 0 ] || { echo "The stack has $runs runs, which a restore would replace: FORCE=1 does." >&2; exit 1; }
fi
# Objects first: a run that is back has its artifacts.
$COMPOSE exec -T mlflow python /opt/stack/objects.py load <"$folder/objects.tar"
$COMPOSE stop mlflow
while read -r database owner; do
    psql --set=ON_ERROR_STOP=1 --dbname=postgres \
        --command="DROP DATABASE IF EXISTS $database WITH (FORCE)" \
        --command="CREATE DATABASE $database OWNER $owner ENCODING 'UTF8' TEMPLATE template0" \
        --command="REVOKE CONNECT, TEMPORARY ON DATABASE $database FROM PUBLIC" </dev/null
    $COMPOSE exec -T postgres pg_restore --username=postgres --dbname="$database" --no-owner --role="$owner" \
        --exit-on-error --single-transaction <"$folder/$database.dump"
done <<'EOF'
mlflow mlflow
mlflow_auth mlflow
optuna optuna
EOF
# Its start gives the accounts the passwords of docker/secrets, which may be others than when the backup was made.
$COMPOSE up --detach --wait mlflow
echo "restored $folder"
