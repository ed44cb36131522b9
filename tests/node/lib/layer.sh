# What a test has in a node beside its kind's packages: a layer over the image, made once by a script that may install packages.
# shellcheck shell=bash disable=SC2154

node_layer() {
    [ $# = 2 ] || die "usage: node layer KIND SCRIPT"
    check_kind "$1"
    node_build "$1"
    local name
    name=layer/$(basename "$(dirname "$(readlink -f "$2")")").$( (recipe_of "$1" && cat "$2") | sha256sum | cut -c1-12)
    once "$name" build_over "$1" "$2"
    printf '%s\n' "$cache/$name/root"
}

# build_over KIND SCRIPT DIRECTORY: runs the script in the kind's root, with this host's way to the archives; what it changed
# is in DIRECTORY/root.
build_over() {
    local kind=$1 script=$2 out=$3
    mkdir "$out/root" "$out/work"
    python3 "$here/lib/apt_sources.py" "$(setting_of "$kind" suite)" >"$out/sources.list"
    apt-config dump | grep -E '^Acquire::(https?|Retries)' >"$out/apt.conf" || :
    # Packages start no services in there: it is no node yet.
    # shellcheck disable=SC2016
    unshare --mount --pid --fork --kill-child --propagation private bash -euc '
        mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/root,workdir=$2/work" /mnt
        mount -t proc proc /mnt/proc
        mount --rbind /dev /mnt/dev
        mount -t tmpfs tmpfs /mnt/run
        mount -t tmpfs tmpfs /mnt/tmp
        mount -t tmpfs tmpfs /mnt/var/cache/apt
        mount -t tmpfs tmpfs /mnt/var/lib/apt/lists
        cp "$2/sources.list" /mnt/etc/apt/
        cp "$2/apt.conf" /mnt/etc/apt/apt.conf.d/99layer
        cp -L /etc/resolv.conf /mnt/etc/
        cp "$3" /mnt/run/script
        printf "#!/bin/sh\nexit 101\n" >/mnt/usr/sbin/policy-rc.d
        chmod 755 /mnt/usr/sbin/policy-rc.d
        chroot /mnt /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive sh -eu /run/script
        cd /mnt/etc
        rm -f apt/sources.list apt/apt.conf.d/99layer resolv.conf ../usr/sbin/policy-rc.d' layer \
        "$(lower_of "$kind")" "$out" "$script" >"$out/log" 2>&1 || {
        tail -n 30 "$out/log" >&2
        die "the layer of $script failed"
    }
    rm -rf --one-file-system "$out/work" "$out/sources.list" "$out/apt.conf"
}
