# Used by every part: messages, names, the cgroup and the leader of a node.
# shellcheck shell=bash disable=SC2154  # here, cache, runs: set by ../node

say() { printf 'node: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# A name becomes a host name, a cgroup and part of an interface's name.
check_name() {
    [[ $1 =~ ^[a-z][a-z0-9-]{0,11}$ ]] || die "bad node name '$1' (lower case, digits, '-', at most 12)"
}

check_kind() {
    [ -e "$here/kinds/$1/kind" ] || die "no kind '$1'; there are: $(node_kinds | tr '\n' ' ')"
}

need_node() {
    check_name "$1"
    [ -d "$runs/$1" ] || die "no node '$1'"
}

cgroup_of() { printf 'vhost-accord.%s\n' "$1"; }

# In a mount namespace of its own, with the whole unified hierarchy on /sys/fs/cgroup whatever the host has there.
with_cgroups() {
    # shellcheck disable=SC2016
    unshare --mount --propagation private bash -euc '
        umount -R -l /sys/fs/cgroup 2>/dev/null || :
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        cd /sys/fs/cgroup
        "$@"' with_cgroups "$@"
}

# The pid of the node's systemd, seen from the host: the one child of systemd-nspawn that leads its own pid namespace.
leader_of() {
    local nspawn child children=()
    nspawn=$(cat "$runs/$1/pid" 2>/dev/null) || return 1
    read -ra children 2>/dev/null <"/proc/$nspawn/task/$nspawn/children" || :
    for child in "${children[@]}"; do
        if [ "$(sed -n 's/^NSpid:.*\t//p' "/proc/$child/status" 2>/dev/null)" = 1 ]; then
            printf '%s\n' "$child"
            return 0
        fi
    done
    return 1
}

# entry_of LEADER: sets `entry`, the words before a command that is to run in all its namespaces, with a clean
# environment, and is not to outlive its caller.
entry_of() {
    entry=(nsenter --target "$1" --all -- /usr/bin/setpriv --pdeathsig TERM /usr/bin/env -i HOME=/root LC_ALL=C
        TERM="${TERM:-dumb}" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
}

# enter LEADER COMMAND...
enter() {
    local entry
    entry_of "$1"
    shift
    "${entry[@]}" "$@"
}
