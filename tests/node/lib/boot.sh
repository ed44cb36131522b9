# up, wait, reboot.
# shellcheck shell=bash disable=SC2154

node_up() {
    local setup=yes network=(--private-network) words=() layer=
    while [ $# -gt 0 ]; do
        case $1 in
            --no-setup) setup=no ;;
            --bridge)
                [ $# -gt 1 ] || die "--bridge needs a name"
                network=(--network-veth --network-bridge="$2")
                shift
                ;;
            --layer)
                [ $# -gt 1 ] || die "--layer needs a script"
                layer=$2
                shift
                ;;
            *) words+=("$1") ;;
        esac
        shift
    done
    [ ${#words[@]} = 2 ] || die "usage: node up KIND NAME [--bridge BR] [--layer SCRIPT] [--no-setup]"
    local kind=${words[0]} name=${words[1]}
    check_kind "$kind"
    check_name "$name"
    node_prepare
    node_build "$kind"
    if [ -n "$layer" ]; then layer=$(node_layer "$kind" "$layer"):; fi
    mkdir -p "$runs"
    mkdir "$runs/$name" 2>/dev/null || die "node '$name' exists already"
    # A trap sees no local variable.
    coming_up=$name
    trap 'say "$coming_up did not come up"; tail -n 5 "$runs/$coming_up/console" >&2 || :; node_down "$coming_up"' EXIT
    trap 'exit 130' INT TERM HUP
    launch "$kind" "$name" "$layer" "${network[@]}"
    node_wait "$name"
    if [ "$setup" = yes ]; then setup_stock "$name"; fi
    trap - EXIT INT TERM HUP
}

launch() {
    local kind=$1 name=$2 layer=$3 run=$runs/$2
    shift 3
    mkdir "$run/upper" "$run/work" "$run/root"
    printf '%s\n' "$kind" >"$run/kind"
    printf '%s%s\n' "$layer" "$(lower_of "$kind")" >"$run/lower"
    tr -d - </proc/sys/kernel/random/uuid >"$run/uuid"
    # systemd would take an empty one for a first boot, and enable every unit anew.
    install -D -m 444 "$run/uuid" "$run/upper/etc/machine-id"
    # shellcheck disable=SC2016
    setsid --fork unshare --mount --propagation private bash -c 'echo $$ >"$1/launcher"; shift; exec "$@"' launch "$run" \
        "$here/lib/launch" "$run" "$name" "$(cgroup_of "$name")" "$@" </dev/null >"$run/console" 2>&1
}

node_wait() {
    [ $# = 1 ] || die "usage: node wait NAME"
    need_node "$1"
    local name=$1 leader state deadline=$((SECONDS + 120))
    while [ $SECONDS -lt $deadline ]; do
        if leader=$(leader_of "$name") && [ -e "/proc/$leader/root/run/systemd/private" ]; then
            # A unit that cannot work in a container fails everywhere: degraded is as good as it gets.
            state=$(timeout 120 nsenter --target "$leader" --all -- systemctl is-system-running --wait 2>/dev/null) || :
            case $state in running | degraded) return 0 ;; esac
        elif [ -s "$runs/$name/launcher" ] && ! kill -0 "$(cat "$runs/$name/launcher")" 2>/dev/null; then
            die "$name is dead: $(tail -n 5 "$runs/$name/console")"
        fi
        sleep 0.1
    done
    die "$name is not up after 120 s (${state:-no systemd})"
}

node_reboot() {
    [ $# = 1 ] || die "usage: node reboot NAME"
    need_node "$1"
    local name=$1 leader deadline=$((SECONDS + 120))
    leader=$(leader_of "$name") || die "$name is not running"
    # The guests are firmware and hear no ACPI request: libvirt-guests would wait 300 s for each.
    # shellcheck disable=SC2016
    enter "$leader" timeout 20 sh -c 'for d in $(virsh list --name); do virsh --quiet destroy "$d"; done' || :
    enter "$leader" systemctl reboot || :
    while [ -e "/proc/$leader" ]; do
        [ $SECONDS -lt $deadline ] || die "$name does not shut down"
        sleep 0.05
    done
    node_wait "$name"
}

# The switch with both kinds of port, and two domains that use them: what a deployment leaves, and no permission fixed.
setup_stock() {
    enter "$(leader_of "$1")" sh -eu -s <"$here/lib/setup"
    local domain
    for domain in "$here"/domains/*.xml; do
        enter "$(leader_of "$1")" virsh --quiet define /dev/stdin <"$domain" >/dev/null
    done
}
