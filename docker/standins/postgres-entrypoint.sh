#!/bin/sh
# What docker/compose.yaml uses of the entry point of PostgreSQL's image: an empty volume is filled, the scripts of
# /docker-entrypoint-initdb.d are run by a server that listens on its socket only, and the server is started.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    export POSTGRES_USER=postgres
    # shellcheck disable=SC2086 # several arguments
    initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust \
        $POSTGRES_INITDB_ARGS
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl --pgdata="$PGDATA" --wait --options="-c listen_addresses=''" start
    for script in /docker-entrypoint-initdb.d/*.sh; do "$script"; done
    pg_ctl --pgdata="$PGDATA" --wait --mode=fast stop
fi
exec "$@" -c listen_addresses='*'
