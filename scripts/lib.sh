# shellcheck shell=bash
# Shared by the scripts of this folder: sourced, not run.

# Runs a command as the user who called sudo, so that the build belongs to him.
as_caller() {
    if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        runuser -u "$SUDO_USER" -- "$@"
    else
        "$@"
    fi
}

# PostgreSQL refuses root; its own user comes with the package.
as_postgres() {
    (cd / && runuser -u postgres -- "$@")
}

need_root() {
    [ "$(id -u)" = 0 ] && return
    echo "$1: needs root for namespaces, cgroups and mounts; run it as: sudo $1" >&2
    exit 1
}

pg_bin() {
    local newest
    newest=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -type d 2>/dev/null | sort -V | tail -n 1)
    [ -n "$newest" ] || { echo "no PostgreSQL server under /usr/lib/postgresql" >&2; return 1; }
    echo "$newest/bin"
}
