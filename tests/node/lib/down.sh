# down: whatever state a node is in, nothing of it stays.
# shellcheck shell=bash disable=SC2154

node_down() {
    [ $# = 1 ] || die "usage: node down NAME | --all"
    if [ "$1" != --all ]; then
        check_name "$1"
        take_down "$1"
        return
    fi
    local run
    for run in "$runs"/*/; do
        if [ -d "$run" ]; then take_down "$(basename "$run")"; fi
    done
}

# The run directory is made before anything else of a node and goes last, so it is enough to look for it.
take_down() {
    local name=$1 pid=''
    # The launcher may not be in its cgroup yet.
    if pid=$(cat "$runs/$name/launcher" 2>/dev/null) && grep -qzxsF "$runs/$name" "/proc/$pid/cmdline"; then
        kill -KILL "$pid" 2>/dev/null || :
    fi
    with_cgroups empty_cgroup "$(cgroup_of "$name")"
    rm -rf --one-file-system "${runs:?}/$name"
    # Whoever was just about to enter it finds no files now.
    with_cgroups empty_cgroup "$(cgroup_of "$name")"
    rmdir "$runs" 2>/dev/null || :
}

# Run in the root of the hierarchy.
empty_cgroup() {
    [ -d "$1" ] || return 0
    local _ pid
    for _ in {1..200}; do
        if [ -e "$1/cgroup.kill" ]; then
            echo 1 >"$1/cgroup.kill"
        else
            find "$1" -name cgroup.procs -exec cat {} + | while read -r pid; do kill -KILL "$pid" 2>/dev/null || :; done
        fi
        find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || :
        [ -d "$1" ] || return 0
        sleep 0.05
    done
    say "the processes of $1 do not die"
    return 1
}
export -f empty_cgroup say
