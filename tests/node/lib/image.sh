# How an image is made. Part of the recipe: a change here rebuilds every image.
# shellcheck shell=bash disable=SC2154

build_suite() {
    local image=$2 suite
    suite=$(setting_of "$1" suite)
    local packages
    packages=$(find "$here/packages" "$here/kinds/$1" -name packages -exec grep -hv '^#' {} + | paste -sd ,)
    python3 "$here/lib/apt_sources.py" "$suite" >"$image/sources.list"
    # How this host reaches its archives; taken out of the image again by customize.
    apt-config dump | grep -E '^Acquire::(https?|Retries)' >"$image/apt.conf" || :
    setting_of "$1" apt | sed 's/$/;/' >>"$image/apt.conf"
    # In a mount namespace of its own: nothing stays mounted if it is killed.
    unshare --mount --propagation private mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
        --aptopt="$image/apt.conf" --include="$packages" \
        --customize-hook="sh '$here/lib/customize' \"\$1\"" \
        "$suite" "$image/root" "$image/sources.list" >"$image/log" 2>&1 || {
        tail -n 30 "$image/log" >&2
        die "mmdebstrap failed, see $image/log"
    }
}

# A layer is what a script changes in the base: its files are copied over the root, then `layer` is run in it.
build_layer() {
    local kind=$1 image=$2 lower shared
    lower=$(lower_of "$(setting_of "$kind" base)")
    mkdir -p "$image/root" "$image/work" "$image/files"
    for shared in $(setting_of "$kind" shared) "$kind"; do
        cp -a "$here/kinds/$shared/." "$image/files/"
    done
    # shellcheck disable=SC2016
    unshare --mount --propagation private bash -euc '
        mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/root,workdir=$2/work" /mnt
        mkdir /mnt/run/layer
        cp -a "$2/files/." /mnt/run/layer/
        chroot /mnt /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C sh -eu /run/layer/layer "$3"
        rm -rf /mnt/run/layer' layer "$lower" "$image" "$kind" >"$image/log" 2>&1 || {
        cat "$image/log" >&2
        die "the layer of $kind failed"
    }
    rm -rf "$image/files" "$image/work"
}
