#!/bin/sh
# Installs what the tests start or ask: PostgreSQL, pgbouncer, NATS, RabbitMQ, nginx, Chromium, Node.js, a JDK, Maven,
# systemd-analyze, promtool and SoftHSM, from Debian's packages. (Kafka comes by Maven: kafka/install.sh.)
# Does nothing when all is there. The packages' services are not started: tests start servers of their own.
set -eu

present() {
    PATH="$PATH:/usr/sbin:/usr/lib/rabbitmq/bin" command -v "$1" >/dev/null && return
    ls /usr/lib/postgresql/*/bin/"$1" >/dev/null 2>&1
}

find_missing() {
    missing=""
    present initdb || missing="$missing postgresql"
    present pgbouncer || missing="$missing pgbouncer"
    present nginx || missing="$missing nginx-light"
    present nats-server || missing="$missing nats-server"
    { present rabbitmq-server && present erl_call && present epmd; } || missing="$missing rabbitmq-server"
    present chromium || present chromium-browser || present google-chrome || missing="$missing chromium"
    present node || missing="$missing nodejs"
    present npm || missing="$missing npm"
    { present java && present javac; } || missing="$missing default-jdk-headless"
    present mvn || missing="$missing maven"
    present systemd-analyze || missing="$missing systemd"
    present promtool || missing="$missing prometheus"
    { present softhsm2-util && ls /usr/lib/softhsm/libsofthsm2.so >/dev/null 2>&1; } || missing="$missing softhsm2"
}

find_missing
[ -n "$missing" ] || exit 0

give_up() {
    echo "The tests need these Debian packages or the programs in them:$missing" >&2
    echo "$1" >&2
    exit 1
}

command -v apt-get >/dev/null || give_up "This machine has no apt-get: install them in its own way, then try again."
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || give_up "Only root may install them: sudo apt-get install --no-install-recommends$missing"
    as_root="sudo -n"
fi

# Debian starts a service when its package is installed, unless this file says no.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
    trap '$as_root rm -f $policy' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
fi

install() {
    $as_root apt-get update --quiet=2 -o DPkg::Lock::Timeout=300 &&
        # shellcheck disable=SC2086 # one word per package
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
            -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 $missing
}

echo "Installing$missing"
said=$(mktemp)
install >"$said" 2>&1 || { cat "$said" >&2; rm -f "$said"; give_up "apt-get could not install them; it said the above."; }
rm -f "$said"

find_missing
[ -z "$missing" ] || give_up "They were installed, but their programs are still not found."
