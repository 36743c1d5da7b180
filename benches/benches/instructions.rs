//! How many instructions everything takes, counted by valgrind's callgrind, and held to the committed figures.
//!
//! `cargo bench -p midsession-benches --bench instructions` compares, `… -- --update` writes `instructions.tsv` and
//! the README's table anew.
//! Unlike time, the count does not depend on what else the machine does. It does depend on the compiler, the C library,
//! valgrind and the processor's features, so figures are compared only where all of these are the same.

use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use midsession::{AnySession, CommType, Session};
use midsession_benches::readme::replace_table;
use midsession_benches::{AFTER, INSIDE, linked_chat, sample_end_user, sample_request, work};

/// Those with `true` are held to the committed figures; the others are for the table in the README.
const CASES: [(&str, bool); 7] = [
    ("request/midsession", true),
    ("apply/accept", true),
    ("decide/duplicate", true),
    ("session/json_in", true),
    ("session/json_out", true),
    ("request/parse_only", false),
    ("request/parse_borrowed", false),
];

/// A count may be worse by this many per cent.
const TOLERANCE: u64 = 3;

/// Each case runs as often, so that what happens once weighs little.
const RUNS: u64 = 100;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--case", case] => run(case).map(|()| ExitCode::SUCCESS),
        ["--update", ..] => update(),
        _ => compare(),
    }
}

/// What callgrind counts: everything between this function's entry and its return.
#[inline(never)]
fn measured<T>(work: impl Fn() -> T) {
    black_box(work());
}

fn run(case: &str) -> Result<(), Box<dyn Error>> {
    let anonymous = AnySession::from(Session::start(CommType::Chat));
    let linked = linked_chat();
    let AnySession::Active(active) = &linked else { unreachable!("it goes on") };
    let (request, end_user, json) = (sample_request(), sample_end_user(), work::json_out(&linked));
    match case {
        "request/midsession" => repeat(|| work::request(&anonymous, AFTER)),
        "apply/accept" => repeat(|| work::apply(&anonymous, &request, AFTER)),
        "decide/duplicate" => repeat(|| work::decide(active, &end_user, INSIDE)),
        "session/json_in" => repeat(|| work::json_in(&json)),
        "session/json_out" => repeat(|| work::json_out(&linked)),
        "request/parse_only" => repeat(work::parse_only),
        "request/parse_borrowed" => repeat(work::parse_borrowed),
        _ => return Err(format!("no case {case}").into()),
    }
    Ok(())
}

fn repeat<T>(work: impl Fn() -> T) {
    // The first time, functions of shared libraries are looked up.
    black_box(work());
    for _ in 0..RUNS {
        measured(&work);
    }
}

fn count(case: &str) -> Result<u64, Box<dyn Error>> {
    let valgrind = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured*"])
        .arg(env::current_exe()?)
        .args(["--case", case])
        .output()
        .map_err(|error| format!("valgrind: {error}. On Debian: apt-get install valgrind"))?;
    let said = String::from_utf8_lossy(&valgrind.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse::<u64>().ok());
    let collected = collected.filter(|collected| *collected > RUNS && valgrind.status.success());
    Ok(collected.ok_or_else(|| format!("valgrind has counted nothing:\n{said}"))? / RUNS)
}

/// What a count depends on beside the code.
fn environment() -> Result<String, Box<dyn Error>> {
    let first_line = |program: &str, argument: &str| -> Result<String, Box<dyn Error>> {
        let output = Command::new(program).arg(argument).output().map_err(|error| format!("{program}: {error}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned())
    };
    let rustc = first_line(&env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()), "--version")?;
    let (valgrind, libc) = (first_line("valgrind", "--version")?, first_line("ldd", "--version")?);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let flags: Vec<&str> = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or("").split(' ').collect();
    let features: Vec<&str> =
        ["avx2", "bmi2", "erms", "fsrm"].into_iter().filter(|name| flags.contains(name)).collect();
    Ok(format!("{rustc}, {valgrind}, {libc}, {} {}", env::consts::ARCH, features.join(" ")))
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.tsv")
}

fn update() -> Result<ExitCode, Box<dyn Error>> {
    let mut figures = format!("# {}\n", environment()?);
    let mut table = "| | instructions |\n|---|---|\n".to_owned();
    for (case, _) in CASES {
        let count = count(case)?;
        writeln!(figures, "{case}\t{count}")?;
        writeln!(table, "| `{case}` | {count} |")?;
    }
    print!("{figures}");
    fs::write(committed(), figures)?;
    replace_table("instructions", &table)?;
    Ok(ExitCode::SUCCESS)
}

fn compare() -> Result<ExitCode, Box<dyn Error>> {
    let committed = fs::read_to_string(committed())?;
    let (here, there) = (environment()?, committed.lines().next().unwrap_or_default().trim_start_matches("# "));
    let comparable = here == there;
    let mut worse = false;
    for (case, gated) in CASES {
        let row = committed.lines().find_map(|line| line.strip_prefix(case)?.strip_prefix('\t'));
        let before: u64 = row.ok_or_else(|| format!("instructions.tsv has no {case}"))?.parse()?;
        let now = count(case)?;
        let too_many = comparable && gated && now * 100 > before * (100 + TOLERANCE);
        worse |= too_many;
        let verdict = if too_many { "  WORSE" } else { "" };
        println!("{case:24} {before:>7} committed {now:>7} now{verdict}");
    }
    if !comparable {
        println!("not compared, since the counts depend on it:\n  committed: {there}\n  here:      {here}");
    } else if worse {
        println!("more than {TOLERANCE} % worse. If that is meant: -- --update, and say why in the commit");
    }
    Ok(if worse { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
