//! What a monitoring system sees: readiness without anyone who asks, alerts that fire, and which build it is.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use midsession_server::metrics::NAMES;
use tokio::time::sleep;

use crate::harness::{Server, Site, command, required};

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_in_the_metrics_and_recovers_without_anyone_who_asks() {
    let site = Site::sqlite();
    let server = site.server_with("30s", &["--metrics-listen", "127.0.0.1:0"]);
    shows(&server, "midsession_ready 1").await;
    site.sqlite_file().execute_batch("ALTER TABLE sessions RENAME TO elsewhere").unwrap();
    shows(&server, "midsession_ready 0").await;
    site.sqlite_file().execute_batch("ALTER TABLE elsewhere RENAME TO sessions").unwrap();
    shows(&server, "midsession_ready 1").await;
}

async fn shows(server: &Server, wanted: &str) {
    let started = Instant::now();
    loop {
        let text = server.metrics().await;
        assert!(text.contains("\nmidsession_ready "), "it is always there: {text}");
        if text.lines().any(|line| line == wanted) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "no {wanted} in {text}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn each_alert_fires_when_it_should() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let (alerts, tests) =
        ["alerts.yml", "alerts_test.yml"].map(|name| std::fs::read_to_string(folder.join(name)).unwrap()).into();
    let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let asked: BTreeSet<_> = alerts.split(word).filter(|word| word.starts_with("midsession_")).collect();
    let unknown: Vec<_> = asked.iter().filter(|name| !NAMES.contains(name)).collect();
    assert!(asked.len() >= 6 && unknown.is_empty(), "{unknown:?}");
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let fires = format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels");
        assert!(tests.contains(&fires), "no test has {alert} fire");
    }

    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let Ok(output) = Command::new("promtool").args(arguments).current_dir(&folder).output() else {
            assert!(!required(), "no promtool on PATH (Debian: prometheus)");
            return;
        };
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_builds_of_one_version_are_told_apart_by_their_commit() {
    let version = String::from_utf8(command().arg("--version").output().unwrap().stdout).unwrap();
    let commit = version.trim_end().rsplit_once(" (").unwrap().1.trim_end_matches(')');
    let head = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    match head {
        Ok(head) if head.status.success() => {
            assert!(commit.len() == 12 && head.stdout.starts_with(commit.as_bytes()), "{version}");
        }
        _ => assert_eq!(commit, "unknown", "{version}"),
    }
    let site = Site::sqlite();
    let server = site.server_with("30s", &["--metrics-listen", "127.0.0.1:0"]);
    assert!(server.metrics().await.contains(&format!("commit=\"{commit}\"")));
}
