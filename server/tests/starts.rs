//! What the server is told at its start: each flag at its extremes, each variable in the forms that deployments give it,
//! and errors that say what to do without repeating a secret.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Server, Site, TOKEN, command};

/// The flag, what it takes at either end, and what is beyond.
const FLAGS: &[(&str, &[&str], &[&str])] = &[
    ("--interval", &["0s", "0.000000001s", "18446744073709551615s"], &["", "1", "-1s", "99999999999999999999s"]),
    ("--scope", &["session", "same-identifier"], &["", "Session", "same_identifier"]),
    ("--request-timeout", TIMES_TAKEN, TIMES_REFUSED),
    ("--queue", &["1", "1048576"], WHOLE_NUMBERS_REFUSED),
    ("--database-connections", &["2", "10000"], WHOLE_NUMBERS_REFUSED),
    ("--database-timeout", &["1ms", "2500ms"], TIMES_REFUSED),
    ("--database-wait", TIMES_TAKEN, TIMES_REFUSED),
    ("--max-connections", &["1", "100"], WHOLE_NUMBERS_REFUSED),
    ("--idle-timeout", TIMES_TAKEN, TIMES_REFUSED),
    ("--head-timeout", TIMES_TAKEN, TIMES_REFUSED),
    ("--write-timeout", TIMES_TAKEN, TIMES_REFUSED),
    ("--drain", &["0s", "24h"], &["", "1", "-1s", "1us", "25h", "500000000000y", "999999999999999999999y"]),
    ("--listen", &["127.0.0.1:0", "[::1]:0"], &["", "127.0.0.1", "127.0.0.1:65536", "localhost:x"]),
    ("--metrics-listen", &["127.0.0.1:0"], &["", "127.0.0.1", "127.0.0.1:65536"]),
    ("--token", &[TOKEN], &["short", "a token with spaces", "tøken-of-16-or-more"]),
    ("--token-file", &[], &["", "/none", "/"]),
    ("--database-url", &[], &["", "none", "mysql://h/db", "sqlite://", "sqlite:///", "sqlite:///none/none"]),
    ("--public-docs", &[], &["true"]),
    ("--audit", &[], &["true"]),
];

/// Those after a subcommand, which comes first.
const TASK_FLAGS: &[(&str, &str, &[&str], &[&str])] = &[
    (
        "purge",
        "--ended-before",
        &["0s", "30d", "2000y"],
        &["", "-1s", "100000y", "500000000000y", "18446744073709551615s"],
    ),
    ("purge", "--audit-before", &[], &["", "-1s", "100000y", "500000000000y", "18446744073709551615s"]),
    ("migrate", "--to", &[], &["", "x", "-1", "1.5", "4294967296"]),
];

const TIMES_TAKEN: &[&str] = &["1s", "24h"];
const TIMES_REFUSED: &[&str] =
    &["", "0s", "0", "1", "-1s", "1us", "25h", "500000000000y", "18446744073709551615s", "999999999999999999999y"];
const WHOLE_NUMBERS_REFUSED: &[&str] = &[
    "",
    "0",
    "-1",
    "1.5",
    "x",
    "4294967296",
    "2305843009213693952",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_works_with_each_flag_at_either_end_of_what_it_takes() {
    for (flag, taken, _) in FLAGS {
        for value in *taken {
            let site = Site::sqlite();
            let mut start = command();
            start.args(["--listen", "127.0.0.1:0", "--token", TOKEN, "--database-url", &site.url()]);
            // Given twice, a flag would be refused.
            let start = with(&start, flag, value);
            let server = Server::spawn(start, &site.folder.path().join("log"));
            let client = server.client();
            let id = client.start_chat().await;
            assert_eq!(client.link(&id, "id-1").await.0, 202, "{flag} {value}");
        }
    }
}

/// `command`, with this value for `flag` in place of the one it has.
fn with(command: &Command, flag: &str, value: &str) -> Command {
    let mut changed = Command::new(command.get_program());
    changed.args(command.get_args().collect::<Vec<_>>().chunks(2).filter(|pair| pair[0] != flag).flatten());
    for (name, set) in command.get_envs() {
        match set {
            Some(set) => changed.env(name, set),
            None => changed.env_remove(name),
        };
    }
    changed.arg(format!("{flag}={value}"));
    changed
}

#[test]
fn a_value_beyond_is_refused_in_one_line_that_names_the_flag_or_what_it_is() {
    let words = ["token", "database"];
    for (flag, _, refused) in FLAGS {
        for value in *refused {
            let site = Site::sqlite();
            let mut start = command();
            start.args(["--listen", "127.0.0.1:0", "--token", TOKEN, "--database-url", &site.url()]);
            let said = refusal(with(&start, flag, value));
            assert!(said.contains(flag) || words.iter().any(|word| said.contains(word)), "{flag} {value}: {said}");
        }
    }
    for (task, flag, taken, refused) in TASK_FLAGS {
        for value in *taken {
            let site = Site::sqlite();
            let purged = output(run(task, &site, flag, value));
            assert!(purged.status.success(), "{flag} {value}: {}", String::from_utf8_lossy(&purged.stderr));
        }
        for value in *refused {
            let site = Site::sqlite();
            let said = refusal(run(task, &site, flag, value));
            assert!(said.contains(flag), "{flag} {value}: {said}");
        }
    }
}

fn run(task: &str, site: &Site, flag: &str, value: &str) -> Command {
    let mut run = command();
    run.args([task, "--database-url", &site.url(), &format!("{flag}={value}")]);
    run
}

/// So that a flag which is added later is tried, too.
#[test]
fn each_flag_of_the_help_is_in_the_tables() {
    let mut shown = BTreeSet::new();
    for task in [&["--help"][..], &["purge", "--help"], &["migrate", "--help"], &["health", "--help"]] {
        let help = command().args(task).output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let flags = help.lines().filter_map(|line| line.trim_start().trim_start_matches("-h, ").split(' ').next());
        shown.extend(flags.filter(|word| word.starts_with("--")).map(str::to_owned));
    }
    let tried: BTreeSet<_> = FLAGS
        .iter()
        .map(|(flag, ..)| *flag)
        .chain(TASK_FLAGS.iter().map(|(_, flag, ..)| *flag))
        .map(str::to_owned)
        .collect();
    let shown: BTreeSet<_> = shown.into_iter().filter(|flag| flag != "--help" && flag != "--version").collect();
    assert_eq!(shown, tried);
}

/// The one line that a start which fails says.
fn refusal(command: Command) -> String {
    let output = output(command);
    let said = String::from_utf8(output.stderr).unwrap();
    // A panic's code is 101.
    assert_eq!(output.status.code(), Some(1), "{said}");
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].starts_with("midsession-server: "), "{said}");
    said
}

