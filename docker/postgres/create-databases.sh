#!/bin/sh
# Run by PostgreSQL's image when its volume is empty: a user and databases for MLflow, and for Optuna, who cannot reach
# each other's. psql reads the passwords from their files, so that no command line has them.
set -eu
psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres <<'SQL'
\set mlflow `cat /run/secrets/mlflow_db_password`
\set optuna `cat /run/secrets/optuna_db_password`
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE ROLE optuna LOGIN PASSWORD :'optuna';
CREATE DATABASE mlflow OWNER mlflow ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE mlflow_auth OWNER mlflow ENCODING 'UTF8' TEMPLATE template0;
CREATE DATABASE optuna OWNER optuna ENCODING 'UTF8' TEMPLATE template0;
REVOKE CONNECT, TEMPORARY ON DATABASE mlflow, mlflow_auth, optuna, postgres FROM PUBLIC;
SQL
