// SPDX-License-Identifier: Apache-2.0
//! `edit::virconf`: what libvirt accepts, which value counts, and edits that touch one key only.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use vhost_accord::edit::virconf::{Previous, Value, VirConf, previous, restore, set_text};

/// In the shape of a packaged qemu.conf: prose, indented examples, templates, settings, a list.
const CONF: &str = r#"# Master configuration file for the QEMU driver.
# All settings described here are optional - if omitted, sensible
# defaults are used.

#vnc_listen = "0.0.0.0"
vnc_password = "XYZ12345"  # eight letters

# The user for QEMU processes run by the system instance.
#
# Some examples of valid values are:
#
#       user = "qemu"   # A user named "qemu"
#       user = "+0"     # Super user (uid=0)
#
#user = "libvirt-qemu"

# The group for QEMU processes run by the system instance.
#group = "libvirt-qemu"

# Whether libvirt should dynamically change file ownership.
#dynamic_ownership = 1
remember_owner=0

cgroup_device_acl = [
    "/dev/null", "/dev/full", "/dev/zero",
    '/dev/random',
]
motd = """first
second "quoted" line
"""; max_files = 32768
#nvram = [
#   "/usr/share/OVMF/OVMF_CODE.fd:/usr/share/OVMF/OVMF_VARS.fd"
#]
"#;

fn text(value: &str) -> Option<Value> {
    Some(Value::Text(value.into()))
}

fn crlf(lf: &str) -> String {
    lf.replace('\n', "\r\n")
}

#[test]
fn reads_every_kind_of_value() {
    let conf = VirConf::parse(CONF).unwrap();
    assert_eq!(conf.get("vnc_password"), text("XYZ12345"));
    assert_eq!(conf.get("remember_owner"), Some(Value::Integer(0)));
    assert_eq!(conf.get("motd"), text("first\nsecond \"quoted\" line\n"));
    assert_eq!(conf.get("max_files"), Some(Value::Integer(32768)));
    let acl = ["/dev/null", "/dev/full", "/dev/zero", "/dev/random"].map(|d| Value::Text(d.into()));
    assert_eq!(conf.get("cgroup_device_acl"), Some(Value::List(acl.to_vec())));
    assert_eq!((conf.get("group"), conf.get("user"), conf.line_of("group")), (None, None, None));
    assert_eq!(conf.line_of("max_files"), Some(30));
}

#[test]
fn reads_line_ends_of_dos() {
    let conf = VirConf::parse(&crlf(CONF)).unwrap();
    assert_eq!(conf.get("vnc_password"), text("XYZ12345"));
    assert_eq!(conf.commented_default("group").as_deref(), Some("libvirt-qemu"));
}

#[test]
fn the_first_of_several_assignments_counts() {
    let written = "group = \"kvm\"\nuser='x'\ngroup = \"qemu\"\n";
    let conf = VirConf::parse(written).unwrap();
    assert_eq!(conf.get("group"), text("kvm"));
    assert_eq!(conf.line_of("group"), Some(1));
    let literals = ["\"kvm\"", "\"qemu\""].map(String::from).to_vec();
    assert_eq!(previous(written, "group").unwrap(), Previous::Set { literals });
}

#[test]
fn a_commented_default_is_the_template_and_not_the_prose() {
    let conf = VirConf::parse(CONF).unwrap();
    assert_eq!(conf.commented_default("user").as_deref(), Some("libvirt-qemu"));
    assert_eq!(conf.commented_default("dynamic_ownership").as_deref(), Some("1"));
    assert_eq!(conf.commented_default("nvram"), None);
    assert_eq!(conf.commented_default("vnc"), None);
    let torn = VirConf::parse("#group = \"kvm\"\n#group = \"qemu\"\n").unwrap();
    assert_eq!(torn.commented_default("group"), None);
    let within = VirConf::parse("motd = \"\"\"\n#group = \"kvm\"\n\"\"\"\n").unwrap();
    assert_eq!(within.commented_default("group"), None);
}

#[test]
fn errors_name_the_place_and_keep_secrets() {
    let error = VirConf::parse("a = 1\n\n\tgroup =\nvnc_password = \"x").unwrap_err();
    let shown = error.to_string();
    assert!(
        shown.starts_with("line 3: expected a value after '='") && shown.ends_with("(column 9)"),
        "{shown}"
    );
    let secret = VirConf::parse("vnc_password = \"hunter2").unwrap_err();
    assert!(!secret.to_string().contains("hunter2"));
}

