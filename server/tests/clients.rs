//! Which client asked: the names of tokens, in the log and in the metrics.

use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Server, Site, TOKEN, command, send};

const CRM: &str = "crm-token-3b1f9a20c4d5";
const DESK: &str = "desk:token:77c0de1b55aa";

#[tokio::test(flavor = "multi_thread")]
async fn a_tokens_name_is_in_the_log_and_the_metrics_and_a_token_without_one_adds_nothing() {
    let site = Site::sqlite();
    let file = site.folder.path().join("tokens");
    // A token may have colons, if it has a name before the first.
    token_file(&file, &format!("crm-sync:{CRM}\n\n desk_2:{DESK} \nplain-token-51d2e9f4\n"));
    let flags = ["--token-file", file.to_str().unwrap(), "--metrics-listen", "127.0.0.1:0"];
    let server = site.server_with("30s", &flags);
    for (token, status, client) in [
        (CRM, 200, Some("crm-sync")),
        (DESK, 200, Some("desk_2")),
        ("plain-token-51d2e9f4", 200, None),
        (TOKEN, 200, None),
        ("crm-sync:crm-token-3b1f9a20c4d5", 401, None),
        ("unknown-token-51d2e9f4", 401, None),
    ] {
        let line = ask(&server, token).await;
        assert_eq!((&line["status"], line.get("client").and_then(Value::as_str)), (&status.into(), client), "{line}");
    }
    let metrics = server.metrics().await;
    let counted: Vec<_> = metrics.lines().filter(|line| line.starts_with("midsession_requests_total{")).collect();
    let clients: Vec<_> = counted.iter().filter_map(|line| Some(line.split_once("client=\"")?.1)).collect();
    let mut names: Vec<_> = clients.iter().filter_map(|rest| Some(rest.split_once('"')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["crm-sync", "desk_2"], "{metrics}");
    assert!(counted.len() > 2, "those without a name are counted, too: {metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_token_of_the_variable_may_have_a_name_too() {
    let site = Site::sqlite();
    let mut start = command();
    start.args(["--listen", "127.0.0.1:0", "--database-url", &site.url()]);
    start.env("MIDSESSION_TOKEN", format!("crm-sync:{CRM}"));
    let server = Server::spawn(start, &site.folder.path().join("log"));
    let line = ask(&server, CRM).await;
    assert_eq!((&line["status"], &line["client"]), (&200.into(), &"crm-sync".into()));
}

const WRONG: &str = "must be 1 to 32 characters of a to z, 0 to 9, _ and -";

/// The tokens of a file, and why they are none.
fn refused() -> Vec<(String, String)> {
    let long = "a".repeat(33);
    let wrong = ["CRM", "crm sync", "", "crm.sync", "crm/sync", "crmé", &long];
    let wrong = wrong.map(|name| (format!("{name}:secret-3b1f9a20c4d5\n"), "line 1 of the token file: "));
    let others = [
        ("crm:secret\n", "line 1 of the token file: a token must have at least 16 characters"),
        (
            "crm:secret-3b1f9a20c4d5\ncrm:secret-77c0de1b55aa\n",
            "line 2 of the token file: another token has the same name",
        ),
        ("secret-3b1f9a20c4d5\n\ncrm:secret-3b1f9a20c4d5\n", "line 3 of the token file: the same token is given under"),
        ("a:secret-3b1f9a20c4d5\nb:secret-3b1f9a20c4d5\n", "line 2 of the token file: the same token is given under"),
    ];
    let others = others.map(|(text, says)| (text.to_owned(), says));
    wrong.into_iter().chain(others).map(|(text, says)| (text, says.to_owned())).collect()
}

#[test]
fn a_wrong_or_doubled_name_is_refused_at_the_start_in_one_line_without_the_token() {
    for (text, says) in refused() {
        let site = Site::sqlite();
        let file = site.folder.path().join("tokens");
        token_file(&file, &text);
        let said = start_refused(&site, &["--token-file", file.to_str().unwrap()]);
        assert!(said.contains(&says), "{text}: {said}");
        assert!(!said.contains("secret") && !said.contains("crm"), "{said}");
    }
    let site = Site::sqlite();
    let said = start_refused(&site, &["--token", "CRM:secret-3b1f9a20c4d5"]);
    assert!(said.contains(WRONG) && !said.contains("secret"), "{said}");
    let file = site.folder.path().join("tokens");
    token_file(&file, "crm:secret-77c0de1b55aa\n");
    let both = ["--token", "crm:secret-3b1f9a20c4d5", "--token-file", file.to_str().unwrap()];
    let said = start_refused(&site, &both);
    assert!(said.contains("another token has the same name") && !said.contains("secret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_or_doubled_name_changes_nothing_at_a_sighup_and_no_token_is_repeated() {
    let site = Site::sqlite();
    let file = site.folder.path().join("tokens");
    token_file(&file, &format!("crm:{CRM}\n"));
    let server = site.server_with("30s", &["--token-file", file.to_str().unwrap()]);
    for (number, (text, says)) in refused().into_iter().enumerate() {
        token_file(&file, &text);
        server.hang_up();
        let refusals = || server.log().matches("the tokens stay as they were").count() == number + 1;
        crate::postgres_harness::until("the file is refused", refusals);
        assert!(server.log().contains(&says), "{says}: {}", server.log());
        assert_eq!(ask(&server, CRM).await["client"], "crm");
    }
    assert!(!server.log().contains("secret"), "{}", server.log());

    // A client's new token takes the name of its old one, which is renamed until it goes.
    token_file(&file, &format!("crm:new-token-77c0de1b55aa\ncrm-old:{CRM}\n"));
    server.hang_up();
    crate::postgres_harness::until("it is read", || server.log().contains(r#""tokens":3"#));
    assert_eq!(ask(&server, CRM).await["client"], "crm-old");
    assert_eq!(ask(&server, "new-token-77c0de1b55aa").await["client"], "crm");
}

/// The line of the log that a request with this token leaves.
async fn ask(server: &Server, token: &str) -> Value {
    let id = uuid::Uuid::now_v7().to_string();
    let request =
        format!("GET /openapi.json HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\nauthorization: Bearer {token}\r\n\r\n");
    send(&server.address, request).await;
    let lines = server.log();
    let line = lines.lines().find(|line| line.contains(&id)).unwrap();
    serde_json::from_str(line).unwrap()
}

/// The one line that a start which fails says.
fn start_refused(site: &Site, flags: &[&str]) -> String {
    let mut start = command();
    start.args(["--listen", "127.0.0.1:0", "--database-url", &site.url()]).args(flags);
    let started = Instant::now();
    let output = start.output().unwrap();
    assert!(started.elapsed() < Duration::from_mins(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn token_file(path: &Path, text: &str) {
    write(path, text).unwrap();
    set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}
