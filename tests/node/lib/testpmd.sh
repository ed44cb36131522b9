# dpdk-testpmd with what it needs beside an image: another dataplane for tests, fetched once. It is no part of an image, whose
# switch would load every driver that is installed.
# shellcheck shell=bash disable=SC2154

node_testpmd() {
    [ $# = 1 ] || die "usage: node testpmd KIND"
    check_kind "$1"
    node_build "$1"
    local name
    name=testpmd/$1.$(recipe_of "$1")
    once "$name" fetch_testpmd "$1"
    printf '%s\n' "$cache/$name/testpmd.tgz"
}

fetch_testpmd() {
    local kind=$1 out=$2
    mkdir "$out/upper" "$out/work"
    python3 "$here/lib/apt_sources.py" "$(setting_of "$kind" suite)" >"$out/sources.list"
    apt-config dump | grep -E '^Acquire::(https?|Retries)' >"$out/apt.conf" || :
    # shellcheck disable=SC2016
    unshare --mount --propagation private bash -euc '
        mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" /mnt
        cp "$2/sources.list" /mnt/etc/apt/
        cp "$2/apt.conf" /mnt/etc/apt/apt.conf.d/99fetch
        cp -L /etc/resolv.conf /mnt/etc/
        cp "$3" /mnt/root/collect
        chroot /mnt /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C sh -eu /root/collect
        cp /mnt/root/testpmd.tgz "$2/"' fetch "$(lower_of "$kind")" "$out" "$here/lib/testpmd-collect" >"$out/log" 2>&1 || {
        tail -n 30 "$out/log" >&2
        die "fetching dpdk-testpmd failed"
    }
    # The last of them may have how to get through to the archives.
    rm -rf --one-file-system "$out/upper" "$out/work" "$out/sources.list" "$out/apt.conf"
}
