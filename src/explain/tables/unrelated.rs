// SPDX-License-Identifier: Apache-2.0
//! What looks like ours and is not, and what is nothing. Last: whatever is known better comes before.

use super::*;

pub(super) const SIGNATURES: &[Signature] = &[
    known("vhost-net-denied", Access, &[
        "tap: open vhost char device failed: Permission denied",
        "Could not open '/dev/vhost-net': Permission denied",
        "open vhost char device failed",
        "vhost-net requested but could not be initialized",
        "Unable to open vhost-net",
        "unable to open '/dev/vhost-net'",
    ], &["/dev/vhost-net, the kernel's vhost for tap cards: its owner or mode keeps QEMU out. No vhost-user socket is concerned"])
        .decide("ls -l /dev/vhost-net; id")
        .fix("udev: GROUP=\"kvm\", MODE=\"0660\" for /dev/vhost-net (systemd 248 and newer does it), and QEMU's user in the group kvm")
        .source("QEMU net/tap.c"),
    known("kvm-denied", Access, &["Could not access KVM kernel module", "failed to initialize kvm", "failed to initialize KVM", "/dev/kvm: Permission denied"], &[
        "/dev/kvm is missing or closed to QEMU; no vhost-user socket is concerned",
    ])
    .decide("ls -l /dev/kvm; id")
    .fix("load kvm_intel or kvm_amd; QEMU's user in the group kvm")
    .source("QEMU accel/kvm"),
    known("tun-denied", Unrelated, &["could not configure /dev/net/tun", "could not open /dev/net/tun", "Unable to open /dev/net/tun", "TUNSETIFF", "failed to attach tap"], &[
        "a tap card, not a vhost-user port",
    ])
    .decide("ls -l /dev/net/tun; ip link")
    .fix("cgroup_device_acl of qemu.conf, or CAP_NET_ADMIN")
    .source("QEMU net/tap-linux.c"),
    known("parent-denied", Access, &[
        "Failed to open file \u{201c}{}\u{201d}: Permission denied",
        "Failed to open file '{}': Permission denied",
        "Unable to read {}: Failed to open file",
    ], &[
        "QEMU may not reach one of its own files below /var/lib/libvirt: most often a directory above it (/var/lib/libvirt at 0750 root:root after an update, a bind mount) lets others not search it. It stops every VM, and is no vhost-user problem",
        "SELinux or AppArmor: then every directory above looks right",
    ])
    .decide("namei -l PATH; ausearch -m avc -ts recent")
    .fix("let others search libvirt's own directory again (chmod o+x /var/lib/libvirt; packages have 0755)")
    .source("QEMU crypto/secret.c; libvirt's packages"),
    known("image", Unrelated, &[
        "Failed to get \"write\" lock",
        "Failed to get shared \"write\" lock",
        "Could not open '{}': Permission denied",
        "Could not open backing file",
        "Could not open '{}': No such file or directory",
        "is not in qcow2 format",
        "Cannot access storage file '{}'",
        "Cannot access backing file '{}'",
    ], &["a disk image, not a vhost-user port: another process has it, or QEMU may not open it (owner, a directory above, label)"])
        .decide("namei -l PATH; qemu-img info -U PATH; ausearch -m avc -ts recent")
        .fix("the image where libvirt can label it; end the other process")
        .source("QEMU block"),
    known("hook-not-run", Access, &[
        "Hook script execution failed: {*}unexpected exit status 126",
        "Hook script execution failed: {*}unexpected exit status 127",
        "Hook script execution failed: {*}cannot execute binary",
        "cannot execute binary {}/hooks/{*}: ",
    ], &[
        "libvirt could not run the hook at all: it, or a directory above it, is not executable for the daemon, or its interpreter (the #! line) does not exist",
        "SELinux or AppArmor: the hook's label or path is none that the daemon may run",
    ])
    .decide("ls -lZL /etc/libvirt/hooks; head -1 of the hook; ausearch -m avc -ts recent; dmesg | grep apparmor=")
    .fix("chmod 0755 on the hook, an interpreter that exists; restorecon -RF /etc/libvirt/hooks, or a rule in /etc/apparmor.d/local/usr.sbin.libvirtd")
    .source("libvirt src/util/virhook.c, vircommand.c"),
    known("qemu-not-executable", Access, &[
        "cannot execute binary {}: Permission denied",
        "Failed to start QEMU binary {} for probing",
        "Failed to probe capabilities for {}",
    ], &[
        "libvirt's daemon may not run this QEMU: AppArmor's profile of libvirtd has no rule for its path (outside of /usr/bin), or SELinux. No socket and no memory is concerned",
        "the file or a directory above it is not executable for that user, or mounted noexec",
    ])
    .decide("dmesg | grep apparmor=; ls -l the binary; findmnt -T its path")
    .fix("a line 'PATH PUx,' in /etc/apparmor.d/local/usr.sbin.libvirtd and systemctl reload apparmor; or the distribution's QEMU")
    .source("libvirt src/util/vircommand.c; AppArmor usr.sbin.libvirtd"),
    known("shader-cache", Harmless, &["for shader cache (Permission denied)---disabling"], &[
        "QEMU cannot keep a cache of its screen's drivers: a note, no failure",
    ])
    .fix("nothing")
    .source("Mesa"),
    known("firmware", Unrelated, &["Unable to find any firmware", "could not load PC BIOS", "failed to find romfile", "could not load kernel"], &[
        "the VM's firmware or a ROM, not a vhost-user port",
    ])
    .fix("install the firmware's package")
    .source("QEMU hw/i386"),
    known("bridge-helper", Unrelated, &["bridge helper failed", "failed to parse default acl file", "access denied by acl file"], &[
        "a tap card by qemu-bridge-helper, not a vhost-user port",
    ])
    .fix("/etc/qemu/bridge.conf")
    .source("QEMU qemu-bridge-helper.c"),
    known("shutdown", Harmless, &["terminating on signal 15 from pid", "shutting down, reason=", "char device redirected to"], &[
        "QEMU was told to end, or tells how it started: no error",
    ])
    .by(&[Program::Qemu, Program::Libvirt])
    .fix("nothing")
    .source("QEMU system/runstate.c"),
    known("taint", Harmless, &["is tainted: "], &["libvirt notes a setting that it does not vouch for: custom-argv, high-privileges (QEMU as root), host-cpu"])
        .fix("nothing")
        .source("libvirt src/qemu/qemu_domain.c"),
];
