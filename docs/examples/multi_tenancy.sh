#!/bin/sh
# Tenants of one node, each with a token of its own: makes the keys, and for each tenant a token and a section of orchestrator.toml.
# Usage: multi_tenancy.sh keys DIRECTORY                             jwt.key, and jwt.pub for --rpc-http-authentication-jwt-public-key-file
#        multi_tenancy.sh tenant DIRECTORY NAME HTTP WS KEY HOURS    NAME.jwt; prints [[nodes]]
# Tokens end: whoever renews NAME.jwt needs not restart the daemon, which reads it again.
set -eu
umask 077
directory=$2

encoded() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

case $1 in
keys)
  openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$directory/jwt.key" 2>/dev/null ||
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$directory/jwt.key" 2>/dev/null
  openssl pkey -in "$directory/jwt.key" -pubout -out "$directory/jwt.pub"
  ;;
tenant)
  ends=$(($(date +%s) + 3600 * $7))
  head=$(printf '{"typ":"JWT","alg":"RS256"}' | encoded)
  claims=$(printf '{"permissions":["*:*"],"privacyPublicKey":"%s","exp":%s}' "$6" "$ends" | encoded)
  signed=$(printf '%s.%s' "$head" "$claims" | openssl dgst -sha256 -sign "$directory/jwt.key" -binary | encoded)
  printf '%s.%s.%s' "$head" "$claims" "$signed" >"$directory/$3.jwt"
  printf '[[nodes]]\nname = "%s"\nhttp = "%s"\nws = "%s"\nenclave_keys = ["%s"]\ntoken_file = "%s.jwt"\n\n' "$3" "$4" "$5" "$6" "$3"
  ;;
esac
