// SPDX-License-Identifier: Apache-2.0
//! virtiofsd that a unit of the operator's runs, for a VM with `<filesystem><source socket='...'/>`. libvirt's own ones need
//! nothing: it makes their sockets itself.
//!
//! It unlinks a stale socket, takes one connection and ends with it, so that its unit starts it again for the next VM.
//! Without `--socket-group` its socket is 0700, with it 0770 (virtiofsd 1.13.2 and 1.14, src/main.rs; QEMU 7.2,
//! tools/virtiofsd/fuse_virtio.c): what is given at its start has to be given each time.

use crate::base::root::Root;
use crate::config::Declaration;
use crate::dataplane::driver::{Driver, Looking, option, unclear};
use crate::systemd::UnitFact;

/// Its socket is in the arguments of its unit.
pub const DRIVER: Driver = Driver { name: "virtiofs", unit: None, look, umask: None, ports: None };

fn look(_root: &Root, unit: &UnitFact, section: &mut Declaration) -> Result<(), Looking> {
    let place = format!("ExecStart of {}", unit.name);
    match option(unit, &["--socket-path"]).filter(|path| path.starts_with('/')) {
        // The directory may have anything else in it: it is left as it is.
        Some(path) => section.fill("sockets", &format!("{path}*"), &place),
        None if section.get("sockets").is_none() => {
            return Err(unclear(format!("set sockets: {place} has no --socket-path")));
        }
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::of_unit;
    use super::*;

    #[test]
    fn the_socket_is_that_of_its_unit() {
        let unit = "/usr/libexec/virtiofsd --shared-dir /srv --socket-path /run/vfs/s --socket-group kvm";
        let sockets = of_unit(&DRIVER, "", unit).unwrap().sockets;
        assert_eq!((sockets.directory.to_str(), sockets.pattern.as_deref()), (Some("/run/vfs"), Some("s*")));
        // A top directory is everybody's.
        let error = of_unit(&DRIVER, "", "/usr/libexec/virtiofsd --socket-path=/var/fs.sock").unwrap_err();
        let expected = "ExecStart of a.service: sockets = /var/fs.sock*: expected a directory";
        assert!(error.starts_with(expected), "{error}");
        // A template's is not known whole.
        let unit = "/usr/libexec/virtiofsd --socket-path=/run/%i.sock";
        let error = of_unit(&DRIVER, "", unit).unwrap_err();
        assert_eq!(error, "set sockets: ExecStart of a.service has no --socket-path");
        let sockets = of_unit(&DRIVER, "sockets = /run/vfs\n", unit).unwrap().sockets;
        assert_eq!((sockets.directory.to_str(), sockets.pattern), (Some("/run/vfs"), None));
    }
}
