# What the host needs.
# shellcheck shell=bash disable=SC2154

# 2 MiB pages of a node, and how many nodes are up at once where there is memory for them: they wait more than they compute.
node_pages=1024
most_nodes=3

node_prepare() {
    local missing=() pair
    for pair in mmdebstrap:mmdebstrap systemd-nspawn:systemd-container nsenter:util-linux \
        python3:python3 flock:util-linux ip:iproute2; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        say "installing ${missing[*]}"
        install_packages "${missing[@]}"
    fi
    locked hugepages reserve
}

# Half of the memory stays for everything else.
reserve() {
    local wanted=$((most_nodes * node_pages)) half got
    half=$(($(awk '/^MemTotal:/ { print $2 }' /proc/meminfo) / 2048 / 2))
    if [ "$wanted" -gt "$half" ]; then wanted=$((half / node_pages * node_pages)); fi
    if [ "$wanted" -lt $((2 * node_pages)) ]; then wanted=$((2 * node_pages)); fi
    got=$(cat /proc/sys/vm/nr_hugepages)
    if [ "$got" -ge "$wanted" ]; then return 0; fi
    echo "$wanted" >/proc/sys/vm/nr_hugepages
    got=$(cat /proc/sys/vm/nr_hugepages)
    [ "$got" -ge "$node_pages" ] || die "only $got hugepages could be reserved, a node needs $node_pages"
    [ "$got" -ge $((2 * node_pages)) ] || say "only $got hugepages could be reserved: one node at a time"
}

node_capacity() {
    local nodes
    nodes=$(($(cat /proc/sys/vm/nr_hugepages) / node_pages))
    echo $((nodes < 1 ? 1 : nodes > most_nodes ? most_nodes : nodes))
}