/// Of a process that ends by itself. It is killed if it does not.
fn output(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_mins(1) {
            child.kill().unwrap();
            panic!("it does not end: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_is_empty_counts_as_one_that_is_not_set() {
    let site = Site::sqlite();
    let mut start = command();
    start.args(["--database-url", &site.url(), "--listen", "127.0.0.1:0"]);
    for name in [
        "LISTEN",
        "DATABASE_URL",
        "INTERVAL",
        "SCOPE",
        "REQUEST_TIMEOUT",
        "QUEUE",
        "DATABASE_CONNECTIONS",
        "DATABASE_TIMEOUT",
        "DATABASE_WAIT",
        "TOKEN_FILE",
        "PUBLIC_DOCS",
        "METRICS_LISTEN",
        "AUDIT",
        "MAX_CONNECTIONS",
        "IDLE_TIMEOUT",
        "HEAD_TIMEOUT",
        "WRITE_TIMEOUT",
    ] {
        start.env(format!("MIDSESSION_{name}"), "");
    }
    start.env("MIDSESSION_TOKEN", TOKEN);
    let server = Server::spawn(start, &site.folder.path().join("log"));
    let client = server.client();
    client.start_chat().await;
    assert_eq!(status(&server, "/docs").await, 401, "an empty variable opened the docs");

    let mut start = command();
    start.args(["--database-url", &site.url()]).env("MIDSESSION_TOKEN", "");
    let said = refusal(start);
    assert_eq!(said, "midsession-server: no token: set MIDSESSION_TOKEN or --token-file\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_is_on_by_each_word_for_yes_and_off_by_each_word_for_no() {
    for (words, open) in [(["1", "true", "TRUE", "yes", "on"], true), (["0", "false", "False", "no", "off"], false)] {
        for word in words {
            let site = Site::sqlite();
            let mut start = command();
            start.args(["--database-url", &site.url(), "--listen", "127.0.0.1:0", "--token", TOKEN]);
            start.env("MIDSESSION_PUBLIC_DOCS", word);
            let server = Server::spawn(start, &site.folder.path().join("log"));
            assert_eq!(status(&server, "/openapi.json").await, if open { 200 } else { 401 }, "{word}");
        }
    }
    let mut start = command();
    start.args(["--token", TOKEN]).env("MIDSESSION_PUBLIC_DOCS", "maybe");
    assert!(refusal(start).contains("--public-docs"));
}

/// Without a token.
async fn status(server: &Server, path: &str) -> u16 {
    crate::harness::send(&server.address, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await.status
}

#[test]
fn no_piece_of_a_password_is_repeated_wherever_it_is_misplaced() {
    let encode = "write %40 for `@`";
    for (arguments, says) in [
        (&["--database-url", "redis://cache:1234?hunter2rest@h"][..], encode),
        (&["--database-url", "redis://me:hunter2/rest@h"], encode),
        (&["--database-url", "postgres://me:12?hunter2=rest@h/db"], encode),
        (&["--database-url", "postgres://me:hunter2@rest@h/db"], encode),
        (&["--database-url", "postgres://me:1/hunter2@h/db"], encode),
        (&["--database-url", "postgres://h/db?hunter2"], "a parameter of its URL is unknown"),
        (&["--database-url", "hunter2"], "its URL must begin with"),
        (&["--database", "postgres://me:hunter2@h/db"], "unexpected argument '--database'"),
        (&["postgres://me:hunter2@h/db"], "neither a flag nor a task"),
        (&["serve", "hunter2"], "neither a flag nor a task"),
        (&["--token", "hunter2"], "a token must have at least"),
        (&["--token=a", "hunter2"], "neither a flag nor a task"),
        (&["-phunter2"], "unexpected argument '-p'"),
    ] {
        let mut start = command();
        start.args(arguments).env("MIDSESSION_TOKEN", TOKEN);
        let said = refusal(start);
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert!(!said.contains("hunter2") && !said.contains("rest"), "{arguments:?}: {said}");
    }
}
