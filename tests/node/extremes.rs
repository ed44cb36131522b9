// SPDX-License-Identifier: Apache-2.0
//! The hook as libvirt calls it, with what libvirt never does: garbage, no time, no memory, what is not ours.

use std::time::{Duration, Instant};

use super::steps::{BOTH, PATIENT, push_slow_library};
use super::support::Node;

/// Where `apply` puts the hook.
pub const HOOK: &str = "/etc/libvirt/hooks/qemu.d/50-vhost-accord";
/// The deadline, and what virsh, libvirt and a busy machine take around it.
pub const IN_TIME: Duration = Duration::from_secs(7);

/// The last of what the hook had to say.
pub fn told(node: &Node) -> String {
    node.sh("journalctl -t vhost-accord -o cat -n 12")
}

/// At the end of a VM that never came, nothing of one that runs is touched; nor what is not a socket of ours.
pub fn only_what_is_proven_stale_goes(node: &Node) {
    let stale = "python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])'";
    let release = |path: &str| {
        node.sh(&format!("sed 's#/var/lib/vhost_sockets/vhus0#{path}#' /root/vms.xml > /root/gone.xml; {HOOK} other release end - < /root/gone.xml"));
        node.try_sh(&format!("test -e {path} || test -L {path}")).code == 0
    };
    assert!(release("/var/lib/vhost_sockets/vhus0"), "a running VM has it");
    node.sh(&format!("{stale} /var/lib/vhost_sockets/old; {stale} /run/old; ln -s /run/old /var/lib/vhost_sockets/link; touch /var/lib/vhost_sockets/file"));
    for (path, stays) in [
        ("/run/old", true),
        ("/var/lib/vhost_sockets/link", true),
        ("/var/lib/vhost_sockets/file", true),
        ("/var/lib/vhost_sockets/old", false),
    ] {
        assert_eq!(release(path), stays, "{path}: {}", told(node));
    }
    assert!(node.try_sh("test -S /run/old").code == 0, "what a link leads to is not ours");
    node.sh("rm /run/old /var/lib/vhost_sockets/link /var/lib/vhost_sockets/file");
}

/// However little memory there is, once the program runs at all: a VM that is all right starts.
pub fn no_memory_is_no_refusal(node: &Node) {
    // What is to be checked costs memory only with many devices.
    node.sh("python3 -c \"import re; text = open('/root/vms.xml').read(); card = re.search('<interface.*?</interface>', text, re.S).group(); open('/root/many.xml', 'w').write(text.replace(card, ''.join(card.replace('vhus0', 'vhus%d' % n) for n in range(3000))))\"");
    node.configure(&format!("{BOTH}on-problem = warn\\n"));
    let output = node.sh(&format!(
        "least=8000; until (ulimit -v $least; {HOOK} vms started begin - < /dev/null) 2>/dev/null; do least=$((least + 200)); done; \
         for more in $(seq 0 400 12000); do for operation in 'prepare begin' 'start begin' 'migrate begin' 'restore begin' 'release end'; do for xml in vms many; do \
         (ulimit -v $((least + more)); {HOOK} vms $operation - < /root/$xml.xml > /run/said 2>&1) || echo \"$least+$more $operation $xml: $? $(head -c 200 /run/said)\"; done; done; done"
    ));
    assert_eq!(output, "", "out of memory: {}", told(node));
    node.configure(BOTH);
}

/// The program as libvirt calls it, with what libvirt never does.
pub fn every_operation_whatever_comes(node: &Node) {
    node.configure(&format!("{BOTH}{PATIENT}"));
    node.sh("virsh dumpxml vms > /root/vms.xml; sed 's#/var/lib/vhost_sockets/vhus0#/var/lib/vhost_sockets/vhux9#' /root/vms.xml > /root/wrong.xml; head -c 100000 /dev/urandom > /root/garbage; head -c 70000000 /dev/zero | tr '\\0' x > /root/huge");
    let inputs = [
        "< /root/garbage",
        "< /root/huge",
        "< /root/wrong.xml",
        "< /dev/null",
        "<&-",
        "< /root/wrong.xml >&-",
        "< /root/wrong.xml 2>&-",
        "< /root/wrong.xml > /dev/full",
    ];
    for operation in
        ["started begin", "stopped end", "release end", "reconnect begin", "attach begin", "resurrect begin"]
    {
        for input in inputs {
            let output = node.try_sh(&format!("(ulimit -v 60000; {HOOK} vms {operation} - {input})"));
            assert_eq!((output.code, output.stdout.as_str()), (0, ""), "{operation} {input}: {output}");
        }
    }
    for operation in ["prepare", "start", "migrate", "restore"] {
        for input in inputs.iter().filter(|input| !input.contains("wrong")) {
            let output = node.try_sh(&format!("{HOOK} vms {operation} begin - {input}"));
            assert_eq!((output.code, output.stdout.as_str()), (0, ""), "{operation} {input}: {output}");
        }
        for input in inputs.iter().filter(|input| input.contains("wrong")) {
            let output = node.try_sh(&format!("{HOOK} vms {operation} begin - {input}"));
            assert_eq!(
                (output.code, output.stdout.as_str()),
                (1, ""),
                "{operation} {input}: {output}{}",
                told(node)
            );
        }
    }
    node.configure(BOTH);
    // Time: input that never comes, and a file system that answers after five seconds.
    let timed = |script: &str, code: i32| {
        let begun = Instant::now();
        let output = node.try_sh(script);
        assert_eq!(output.code, code, "{script}: {output}");
        assert!(begun.elapsed() < IN_TIME, "{script}: {:?}", begun.elapsed());
        output.stderr
    };
    let hangs = ["sleep 9 | ", "{ echo '<domain>'; sleep 9; } | "];
    for hang in hangs {
        // Without waiting for the sleeper, which is not ours.
        timed(
            &format!(
                "mkfifo /run/pipe 2>/dev/null; ({} cat > /run/pipe) > /dev/null 2>&1 & {HOOK} vms prepare begin - < /run/pipe",
                hang
            ),
            0,
        );
    }
    push_slow_library(node);
    let slow = |code: i32| {
        timed(&format!("LD_PRELOAD=/root/slow.so {HOOK} vms prepare begin - < /root/vms.xml"), code)
    };
    let begun = Instant::now();
    slow(0);
    assert!(begun.elapsed() > Duration::from_millis(1500), "it was to be slow");
    node.configure(&format!("{BOTH}on-error = refuse\\n"));
    let told = slow(1);
    assert!(told.contains("vhost-accord: check-failed: vms: took longer than 2.0 s"), "{told}");
    node.configure(BOTH);
}
