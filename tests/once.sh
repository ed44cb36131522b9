# SPDX-License-Identifier: Apache-2.0
# What tests fetch or build once: it is made under a lock, beside its place, and renamed into it. For sh and for bash.
# shellcheck shell=sh

# shellcheck disable=SC2034
cache=${VHOST_ACCORD_CACHE:-/var/cache/vhost-accord}

# locked NAME COMMAND...: one at a time. What outlives a caller that was killed still holds the lock.
locked() (
    mkdir -p "$cache/lock"
    exec 9>"$cache/lock/$1"
    shift
    flock 9
    "$@"
)

# once NAME COMMAND...: creates the directory NAME of the cache, unless it exists. COMMAND gets the directory that it is to
# fill as its last argument, and may print nothing that matters. What follows the last dot of NAME is a version: one lock for
# all of them.
once() {
    if [ ! -e "$cache/$1/complete" ]; then locked "$(printf '%s' "${1%.*}" | tr / -)" fill "$@" >&2; fi
}

fill() {
    filled=$cache/$1
    shift
    # Another caller may have held the lock.
    if [ -e "$filled/complete" ]; then return 0; fi
    rm -rf --one-file-system "$filled" "$filled.new"
    mkdir -p "$filled.new"
    "$@" "$filled.new"
    contents_of "$filled.new" >"$filled.complete"
    mv "$filled.complete" "$filled.new/complete"
    sync -f "$filled.new"
    mv -T "$filled.new" "$filled"
}

# contents_of DIRECTORY: a hash of every path with its type, mode, owner, size, time and target.
contents_of() {
    (cd "$1" && find . -path ./complete -prune -o ! -path . -printf '%p %y %m %U %G %T@ %l %s\n' | sort | sha256sum | cut -c1-64)
}

# sound NAME: true if this directory of the cache is still what was once created.
sound() { [ -s "$cache/$1/complete" ] && [ "$(contents_of "$cache/$1")" = "$(cat "$cache/$1/complete")" ]; }

# fetch_packages DIRECTORY PACKAGE...: downloads these packages of this host's archives into a directory. A new machine has no
# lists of packages yet. As a user of its own, apt could not write there.
fetch_packages() { locked apt download_packages "$@"; }

download_packages() {
    cd "$1" || return
    shift
    apt-get -qq -o APT::Sandbox::User=root download "$@" 2>/dev/null || {
        apt-get -qq update
        apt-get -qq -o APT::Sandbox::User=root download "$@"
    }
}

# install_packages PACKAGE...: on this host.
install_packages() { locked apt install_now "$@" >&2; }

install_now() {
    install_them "$@" 2>/dev/null || {
        apt-get -qq -o DPkg::Lock::Timeout=300 update
        install_them "$@"
    }
}

install_them() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
}
