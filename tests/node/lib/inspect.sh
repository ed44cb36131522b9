# snapshot.
# shellcheck shell=bash disable=SC2154

node_snapshot() {
    [ $# -ge 1 ] || die "usage: node snapshot NAME [PATH...]"
    local leader name=$1
    shift
    leader=$(leader_or_die "$name")
    # The script comes on standard input, so nothing of it is left in the node.
    enter "$leader" python3 -I - "$(grep -v -e '^#' -e '^$' "$here/lib/snapshot-exclude")" "$@" <"$here/lib/snapshot.py"
}
