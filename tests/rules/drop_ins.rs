// SPDX-License-Identifier: Apache-2.0
//! Drop-ins of others that systemd reads after ours.

use super::node::Node;

#[test]
fn what_an_image_has_after_ours_is_named_with_what_takes_it_back() {
    assert_eq!(Node::sound().unbooted(&[]).findings(), []);
    let etc = "/etc/systemd/system";
    let vswitchd = format!("{etc}/ovs-vswitchd.service.d/90-x.conf");
    let file = |path: &str| if path.starts_with('/') { path.to_string() } else { format!("{etc}/{path}") };
    // The file, what it says, and the fix up to the reload; none where it takes nothing from ours.
    let cases: [(&str, &str, Option<String>); 8] = [
        (
            "dev-hugepages.mount.d/override.conf",
            "[Mount]\nOptions=mode=01770,gid=136\n",
            Some(format!(
                "sed -i 's/^[[:blank:]]*Options[[:blank:]]*=/#&/' {etc}/dev-hugepages.mount.d/override.conf"
            )),
        ),
        ("dev-hugepages.mount.d/40-x.conf", "[Mount]\nOptions=mode=01770\n", None),
        ("ovs-vswitchd.service.d/90-x.conf", "[Service]\nExecStartPost=/bin/true\nLimitCORE=1\n", None),
        (
            "ovs-vswitchd.service.d/90-x.conf",
            "[Service]\nExecStartPost=\n",
            Some(format!("sed -i 's/^[[:blank:]]*ExecStartPost[[:blank:]]*=[[:blank:]]*$/#&/' {vswitchd}")),
        ),
        (
            "ovs-vswitchd.service.d/90-x.conf",
            "[Service]\nEnvironment=XDG_RUNTIME_DIR=/tmp\n",
            Some(format!(
                "sed -i 's/^[[:blank:]]*Environment[[:blank:]]*=.*XDG_RUNTIME_DIR=/#&/' {vswitchd}"
            )),
        ),
        (
            "ovs-vswitchd.service.d/90-x.conf",
            "[Service]\nEnvironmentFile=-/etc/other.env\n",
            Some("sed -i 's/^[[:blank:]]*OVS_CTL_OPTS[[:blank:]]*=/#&/' /etc/other.env".to_string()),
        ),
        ("ovs-vswitchd.service.d/90-x.conf", "[Service]\nEnvironmentFile=/etc/none.env\n", None),
        (
            "/usr/lib/systemd/system/service.d/90-x.conf",
            "[Service]\nExecStartPre=\n",
            Some(format!(
                "sed 's/^[[:blank:]]*ExecStartPre[[:blank:]]*=[[:blank:]]*$/#&/' /usr/lib/systemd/system/service.d/90-x.conf > {vswitchd}"
            )),
        ),
    ];
    for (path, text, fix) in cases {
        let node = Node::sound().unbooted(&[(&file(path), text), ("/etc/other.env", "OVS_CTL_OPTS=x\n")]);
        let found: Vec<_> = node.findings().into_iter().map(|found| (found.id, found.fix)).collect();
        let wanted = fix.map(|fix| ("drop-in-without-effect", format!("{fix} && systemctl daemon-reload")));
        match wanted {
            Some(wanted) => assert!(found.contains(&wanted), "{path}: {text}: {found:#?}"),
            None => assert_eq!(found, [], "{path}: {text}"),
        }
    }
}
