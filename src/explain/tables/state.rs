// SPDX-License-Identifier: Apache-2.0
//! The switch's daemons, their files and their units. Formats: OVS lib/daemon-unix.c, ovsdb, utilities/ovs-ctl, systemd.

use super::*;

const OWNER: &str = "ls -la /etc/openvswitch /var/lib/openvswitch /run/openvswitch; grep -E 'Uid|Gid' /proc/$(pidof ovsdb-server)/status; grep OVS_USER_ID /etc/sysconfig/openvswitch /etc/default/openvswitch-switch";

pub(super) const SIGNATURES: &[Signature] = &[
    known("ovsdb-open-denied", Permission, &["ovsdb-tool: I/O error: {}: open failed (Permission denied)", "I/O error: {}: open failed (Permission denied)"], &[
        "the database belongs to another user than the dataplane runs as (a number that changed with an update)",
    ])
    .findings(&["dataplane-state-owner", "dataplane-identity"])
    .decide(OWNER)
    .fix("the database back to the user that the switch runs as (its own files only), then start it")
    .source("OVS ovsdb/log.c"),
    known("ovsdb-lock-denied", Permission, &[
        "I/O error: {}: failed to lock lockfile (Resource temporarily unavailable)",
        "{}: failed to open lock file: Permission denied",
        "failed to lock lockfile",
    ], &[
        "the message's errno misleads: most often the lock file belongs to another user than the switch runs as",
        "a second ovsdb-server runs on the same database",
    ])
    .findings(&["dataplane-state-owner", "dataplane-identity"])
    .decide("pidof ovsdb-server; ls -la /etc/openvswitch /var/lib/openvswitch")
    .fix("one ovsdb-server only; the files back to the user that the switch runs as")
    .source("OVS lib/lockfile.c"),
    known("pid-file-denied", Permission, &["|EMER|{}.pid.tmp: create failed (Permission denied)", "{}.pid.tmp: create failed (Permission denied)", "could not open pid file", "could not create pidfile"], &[
        "the daemon may not write its run directory: systemd or a script gave it back to root before the start",
    ])
    .findings(&["run-directory-owner"])
    .decide("ls -ld /run/openvswitch; systemctl cat ovsdb-server ovs-vswitchd | grep -i RuntimeDirectory")
    .fix("the run directory to the switch's user, by its own unit (ovs-ctl does it); not mode 0777")
    .source("OVS lib/daemon-unix.c"),
    known("log-denied", Permission, &["failed to open {} for logging: Permission denied"], &[
        "the daemon may not write its log: logrotate or an update left it to another user. The switch works all the same",
    ])
    .decide("ls -l /var/log/openvswitch")
    .fix("the log to the switch's user, and 'create' or 'su' in its logrotate file")
    .source("OVS lib/vlog.c"),
    known("ovsdb-client-denied", Permission, &["unix:{}: database connection failed (Permission denied)", "unix:{}: database connection attempt failed (Permission denied)"], &[
        "this client's user may not connect to the database's socket (0750 or 0770); the switch and its ports are not concerned",
        "a security module (SELinux, AppArmor) keeps the client out, if it is root",
    ])
    .decide("ls -lZ /run/openvswitch/db.sock; id")
    .fix("run it as root, or as the switch's group")
    .source("OVS lib/stream-unix.c"),
    known("no-libcap", Setting, &["libcap-ng is not configured at compile time", "fail to downgrade user using libcap-ng"], &[
        "this build of Open vSwitch cannot run as another user",
    ])
    .findings(&["dataplane-identity"])
    .decide("ldd $(command -v ovs-vswitchd) | grep cap-ng")
    .fix("dataplane-user = root, or the distribution's package")
    .source("OVS lib/daemon-unix.c"),
    known("user-missing", Missing, &["id: '{}': no such user", "{}: user not found", "Failed to determine user credentials: No such process", "Failed at step USER", "Failed at step GROUP", "Failed to determine group credentials"], &[
        "the service is told to run as a user or group that does not exist",
    ])
    .findings(&["account-missing"])
    .decide("getent passwd openvswitch; getent group hugetlbfs; systemctl cat UNIT")
    .fix("create the account (systemd-sysusers), or correct the setting")
    .source("systemd.exec(5); OVS utilities/ovs-lib.in"),
    known("already-running", Stale, &["already running as pid", "is already running.", "could not lock pidfile", "pidfile check failed"], &[
        "the daemon runs already, perhaps outside systemd: a second one does not start",
    ])
    .decide("pgrep -a ovs; systemctl status ovs-vswitchd ovsdb-server")
    .fix("end the one that is not systemd's, then start the unit")
    .source("OVS lib/daemon-unix.c"),
    known("schema", Setting, &["ovsdb error: {*}schema", "database needs conversion", "cannot convert database", "unexpected ovsdb schema version"], &[
        "the database is of another version than the daemon",
    ])
    .decide("ovsdb-tool db-version /etc/openvswitch/conf.db; ovsdb-tool schema-version /usr/share/openvswitch/vswitch.ovsschema")
    .fix("ovsdb-tool convert, after a copy of the database; ovs-ctl does it at each start")
    .source("OVS ovsdb/ovsdb-tool.c"),
    known("service-failed", Stale, &[
        "ovs-vswitchd.service: {*}ailed",
        "ovsdb-server.service: {*}ailed",
        "openvswitch-switch.service: {*}ailed",
        "openvswitch.service: {*}ailed",
        "Failed to start Open vSwitch",
        "Dependency failed for Open vSwitch",
        "Starting ovs-vswitchd ... failed!",
        "Job for openvswitch{*}failed",
        "Job for ovs-vswitchd{*}failed",
    ], &["the switch did not start: its own log says why"])
        .by(&[Program::Systemd, Program::OpenVswitch])
        .findings(&["dataplane-not-running"])
        .decide("journalctl -u ovs-vswitchd -u ovsdb-server -b; tail /var/log/openvswitch/*.log")
        .fix("what those lines say")
        .source("systemd; OVS utilities/ovs-ctl.in"),
    known("restart-limit", Stale, &["Start request repeated too quickly", "start-limit-hit"], &[
        "systemd gave up after several failed starts: the first failure says why",
    ])
    .by(&[Program::Systemd])
    .decide("journalctl -u UNIT -b | head -50")
    .fix("fix the first failure, then systemctl reset-failed UNIT and start it")
    .source("systemd.unit(5) StartLimitBurst="),
];
