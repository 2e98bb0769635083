#!/bin/sh
# Brings the jars of the Kafka server that tests start into the folder jars. From where is Maven's own configuration; what
# comes has to be what jars.sha256 says. After a change of pom.xml: ./install.sh lock
set -eu
cd "$(dirname "$0")"

new=$(mktemp -d ./new.XXXXXX)
trap 'rm -rf "$new"' EXIT
said=$(mktemp)
mvn --batch-mode --quiet dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$new" >"$said" 2>&1 || {
    cat "$said" >&2
    rm -f "$said"
    echo "Maven could not bring Kafka's jars; it said the above." >&2
    exit 1
}
rm -f "$said"

(cd "$new" && sha256sum -- *.jar) >"$new/found"
if [ "${1:-}" = lock ]; then
    cp "$new/found" jars.sha256
elif ! diff jars.sha256 "$new/found" >&2; then
    echo "Kafka's jars are not those of jars.sha256: < is what was expected, > what came." >&2
    exit 1
fi
rm -rf jars "$new/found"
mv "$new" jars
chmod 755 jars
touch jars/.installed
