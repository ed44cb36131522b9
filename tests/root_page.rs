// SPDX-License-Identifier: Apache-2.0
//! The page of `compare --html` in a real browser, Debian's Chromium without a window: of 3 nodes and of 1,000.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

const ALONE: &str = include_str!("fuzz/seeds/fingerprint/alone");
/// What the page says of itself when the browser has laid it out, as attributes of its root.
const MEASURE: &str = r#"
const root = document.documentElement, style = element => getComputedStyle(element);
const colour = text => text.match(/[\d.]+/g).slice(0, 3).map(Number);
const light = text => { const [r, g, b] = colour(text).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = element => { for (; element; element = element.parentElement) { const found = style(element).backgroundColor;
  if (!/, 0\)$/.test(found)) return found; } return "rgb(255, 255, 255)"; };
const contrast = element => { const [a, b] = [light(style(element).color), light(behind(element))].sort((a, b) => b - a);
  return (a + 0.05) / (b + 0.05); };
const seen = [...document.querySelectorAll("h1,h2,p,th,td,code,.tile b,.tile span")].filter(element => element.textContent.trim());
root.dataset.contrast = Math.min(...seen.map(contrast)).toFixed(2);
root.dataset.hidden = seen.filter(element => !element.getClientRects().length).length;
root.dataset.overflow = root.scrollWidth > innerWidth;
root.dataset.light = light(behind(document.body)) > 0.5;
"#;
/// Clicks the first header of the table of nodes twice, and tells which node comes first.
const SORT: &str = r#"
const table = [...document.querySelectorAll("table.sortable")].at(-1), first = () => table.tBodies[0].rows[0].cells[0].textContent;
const head = table.tHead.rows[0].cells[0], told = [first()];
for (const _ of [1, 2]) { head.click(); told.push(first(), head.getAttribute("aria-sort")); }
table.tHead.rows[0].cells[2].click();
told.push(table.tBodies[0].rows[0].cells[2].textContent, table.tBodies[0].rows.length);
document.documentElement.dataset.sorted = told.join(" ");
"#;

/// A node; one in ten is not like the others, and one has no VMs.
fn node(number: usize) -> Value {
    let name = format!("compute-{number}");
    let mut node: Value = serde_json::from_str(
        &ALONE.replace("vhuc0", &format!("c{number}")).replace("vhus0", &format!("s{number}")),
    )
    .unwrap();
    (node["host"], node["default_page_size"]) = (json!(name), json!(1 << 21));
    for vm in node["vms"].as_array_mut().unwrap() {
        vm["nova_ports"] = json!([vm["domain"]["endpoints"][0]["target"]]);
        for key in ["name", "uuid"] {
            vm["domain"][key] = json!(format!("{name}-{}", vm["domain"][key].as_str().unwrap()));
        }
    }
    match number % 10 {
        1 => node["modes"] = json!(["dpdkvhostuserclient"]),
        2 => {
            node["group"]["id"] = json!(4000 + number);
            node["vms"] = json!([]);
        }
        _ => {}
    }
    node
}

/// The page of so many nodes.
fn page(place: &TempDir, nodes: usize) -> PathBuf {
    let files: Vec<String> = (1..=nodes).map(|number| format!("{number}.json")).collect();
    for (number, file) in (1..).zip(&files) {
        fs::write(place.path().join(file), node(number).to_string()).unwrap();
    }
    let mut compare = Command::new(env!("CARGO_BIN_EXE_vhost-accord"));
    compare.arg("compare").args(&files).args(["--html", "page.html"]).current_dir(place.path());
    let output = compare.output().unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{}", String::from_utf8_lossy(&output.stderr));
    place.path().join("page.html")
}

struct Browser {
    place: TempDir,
}

