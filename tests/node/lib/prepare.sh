# What the host needs.
# shellcheck shell=bash disable=SC2154

# Enough 2 MiB pages for two nodes at once.
hugepages=2048

node_prepare() {
    local missing=() pair
    for pair in mmdebstrap:mmdebstrap systemd-nspawn:systemd-container nsenter:util-linux \
        python3:python3 flock:util-linux ip:iproute2; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        say "installing ${missing[*]}"
        apt_install "${missing[@]}" >&2 || {
            apt-get update >&2
            apt_install "${missing[@]}" >&2
        }
    fi
    if [ "$(cat /proc/sys/vm/nr_hugepages)" -lt "$hugepages" ]; then
        echo "$hugepages" >/proc/sys/vm/nr_hugepages
        local got
        got=$(cat /proc/sys/vm/nr_hugepages)
        [ "$got" -ge $((hugepages / 2)) ] || die "only $got hugepages could be reserved, a node needs $((hugepages / 2))"
        [ "$got" -ge "$hugepages" ] || say "only $got hugepages could be reserved: one node at a time"
    fi
}

apt_install() { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }
