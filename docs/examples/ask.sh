#!/bin/sh
# Asks for a change over HTTP with curl, and again: the same key is the same change.
# Usage: ask.sh DAEMON KIND GROUP KEY
set -eu
for _ in 1 2; do
  curl --silent --show-error --fail-with-body \
    -H 'Content-Type: application/json' -H "Idempotency-Key: ask-$2-$4" \
    -d "{\"kind\": \"$2\", \"privacy_group_id\": \"$3\", \"members\": [\"$4\"]}" \
    "$1/v1/changes"
  echo
done
