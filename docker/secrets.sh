#!/bin/sh
# secrets.sh: makes docker/.env and the passwords in docker/secrets that do not exist; what exists is kept.
#
# Only the owner may enter docker/secrets. The files in it can be read by anyone who is let in, because Compose mounts each
# of them into containers as it is, and the users there are others.
set -eu
cd "$(dirname "$0")"
volume=$1
mkdir -p secrets
chmod 700 secrets
for name in postgres_password mlflow_db_password optuna_db_password mlflow_admin_password mlflow_trainer_password \
    mlflow_serve_password mlflow_cookie_key s3_access_key s3_secret_key; do
    [ ! -s "secrets/$name" ] || continue
    case $name in
        postgres_password | *_db_password)
            # PostgreSQL keeps the passwords that it was set up with.
            if ${DOCKER:-docker} volume inspect "$volume" >/dev/null 2>&1; then
                echo "docker/secrets/$name is missing, but the database in the volume $volume was set up with it: restore the file." >&2
                exit 1
            fi
            ;;
    esac
    length=40
    [ "$name" != s3_access_key ] || length=20
    LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | head -c "$length" >"secrets/$name.new"
    chmod 444 "secrets/$name.new"
    mv "secrets/$name.new" "secrets/$name"
    echo "made docker/secrets/$name"
done
if [ ! -e .env ]; then
    sed -e "s/^YOYAK_UID=.*/YOYAK_UID=$(id -u)/" -e "s/^YOYAK_GID=.*/YOYAK_GID=$(id -g)/" .env.example >.env
    echo "made docker/.env"
fi
# What the trainer and the workers see in place of these folders (docker/compose.yaml) needs them, in a checkout that they
# may not write to.
project=${YOYAK_PROJECT:-$(sed -n 's/^YOYAK_PROJECT=//p' .env)}
mkdir -p "${project:-..}/docker/secrets" "${project:-..}/docker/backups"