#[test]
fn rejects_what_libvirt_rejects() {
    // Each tried with libvirt 9.0.
    let bad = [
        "\n",
        " \n \n",
        "_g = 1",
        "g.x = 1",
        "g-x = 1",
        "1g = 1",
        "g",
        "g 1",
        "g =",
        "g =\n1",
        "g = x",
        "g = -",
        "g = 'x",
        "g = \"x\ny\"",
        "g = \"x\" y",
        "a=1;;b=2",
        ";a=1",
        "l = [ # c\n1]",
        "l = [,]",
        "l = [1,,]",
        "l = [1 2]",
        "l = [1",
        "l = [",
        "g = \"\"\"\"\"\"",
        "g = \"\"\"a\"\"\"\"\n",
        "g = \"\"\"a\n",
        "\u{feff}g = 1",
    ];
    for text in bad {
        assert!(VirConf::parse(text).is_err(), "{text:?} passed");
    }
    let good = [
        "",
        "\n#",
        "a=1;",
        "a=1;b=2",
        "a=1\n  \n ",
        "g = \"\"\"\"\"\"\n",
        "g=\"\"\"\"a\"\"\"\n",
        "l=[['a'],2,]",
        "# c\ra=1",
    ];
    for text in good {
        assert!(VirConf::parse(text).is_ok(), "{text:?} refused");
    }
    assert!(VirConf::parse(&format!("l = {}", "[".repeat(100_000))).is_err());
}

#[test]
fn a_new_line_goes_below_the_template() {
    let edited = set_text(CONF, "group", "hugetlbfs").unwrap();
    let template = "#group = \"libvirt-qemu\"\n";
    assert_eq!(edited, CONF.replace(template, &format!("{template}group = \"hugetlbfs\"\n")));
    let edited = set_text(&crlf(CONF), "group", "hugetlbfs").unwrap();
    assert_eq!(edited, crlf(&CONF.replace(template, &format!("{template}group = \"hugetlbfs\"\n"))));
}

#[test]
fn without_a_template_the_line_goes_to_the_end() {
    assert_eq!(set_text("", "group", "kvm").unwrap(), "group = \"kvm\"\n");
    assert_eq!(set_text("a = 1", "group", "kvm").unwrap(), "a = 1\ngroup = \"kvm\"\n");
    assert_eq!(set_text("a = 1\r\nb = 2", "g", "k").unwrap(), "a = 1\r\nb = 2\r\ng = \"k\"\r\n");
    assert_eq!(set_text("#g = \"x\"", "g", "k").unwrap(), "#g = \"x\"\ng = \"k\"\n");
}

#[test]
fn all_assignments_end_up_agreeing_and_nothing_else_changes() {
    let before = "group='kvm' # mine\n  group\t=  \"\"\"hugetlbfs\"\"\" ;group = [\n 1 ]\nuser = \"group\"\n";
    let after = "group=\"hugetlbfs\" # mine\n  group\t=  \"\"\"hugetlbfs\"\"\" ;group = \"hugetlbfs\"\nuser = \"group\"\n";
    assert_eq!(set_text(before, "group", "hugetlbfs").unwrap(), after);
    let state = previous(before, "group").unwrap();
    assert_eq!(restore(after, "group", "hugetlbfs", &state).unwrap(), before);
}

fn fails(edit: anyhow::Result<String>, why: &str) {
    let error = edit.unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}

#[test]
fn awkward_values_are_quoted_or_refused() {
    for value in ["", "a'b", "a\"b", "\"'x", "line\nline", "cr\rx", "\"\"x'"] {
        let edited = set_text("a = 1\n", "k", value).unwrap();
        assert_eq!(VirConf::parse(&edited).unwrap().get("k"), text(value), "{value:?}");
    }
    for value in ["\0", "'\"", "'\"\"\"x", "x\n\""] {
        fails(set_text("a = 1\n", "k", value), "cannot be written in this file\'s syntax");
    }
    for key in ["", "_k", "k k", "k.x", "#k", "a = 1\nk"] {
        fails(set_text("a = 1\n", key, "x"), "cannot be written in this file\'s syntax");
    }
    fails(set_text("broken", "k", "x"), "line 1: expected \'=\' after \'broken\'");
}

