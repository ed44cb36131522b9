// SPDX-License-Identifier: Apache-2.0
//! What libvirt says (virsh, the journal of libvirtd or virtqemud). Formats: src/util/virhook.c, src/qemu, src/conf of
//! libvirt 1.3 to 12.

use super::*;

pub(super) const SIGNATURES: &[Signature] = &[
    known("hugetlbfs-not-mounted", Missing, &[
        "hugetlbfs filesystem is not mounted or disabled by administrator config",
        "Unable to find any usable hugetlbfs mount for",
        "unable to find any usable hugetlbfs mount for",
    ], &["libvirt knew no hugetlbfs of the size that the VM wants when its daemon started"])
        .findings(&["hugepages-not-mounted", "hugepages-no-mount", "hugepages-disabled-in-qemu-conf"])
        .decide("findmnt -t hugetlbfs; grep hugetlbfs_mount /etc/libvirt/qemu.conf")
        .fix("mount that size, then restart libvirt's daemon, which looks only when it starts; a hugetlbfs_mount line replaces what it finds by itself")
        .source("libvirt src/qemu/qemu_conf.c"),
    known("hook-not-executable", Permission, &["Non-executable hook script {}"], &[
        "libvirt passes over a hook that it may not execute: VMs start unchecked",
    ])
    .findings(&["hook-not-executable"])
    .decide("ls -lL /etc/libvirt/hooks /etc/libvirt/hooks/qemu.d")
    .fix("chmod 0755 on what the link leads to")
    .source("libvirt src/util/virhook.c"),
    known("hook-refused", Setting, &[
        "Hook script execution failed: internal error: Child process ({*}/hooks/{}) unexpected exit status",
        "Hook script execution failed: {*}",
        "Hook script {*} failed",
    ], &["a hook refused the operation: what comes after 'exit status' are its own words, an id first if it was vhost-accord's"])
        .decide("vhost-accord explain ID; journalctl -t vhost-accord")
        .fix("what the hook's own words say")
        .source("libvirt src/util/virhook.c"),
    known("hook-confined", SecurityModule, &["PermissionError: [Errno 13]", "socket.error: [Errno 13] Permission denied", "[Errno 13] Permission denied"], &[
        "a hook or helper in Python was refused. libvirt's hooks run as root, so it is a security module: AppArmor's profile of libvirtd, or SELinux, confines them with the daemon",
        "if it did not run as root: owner and mode",
    ])
    .decide("dmesg | grep apparmor=; ausearch -m avc -ts recent; aa-status | grep libvirt")
    .fix("a rule in /etc/apparmor.d/local/usr.sbin.libvirtd (virtqemud: usr.sbin.virtqemud), systemctl reload apparmor, restart the daemon; SELinux: the label of /etc/libvirt/hooks")
    .source("Python errno; libvirt's AppArmor profile usr.sbin.libvirtd"),
    known("qemu-conf-group-missing", Setting, &["Failed to parse group '{}'"], &[
        "qemu.conf names a group that does not exist: libvirt's daemon does not start",
    ])
    .findings(&["qemu-conf-invalid"])
    .decide("grep -E '^(user|group)' /etc/libvirt/qemu.conf; getent group")
    .fix("correct the line, then restart libvirt's daemon")
    .source("libvirt src/qemu/qemu_conf.c"),
    known("qemu-conf-user-missing", Setting, &["Failed to parse user '{}'"], &[
        "qemu.conf names a user that does not exist: libvirt's daemon does not start",
    ])
    .findings(&["qemu-conf-invalid"])
    .decide("grep -E '^(user|group)' /etc/libvirt/qemu.conf; getent passwd")
    .fix("correct the line, then restart libvirt's daemon")
    .source("libvirt src/qemu/qemu_conf.c"),
    known("mount-namespace", Permission, &["Unable to move {} mount to"], &[
        "libvirt cannot make QEMU's private /dev over this mount, as in a container whose mounts it may not move",
    ])
    .decide("findmnt -R /dev in the container")
    .fix("share the mount another way; namespaces = [ ] takes the isolation from every VM")
    .source("libvirt src/qemu/qemu_namespace.c"),
    known("state-lock", Stale, &["cannot acquire state change lock", "Cannot start job ({*})"], &[
        "another operation holds the VM, as the line says ('held by'): a start that waits for the switch to connect (QEMU is server), a slow shutdown, a monitor that does not answer",
        "held by a start, with a hook that calls virsh: it waits for itself",
    ])
    .decide("the name after 'held by'; virsh domjobinfo NAME; pgrep -af hooks")
    .fix("virsh destroy ends a start that waits; no virsh in hooks")
    .source("libvirt src/qemu/qemu_domainjob.c"),
    known("owner-refused", Access, &[
        "unable to set user and group to '{*}' on '{}'",
        "unable to set security context '{*}' on '{}'",
        "cannot set label on '{}'",
    ], &["libvirt's daemon may not give a file or directory to QEMU: a filesystem that does not allow it (NFS with root_squash, read-only), or a container without CAP_CHOWN"])
        .decide("findmnt -T PATH; grep CapEff /proc/$(pidof virtqemud libvirtd)/status")
        .fix("the file on a filesystem that takes owners, or <seclabel relabel='no'/> for it")
        .source("libvirt src/security/security_dac.c, security_selinux.c"),
    known("apparmor-profile", SecurityModule, &["cannot load AppArmor profile '{}'", "Unable to set AppArmor profile '{}'", "cannot update AppArmor profile '{}'"], &[
        "libvirt could not load the VM's profile: virt-aa-helper refused a path in the XML (only absolute paths outside of /etc, /usr and the like), or AppArmor is half off",
    ])
    .decide("/usr/lib/libvirt/virt-aa-helper -d -p 0 -r -u libvirt-UUID < XML; aa-status")
    .fix("another path in the XML, or load the profiles (systemctl reload apparmor)")
    .source("libvirt src/security/security_apparmor.c, virt-aa-helper.c"),
    known("xml-source", Setting, &[
        "Wrong or no <source> '{}' attribute specified with <interface type='vhostuser'/>",
        "Missing <source> '{}' attribute for <interface type='vhostuser'",
        "attribute is unsupported in 'server' mode for <interface type='vhostuser'>",
        "Unsupported vhostuser",
        "unsupported vhostuser",
        "vhost-user disk",
        "vhostuser disk",
        "XML error: {*}vhost",
        "missing path for vhostuser",
    ], &["the domain's XML lacks what a vhostuser device needs: <source type='unix' path='...' mode='...'/> of an interface (no mode for a disk); <reconnect> only with mode='client'"])
        .decide("vhost-accord inspect FILE; virt-xml-validate FILE domain")
        .fix("correct the <source> element")
        .source("libvirt src/conf/domain_conf.c"),
    known("xml-malformed", Setting, &[
        "(domain_definition):{*}: ",
        "parser error : {*}",
        "AttValue: \" or ' expected",
        "Opening and ending tag mismatch",
        "Extra content at the end of the document",
        "Unable to parse XML",
    ], &["the XML is not well-formed: a quote, a bracket or a closing tag is wrong where the line points. Quotes copied from a document (\u{2019} \u{201d}) are no quotes"])
        .decide("xmllint --noout FILE; virt-xml-validate FILE domain")
        .fix("correct the text at that line; nothing was defined")
        .source("libxml2"),
    known("monitor-closed", Stale, &[
        "qemu unexpectedly closed the monitor",
        "process exited while connecting to monitor",
        "monitor socket did not show up",
        "End of file from qemu monitor",
        "End of file while reading data",
    ], &["QEMU ended: its own last lines, here or in /var/log/libvirt/qemu/NAME.log, say why"])
        .decide("tail /var/log/libvirt/qemu/NAME.log")
        .fix("what QEMU's own line says")
        .source("libvirt src/qemu/qemu_process.c, qemu_monitor.c"),
    known("ovs-vsctl-missing", Missing, &["Cannot find 'ovs-vsctl' in path", "Unable to add port {} to OVS bridge", "Failed to get OVS interface", "Unable to delete port {} from OVS"], &[
        "libvirt cannot ask or change the switch: ovs-vsctl is missing, refused (SELinux: virtqemud_t may not run it), or the database is down",
    ])
    .decide("command -v ovs-vsctl; ausearch -m avc -ts recent | grep ovs-vsctl; ovs-vsctl show")
    .fix("install it, update selinux-policy, or start the database")
    .source("libvirt src/util/virnetdevopenvswitch.c"),
    known("no-netdev", Unsupported, &["Cannot get interface MTU on '{}': No such device", "Cannot get interface flags on '{}': No such device", "Cannot set interface MTU on '{}': No such device"], &[
        "a vhost-user port has no network device in the kernel: what asks for one by name (MTU, flags) is meant for tap cards",
    ])
    .decide("ovs-vsctl --columns=name,type find Interface name=NAME")
    .fix("set the MTU at the switch (mtu_request) and in the guest; <interface type='vhostuser'> in the domain")
    .source("libvirt src/util/virnetdev.c"),
    known("attach-wrapper", Transient, &[
        "error: Failed to attach device from",
        "error: Failed to attach interface",
        "error: Failed to start domain",
        "error: Failed to create domain",
        "error: Failed to detach",
        "error: Failed to define",
    ], &["virsh says only that it failed: its next line says why"])
        .fix("what the next line says")
        .source("libvirt tools/virsh-domain.c"),
];