impl Browser {
    /// What it prints when it has loaded the page, with a script of the test's at its end.
    fn run(&self, page: &PathBuf, script: &str, options: &[&str]) -> String {
        let shown = self.place.path().join("shown.html");
        let text = fs::read_to_string(page).unwrap();
        fs::write(&shown, text.replace("</body>", &format!("<script>{{{script}}}</script></body>"))).unwrap();
        let mut chromium = Command::new("chromium");
        chromium
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args([
                "--enable-logging=stderr",
                "--hide-scrollbars",
                "--window-size=1280,900",
                "--timeout=120000",
            ])
            .arg(format!("--user-data-dir={}", self.place.path().join("profile").display()))
            .env("HOME", self.place.path())
            .args(options)
            .arg(format!("file://{}", shown.display()));
        let output = chromium.output().unwrap_or_else(|error| panic!("chromium: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(!said.lines().any(|line| line.contains("CONSOLE")), "{said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn picture(&self, page: &PathBuf, script: &str, options: &[&str]) -> Vec<u8> {
        let file = self.place.path().join("picture.png");
        let option = format!("--screenshot={}", file.display());
        self.run(page, script, &[&[option.as_str()], options].concat());
        let picture = fs::read(&file).unwrap();
        if let Some(kept) = std::env::var_os("VHOST_ACCORD_PICTURES") {
            let name =
                format!("{}-{}.png", page.parent().unwrap().display(), options.join("")).replace('/', "_");
            fs::write(PathBuf::from(kept).join(name), &picture).unwrap();
        }
        picture
    }
}

fn attribute<'a>(dom: &'a str, name: &str) -> &'a str {
    let rest =
        dom.split(&format!("data-{name}=\"")).nth(1).unwrap_or_else(|| panic!("no {name}: {}", &dom[..400]));
    rest.split('"').next().unwrap()
}

#[test]
#[ignore = "needs root: make test-all"]
fn a_browser_shows_the_page_of_few_nodes_and_of_many() {
    let fetch = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/fetch");
    assert!(Command::new(fetch).status().unwrap().success(), "{fetch}");
    let browser = Browser { place: tempfile::tempdir().unwrap() };
    const DARK: &str = "--blink-settings=preferredColorScheme=0";
    const LIGHT: &str = "--blink-settings=preferredColorScheme=1";
    const NO_SCRIPT: &str = "--blink-settings=scriptEnabled=false,preferredColorScheme=1";
    for nodes in [3, 1000] {
        let place = tempfile::tempdir().unwrap();
        let page = page(&place, nodes);
        for (scheme, light) in [(LIGHT, "true"), (DARK, "false")] {
            let dom = browser.run(&page, MEASURE, &["--dump-dom", scheme]);
            assert_eq!(attribute(&dom, "light"), light, "{scheme}");
            assert_eq!((attribute(&dom, "hidden"), attribute(&dom, "overflow")), ("0", "false"), "{scheme}");
            // WCAG 2.1, 1.4.3: text has a contrast of at least 4.5.
            let contrast: f64 = attribute(&dom, "contrast").parse().unwrap();
            assert!(contrast >= 4.5, "{scheme}: {contrast}");
        }
        let dom = browser.run(&page, SORT, &["--dump-dom"]);
        let sorted = format!("compute-1 compute-1 ascending compute-{nodes} descending 0 {nodes}");
        assert_eq!(attribute(&dom, "sorted"), sorted, "numbers are sorted as numbers");
        // Without scripts it looks the same: the one that would empty the page does not run.
        let empty = "document.body.replaceChildren()";
        let (with, without) =
            (browser.picture(&page, "", &[LIGHT]), browser.picture(&page, empty, &[NO_SCRIPT]));
        assert!(with == without, "{nodes} nodes: without scripts it looks otherwise");
        assert!(with != browser.picture(&page, empty, &[LIGHT]), "{nodes} nodes: there is nothing to see");
        assert!(with != browser.picture(&page, "", &[DARK]), "{nodes} nodes: dark is as light");
    }
}
