# Runs before a hook that is a shell script: what Xen's scripts have when they source one, in the words of any shell.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
dir=${0%/*}
dir=${dir%/*}
log() { shift; printf '%s\n' "$*" >&2; }
fatal() { printf '%s\n' "$*" >&2; exit 1; }
sigerr() { fatal "$0 failed; error detected."; }
success() { :; }
do_or_die() { "$@" || fatal "$* failed"; }
do_without_error() { "$@" 2>/dev/null || log debug "$* failed"; }
xenstore_read() {
    xennet_value=$(xenstore-read "$@")
    [ -n "$xennet_value" ] || fatal "xenstore-read $* failed"
    printf '%s\n' "$xennet_value"
}
xenstore_read_default() { xenstore-read "$1" 2>/dev/null || printf '%s\n' "$2"; }
_xenstore_write() { xenstore-write "$@"; }
xenstore_write() { xenstore-write "$@" || fatal "xenstore-write $* failed"; }
claim_lock() { mkdir -p /var/run/xen-hotplug && exec 9>>"/var/run/xen-hotplug/$1" && flock 9; }
release_lock() { exec 9>&-; }
ip_of() { ip -4 -o address show primary dev "$1" | sed -n '1s/.* inet \([0-9.]*\).*/\1/p'; }
dom0_ip() {
    xennet_value=$(ip_of "${netdev:-eth0}")
    [ -n "$xennet_value" ] || fatal "${netdev:-eth0} has no IPv4 address: give netdev=LINK"
    printf '%s\n' "$xennet_value"
}
# These come from Xen's own file when they are called, which has nothing but functions.
for xennet_value in add_to_bridge remove_from_bridge create_bridge set_mtu setup_virtual_bridge_port \
    setup_physical_bridge_port first_file find_dhcpd_conf_file find_dhcpd_init_file find_dhcpd_arg_file; do
    eval "$xennet_value() { unset -f $xennet_value; . \"\$dir/xen-network-common.sh\"; $xennet_value \"\$@\"; }"
done
. "$0"
