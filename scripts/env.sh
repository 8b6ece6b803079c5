# Sourced by the scripts here and read by the Makefile: the places and settings that all share.
# shellcheck shell=bash

: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"
export HOME

# Where packages are unpacked for a user who may not install them; see scripts/debroot.sh.
: "${KDUMP_GDBSERVER_DEBROOT:=${XDG_CACHE_HOME:-$HOME/.cache}/kdump-gdbserver/debroot}"
export KDUMP_GDBSERVER_DEBROOT

# After the system's own directories: what the machine has is used first.
case ":$PATH:" in
*":$KDUMP_GDBSERVER_DEBROOT/bin:"*) ;;
*) PATH=$PATH:$KDUMP_GDBSERVER_DEBROOT/bin ;;
esac
# An ordinary user's PATH on Debian lacks these; makedumpfile, for one, is there.
case ":$PATH:" in
*:/usr/sbin:*) ;;
*) PATH=$PATH:/usr/sbin:/sbin ;;
esac
export PATH

# A minimal system has no other locale with UTF-8.
export LC_ALL=C.UTF-8

say() { printf '%s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# quietly COMMAND...: its output is shown only if it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 </dev/null || status=$?
    [ "$status" -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    return "$status"
}
