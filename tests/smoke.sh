#!/usr/bin/env bash
# The whole pipeline on presets/smoke.yaml. A second `dvc repro` must find nothing to do and add no run.
set -euo pipefail
cd "$(dirname "$0")/.."

yoyak preset smoke --force
runs() { python -c "import sqlite3; print(sqlite3.connect('mlflow.db').execute('select count(*) from runs').fetchone()[0])"; }

SECONDS=0
dvc pull --quiet data.dvc pretrained.dvc
dvc repro
echo "first run: ${SECONDS} s"
before=$(runs)

SECONDS=0
again=$(dvc repro)
echo "second run: ${SECONDS} s"
echo "$again"
if echo "$again" | grep '^> ' | grep -v '^> yoyak register$'; then
    echo "the second dvc repro ran a stage" >&2
    exit 1
fi
if ! echo "$again" | grep -q 'nothing changed' || [ "$(runs)" != "$before" ]; then
    echo "the second dvc repro changed the registry or added a run" >&2
    exit 1
fi
