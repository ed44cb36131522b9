// SPDX-License-Identifier: Apache-2.0
//! What libvirt calls the hook with: `<guest> <operation> <sub-operation> <extra>` (libvirt: docs/hooks.rst).

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::base::paths;
use crate::rules::start::Operation;

/// True when the program was called by the name libvirt has for it, not by ours.
pub fn is_hook(program: &OsStr) -> bool {
    let path = Path::new(program);
    let name = path.file_name();
    let directory = path.parent().and_then(Path::file_name);
    name == Some(OsStr::new(paths::HOOK_NAME))
        || directory == Some(OsStr::new("qemu.d"))
        || (name == Some(OsStr::new("qemu")) && directory == Some(OsStr::new("hooks")))
}

/// The operation that the arguments (without the program's name) ask for, if it is one with a say.
pub fn operation(arguments: &[OsString]) -> Option<Operation> {
    Operation::parse(arguments.get(1)?.to_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_libvirts_names_make_it_the_hook() {
        for hook in [
            "/etc/libvirt/hooks/qemu",
            "/etc/libvirt/hooks/qemu.d/50-vhost-accord",
            "50-vhost-accord",
            "/x/qemu.d/a",
        ] {
            assert!(is_hook(OsStr::new(hook)), "{hook}");
        }
        for other in ["/usr/bin/vhost-accord", "vhost-accord", "qemu", "/usr/bin/qemu", "", "/"] {
            assert!(!is_hook(OsStr::new(other)), "{other}");
        }
    }

    #[test]
    fn what_may_kill_a_guest_is_no_operation() {
        for name in ["started", "stopped", "release", "reconnect", "attach", "resurrect", "", "PREPARE"] {
            assert_eq!(Operation::parse(name), None, "{name}");
        }
        let arguments = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(operation(&arguments(&["vm", "start", "begin", "-"])), Some(Operation::Start));
        assert_eq!(operation(&arguments(&["start"])), None);
        assert_eq!(operation(&[]), None);
    }
}
