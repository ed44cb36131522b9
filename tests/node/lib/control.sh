# run, push, pull, shell, list, demo.
# shellcheck shell=bash disable=SC2154

# leader_or_die NAME
leader_or_die() {
    need_node "$1"
    leader_of "$1" || die "$1 is not running"
}

node_run() {
    [ $# -ge 2 ] || die "usage: node run NAME -- COMMAND..."
    local leader
    leader=$(leader_or_die "$1")
    shift
    if [ "$1" = -- ]; then shift; fi
    local entry
    entry_of "$leader"
    # A signal to the caller's child is one to the command.
    exec "${entry[@]}" "$@"
}

node_push() {
    [ $# = 3 ] || die "usage: node push NAME SOURCE TARGET"
    local leader mode name
    leader=$(leader_or_die "$1")
    mode=$(stat -c %a "$2")
    name=$(basename "$2")
    # A directory as target, as cp has it. Through a new file: the old one may be a program that runs.
    # shellcheck disable=SC2016
    enter "$leader" sh -euc '
        target=$1
        if [ -d "$target" ]; then target=${target%/}/$3; fi
        new=$target.new.$$
        trap "rm -f \"$new\"" EXIT
        cat >"$new"
        chmod "$2" "$new"
        mv -fT "$new" "$target"' push "$3" "$mode" "$name" <"$2"
}

node_pull() {
    [ $# = 3 ] || die "usage: node pull NAME SOURCE TARGET"
    local leader target=$3
    leader=$(leader_or_die "$1")
    if [ -d "$target" ]; then target=${target%/}/$(basename "$2"); fi
    enter "$leader" cat "$2" >"$target"
    chmod "$(enter "$leader" stat -c %a "$2")" "$target"
}

node_shell() {
    [ $# = 1 ] || die "usage: node shell NAME"
    local leader
    leader=$(leader_or_die "$1")
    # shellcheck disable=SC2016
    local shell='cd /root; PS1="[\u@\h \w]\\$ " exec bash --norc -i'
    if [ -t 0 ]; then
        # The host's terminal does not exist in there: one of the node's own.
        enter "$leader" script -q -e -c "$shell" /dev/null
    else
        enter "$leader" sh -c "$shell"
    fi
}

node_list() {
    local run name leader state
    for run in "$runs"/*/; do
        [ -d "$run" ] || continue
        name=$(basename "$run")
        state=dead
        if leader=$(leader_of "$name"); then
            state=$(enter "$leader" systemctl is-system-running 2>/dev/null) || :
        fi
        printf '%-12s %-10s %8s %s\n' "$name" "$(cat "$run/kind" 2>/dev/null)" "${leader:--}" "${state:-starting}"
    done
}

node_demo() {
    [ $# = 1 ] || [ $# = 2 ] || die "usage: node demo KIND [PROGRAM]"
    demo=demo$$
    node_up "$1" "$demo"
    trap 'node_down "$demo"' EXIT
    trap 'exit 129' HUP TERM
    [ $# = 1 ] || node_push "$demo" "$2" /usr/bin/
    cat <<EOF

This is a compute node ($1) as its packages left it. OVS-DPDK runs with a port of each kind, libvirt has a VM for each:
  virsh start vmc                the switch made the socket: /run/openvswitch/vhuc0
  virsh start vms                QEMU is to make it: /var/lib/vhost_sockets/vhus0
Neither starts. See why:
  ls -ln /run/openvswitch /var/lib/vhost_sockets /dev/hugepages
  tail /var/log/openvswitch/ovs-vswitchd.log${2:+
And fix it:
  vhost-accord plan; vhost-accord apply --restart; vhost-accord check; vhost-accord revert --restart}
The node goes when you leave this shell.

EOF
    node_shell "$demo" || :
}
