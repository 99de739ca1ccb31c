#!/usr/bin/env bash
# Runs the tests with transformers 5 in an environment of its own. The export stays out: optimum-onnx needs transformers
# below 4.58, so it cannot be installed beside it.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv-next
"${PYTHON:-python3.11}" -m venv --clear "$venv"
export PATH="$PWD/$venv/bin:$PATH"
# Without what optimum or an older transformers pins: pip chooses what transformers 5 needs.
grep -E '^[A-Za-z0-9]' requirements.lock | grep -vE '^(optimum|optimum-onnx|transformers|huggingface-hub|tokenizers)==' \
    > "$venv/requirements.txt"
pip install --quiet --disable-pip-version-check --requirement "$venv/requirements.txt" 'transformers>=5,<6'
pip install --quiet --disable-pip-version-check --no-deps --editable .
mapfile -t ignored < <(grep -rlE 'yoyak\.export|live_server|onnx' tests --include='test_*.py' --include=conftest.py)
arguments=()
for file in "${ignored[@]}"; do
    [ "$(basename "$file")" = conftest.py ] && file=$(dirname "$file")
    [ "$file" = tests ] || arguments+=("--ignore=$file")
done
echo "transformers $(python -c 'import transformers; print(transformers.__version__)'), without ${#arguments[@]} files or folders of the export"
pytest -n 2 --dist loadfile "${arguments[@]}"
