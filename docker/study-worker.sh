#!/bin/sh
# study-worker NAME...: runs studies of the project at YOYAK_PROJECT, in a clone of its own.
#
# A study's supervisor locks its folder, so workers that shared one could not run beside each other. What they find is in
# the database (OPTUNA_STORAGE) and on the tracking server; weights stay in the container that trained them.
set -eu
project=${YOYAK_PROJECT:-/project} clone=${YOYAK_CLONE:-/tmp/project}
git clone --quiet "$project" "$clone"
cd "$clone"
# The remotes that only this checkout knows, with their credentials.
if [ -f "$project/.dvc/config.local" ]; then cp "$project/.dvc/config.local" .dvc/; fi
export PYTHONPATH="$clone/src"
dvc pull --quiet data.dvc pretrained.dvc
dvc repro --quiet prepare
# The last study takes the place of this shell, so that a signal to it ends the trials.
while [ $# -gt 1 ]; do
    yoyak study run "$1" --workers "${STUDY_WORKERS:-1}"
    shift
done
exec yoyak study run "$1" --workers "${STUDY_WORKERS:-1}"
