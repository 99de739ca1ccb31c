#!/usr/bin/env bash
# Pushes an image that `make images` has built to GitHub's registry, and writes its name there and its digest to
# release/image.txt. Reads IMAGE, TAG, GITHUB_REPOSITORY, GITHUB_ACTOR and GITHUB_TOKEN.
set -euo pipefail
cd "$(dirname "$0")/.."

name="ghcr.io/${GITHUB_REPOSITORY,,}/$IMAGE"
echo "$GITHUB_TOKEN" | docker login ghcr.io --username "$GITHUB_ACTOR" --password-stdin
docker tag "yoyak/$IMAGE:$TAG" "$name:$TAG"
docker push --quiet "$name:$TAG"
digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$name:$TAG" | sed -n "s|^$name@||p" | head -n 1)
mkdir -p release
printf 'name=%s\ndigest=%s\n' "$name" "$digest" > release/image.txt