#[test]
fn restoring_keeps_what_others_did() {
    let state = previous("a = 1", "group").unwrap();
    assert_eq!(state, Previous::Absent { unterminated: true });
    let ours = set_text("a = 1", "group", "kvm").unwrap();
    assert_eq!(restore(&ours, "group", "kvm", &state).unwrap(), "a = 1");
    assert_eq!(restore(&format!("{ours}b = 2\n"), "group", "kvm", &state).unwrap(), "a = 1\nb = 2\n");
    assert_eq!(restore("a = 1\n", "group", "kvm", &state).unwrap(), "a = 1\n");
    let theirs = [
        "a = 1\ngroup = \"qemu\"\n",
        "a = 1\ngroup = \"kvm\" # why\n",
        "a = 1\n group = \"kvm\"\n",
        "group = \"kvm\"\ngroup = \"kvm\"\n",
    ];
    for text in theirs {
        fails(restore(text, "group", "kvm", &state), "changed since: ");
    }
    let state = previous("group = 'old'\n", "group").unwrap();
    assert_eq!(
        restore("b = 2\ngroup = \"kvm\" # why\n", "group", "kvm", &state).unwrap(),
        "b = 2\ngroup = 'old' # why\n"
    );
    for text in ["group = 'qemu'\n", "b = 2\n", "group = \"kvm\"\ngroup = \"kvm\"\n"] {
        fails(restore(text, "group", "kvm", &state), "changed since: ");
    }
}

fn statement() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("# prose about group = 1".into()),
        Just("#   group = \"indented\"".into()),
        Just("#group = \"template\"".into()),
        Just("#other = [".into()),
        Just("other = \"x\"".into()),
        Just("  number = -12 ; third='a' # c".into()),
        Just("list = [\n  \"a\", # \"b\"\n]".replace("# ", "")),
        Just("long = \"\"\"group = 'no'\n#group = 1\n\"\"\"".into()),
        Just("group = 'one'".into()),
        Just("\tgroup=\"two\" # why".into()),
        Just("group = [ \"a\",\n 'b' ]; group = 7".into()),
        Just("group = \"wanted\"".into()),
    ]
}

fn document() -> impl Strategy<Value = String> {
    let lines = prop::collection::vec(statement(), 0..8);
    (lines, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(lines, dos, ended, empty)| {
        let mut text = lines.join("\n");
        if ended || (!empty && text.trim().is_empty()) {
            text.push_str("\n# end\n");
        }
        if dos { crlf(&text) } else { text }
    })
}

/// All lines that have nothing to do with the key, without their ends.
fn others(text: &str) -> Vec<String> {
    let conf = VirConf::parse(text).unwrap();
    let keys = ["other", "number", "third", "list", "long"];
    let mut seen: Vec<String> = keys.iter().map(|key| format!("{:?}", conf.get(key))).collect();
    seen.extend(text.lines().filter(|l| l.starts_with('#') || l.is_empty()).map(str::to_owned));
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn an_edit_changes_its_key_only_and_can_be_taken_back(
        text in document().prop_filter("libvirt reads it", |t| VirConf::parse(t).is_ok()),
        value in prop_oneof![Just("wanted".to_owned()), "[a-z+\"' \n]{0,6}"],
        foreign in prop_oneof![Just(""), Just("# more\n"), Just("more = 1\n")],
    ) {
        let Ok(edited) = set_text(&text, "group", &value) else { return Ok(()) };
        prop_assert_eq!(VirConf::parse(&edited).unwrap().get("group"), Some(Value::Text(value.clone())));
        prop_assert_eq!(set_text(&edited, "group", &value).unwrap(), edited.clone());
        if !value.contains('\n') {
            let mixed = |t: &str| t.replace("\r\n", "").contains('\n');
            prop_assert!(!text.contains("\r\n") || mixed(&text) || !mixed(&edited), "{:?}", edited);
            prop_assert_eq!(others(&edited), others(&text));
        }
        let state = previous(&text, "group").unwrap();
        prop_assert_eq!(restore(&edited, "group", &value, &state).unwrap(), text.clone());
        let front = format!("{foreign}{edited}");
        prop_assert_eq!(restore(&front, "group", &value, &state).unwrap(), format!("{foreign}{text}"));
    }

    #[test]
    fn nothing_panics(text in any::<String>(), grammar in "[g=1\"'\\[\\],;# \n\r\t\\-é\0]{0,24}", key in any::<String>()) {
        for text in [text, grammar] {
            if let Err(error) = VirConf::parse(&text) {
                prop_assert!(!error.to_string().contains('\n'));
            }
            for key in [key.as_str(), "g", ""] {
                if let Ok(edited) = set_text(&text, key, &text) {
                    let state = previous(&text, key).unwrap();
                    prop_assert_eq!(&restore(&edited, key, &text, &state).unwrap(), &text);
                }
                let _ = restore(&text, key, "x", &Previous::Set { literals: vec!["g".into()] });
                let _ = VirConf::parse(&text).map(|conf| conf.commented_default(key));
            }
        }
    }
}
