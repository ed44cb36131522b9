# machine: a whole virtual machine with a kernel of its own, for what a container cannot show: security modules.
# shellcheck shell=bash disable=SC2154

# Emulated: minutes, not seconds.
machine_limit=900

machine_image_of() {
    local recipe
    recipe=$(
        cd "$here" || exit
        declare -f build_machine
        find packages machine/disk lib/customize lib/apt_sources.py -type f -print0 | sort -z |
            while read -r -d '' file; do
                printf '%s\n' "$file"
                cat "$file"
            done
    )
    printf 'machine/%s.%s\n' "$1" "$(sha256sum <<<"$recipe" | cut -c1-12)"
}

machine_prepare() {
    local missing=() pair
    for pair in mmdebstrap:mmdebstrap mke2fs:e2fsprogs qemu-system-x86_64:qemu-system-x86 python3:python3 flock:util-linux; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    install_packages "${missing[@]}"
}

build_machine() {
    local suite=$1 image=$2 packages earlier
    say "building the disk of a machine ($suite; a minute or two)"
    for earlier in "$cache/machine/$suite".*; do
        if [ "$earlier" != "$image" ]; then rm -rf --one-file-system "$earlier"; fi
    done
    packages=$(cat "$here/packages" "$here/machine/disk/packages" | grep -v '^#' | paste -sd ,)
    python3 "$here/lib/apt_sources.py" "$suite" >"$image/sources.list"
    apt-config dump | grep -E '^Acquire::(https?|Retries)' >"$image/apt.conf" || :
    unshare --mount --propagation private mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
        --aptopt="$image/apt.conf" --include="$packages" \
        --customize-hook="sh '$here/lib/customize' \"\$1\"" \
        --customize-hook="sh '$here/machine/disk/customize' \"\$1\" '$here/machine/disk'" \
        "$suite" "$image/root" "$image/sources.list" >"$image/log" 2>&1 || {
        tail -n 30 "$image/log" >&2
        die "mmdebstrap failed, see $image/log"
    }
    cp "$image"/root/boot/vmlinuz-* "$image/vmlinuz"
    cp "$image"/root/boot/initrd.img-* "$image/initrd"
    # Not mounted anywhere: owners, modes and extended attributes are copied into it.
    truncate -s 3G "$image/disk"
    mke2fs -q -t ext4 -F -d "$image/root" -E root_owner=0:0 "$image/disk" || die "mke2fs failed"
    rm -rf --one-file-system "$image/root"
    # May hold how to get through to the archives.
    rm -f "$image/apt.conf"
}

# Runs a script in a fresh machine; what it says, and its exit code. Each of FILE is beside it, as ./NAME.
node_machine() {
    [ $# -ge 2 ] || die "usage: node machine SUITE SCRIPT [FILE...]"
    local suite=$1 script=$2 image code
    shift 2
    machine_prepare
    image=$(machine_image_of "$suite")
    once "$image" build_machine "$suite"
    image=$cache/$image
    # A trap sees no local variable.
    machine_work=$(mktemp -d)
    trap 'rm -rf "$machine_work"' EXIT
    trap 'exit 130' INT TERM HUP
    mkdir "$machine_work/payload"
    cp "$script" "$machine_work/payload/script"
    [ $# = 0 ] || cp -r "$@" "$machine_work/payload/"
    tar -C "$machine_work/payload" -b 2048 -cf "$machine_work/payload.tar" .
    run_machine "$image" "$machine_work" || {
        tail -n 20 "$machine_work/console" >&2
        cat "$machine_work/said" 2>/dev/null
        die "the machine did not end by itself within $machine_limit s"
    }
    code=$(sed -n '$s/^exit //p' "$machine_work/said")
    sed '$d' "$machine_work/said"
    [ -n "$code" ] || { tail -n 20 "$machine_work/console" >&2; die "the script in the machine did not end"; }
    return "$code"
}

# KVM may be there and not work; emulated, it is the same machine everywhere.
run_machine() {
    TMPDIR=$2 timeout --kill-after=5 "$machine_limit" setpriv --pdeathsig KILL qemu-system-x86_64 \
        -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nodefaults -display none -no-reboot \
        -kernel "$1/vmlinuz" -initrd "$1/initrd" \
        -append "root=/dev/vda rw console=ttyS0 panic=-1 hugepages=320 net.ifnames=0 systemd.show_status=0 lsm=lockdown,capability,landlock,yama,apparmor,bpf" \
        -drive "file=$1/disk,format=raw,if=virtio,snapshot=on" \
        -drive "file=$2/payload.tar,format=raw,if=virtio,readonly=on" \
        -serial "file:$2/console" -serial "file:$2/said" </dev/null >&2
}
