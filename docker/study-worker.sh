#!/bin/sh
# study-worker NAME...: runs studies of the project at /project, in a clone of its own.
#
# A study's supervisor locks its folder, so workers that shared one could not run beside each other. What they find is in
# the database (OPTUNA_STORAGE) and on the tracking server; weights stay in the container that trained them.
set -eu
git clone --quiet /project /tmp/project
cd /tmp/project
# The remotes that only this checkout knows, with their credentials.
if [ -f /project/.dvc/config.local ]; then cp /project/.dvc/config.local .dvc/; fi
export PYTHONPATH=/tmp/project/src
dvc pull --quiet data.dvc pretrained.dvc
dvc repro --quiet prepare
for name in "$@"; do
    yoyak study run "$name" --workers "${STUDY_WORKERS:-1}"
done
