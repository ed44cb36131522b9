# Images: a root file system for each suite, and layers over one of them. An image's directory has the hash of its
# recipe in its name, so one that is still right is found, and one that is not stays until no node runs from it. They are
# created as everything in the cache: see once.sh.
# shellcheck shell=bash disable=SC2154

node_kinds() {
    local kind
    for kind in "$here"/kinds/*/kind; do
        basename "$(dirname "$kind")"
    done
}

# setting_of KIND NAME: a value in kinds/KIND/kind, or nothing.
setting_of() { sed -n "s/^$2=//p" "$here/kinds/$1/kind"; }

# The hash of everything an image is made from.
recipe_of() {
    local kind=$1 base shared
    base=$(setting_of "$kind" base)
    shared=$(setting_of "$kind" shared)
    {
        if [ -n "$base" ]; then recipe_of "$base"; fi
        cd "$here" || exit
        find packages lib/image.sh lib/customize lib/apt_sources.py "kinds/$kind" ${shared:+"kinds/$shared"} \
            -type f -print0 | sort -z | while read -r -d '' file; do
            printf '%s\n' "$file"
            cat "$file"
        done
    } | sha256sum | cut -c1-12
}

# image_of KIND: its name in the cache.
image_of() { printf 'image/%s.%s\n' "$1" "$(recipe_of "$1")"; }

# lower_of KIND: the stack of directories a root is made of, uppermost first.
lower_of() {
    local base
    base=$(setting_of "$1" base)
    printf '%s' "$cache/$(image_of "$1")/root"
    if [ -n "$base" ]; then printf ':%s' "$(lower_of "$base")"; fi
}

node_build() {
    [ $# = 1 ] || die "usage: node build KIND"
    check_kind "$1"
    local base
    base=$(setting_of "$1" base)
    if [ -n "$base" ]; then node_build "$base"; fi
    once "$(image_of "$1")" build_image "$1"
}

build_image() {
    local kind=$1 image=$2
    node_prepare
    say "building the image of $kind (a suite takes a minute or two)"
    remove_outdated "$kind" "$image"
    if [ -n "$(setting_of "$kind" base)" ]; then
        build_layer "$kind" "$image"
    else
        build_suite "$kind" "$image"
    fi
    # May hold how to get through to the archives.
    rm -f "$image/apt.conf"
}

# Earlier images of a kind, unless a node runs from them.
remove_outdated() {
    local image new=$2
    for image in "$cache/image/$1".*/; do
        image=${image%/}
        if [ -d "$image" ] && [ "$image" != "$new" ] && ! cat "$runs"/*/lower 2>/dev/null | grep -qF "$image/"; then
            rm -rf --one-file-system "$image"
        fi
    done
}

# Nobody knows what became of a cache since it was filled: an image that is not what was built is built anew.
node_sound() {
    [ $# = 0 ] || die "usage: node sound"
    local kind image
    for kind in $(node_kinds); do
        image=$cache/$(image_of "$kind")
        if [ -d "$image" ] && ! is_sound "$kind"; then
            say "the image of $kind is not as it was built: removed"
            rm -rf --one-file-system "$image"
        fi
    done
}

# With what it is a layer over.
is_sound() {
    local base
    base=$(setting_of "$1" base)
    { [ -z "$base" ] || is_sound "$base"; } && sound "$(image_of "$1")"
}
