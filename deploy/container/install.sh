#!/bin/sh
# Installs the wheel in dist/ with the locked requirements, each checked by its hash, into a new environment.
# Usage: install.sh TARGET [EXTRA…], in a folder with requirements.txt, requirements-build.txt, dist/*.whl, and for each
# extra its requirements-EXTRA.txt, which has what is in requirements.txt as well, in the same versions.
set -eu
target=$1
shift
locked=requirements.txt
for extra in "$@"; do
    locked="$locked requirements-$extra.txt"
done
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

set -- dist/*.whl
[ $# -eq 1 ] && [ -f "$1" ] || { echo "there must be one wheel in dist/: run make package" >&2; exit 1; }

# What comes as source only is built with the locked tools, not with whatever is newest today.
python3 -m venv "$tools/environment"
pip="$tools/environment/bin/python -m pip --disable-pip-version-check --no-input --quiet"
$pip install --require-hashes --requirement requirements-build.txt
# shellcheck disable=SC2086 # several files
$pip wheel --no-deps --no-build-isolation --require-hashes $(printf -- '--requirement %s ' $locked) \
    --wheel-dir "$tools/wheels"

# By name, so that the environment says where its packages come from; it gets no pip: what runs there installs nothing.
# shellcheck disable=SC2086 # several files
sed -n 's/^\([A-Za-z0-9].*[^ ]\) *\\$/\1/p' $locked | sort -u >"$tools/names"
echo besu-membership-orchestrator >>"$tools/names"
python3 -m venv --without-pip "$target"
$pip --python "$target/bin/python" install --no-index --no-deps --pre \
    --find-links "$tools/wheels" --find-links "$(dirname "$1")" --requirement "$tools/names"
$pip --python "$target/bin/python" check
"$target/bin/orchestrator" --version
