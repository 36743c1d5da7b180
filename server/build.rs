//! Names the commit that is built, so that two builds of one version can be told apart.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MIDSESSION_COMMIT");
    let commit = given().or_else(of_package).or_else(of_repository);
    println!("cargo:rustc-env=MIDSESSION_BUILD_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// For a build without the repository, such as that of an image.
fn given() -> Option<String> {
    env::var("MIDSESSION_COMMIT").ok().and_then(|commit| short(&commit))
}

/// cargo writes this file into a package.
fn of_package() -> Option<String> {
    let path = Path::new(&env::var_os("CARGO_MANIFEST_DIR")?).join(".cargo_vcs_info.json");
    let text = std::fs::read_to_string(path).ok()?;
    short(text.split("\"sha1\"").nth(1)?.split('"').nth(1)?)
}

fn of_repository() -> Option<String> {
    // Each commit, checkout and rebase adds a line to it.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    short(&git(&["rev-parse", "HEAD"])?)
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn short(commit: &str) -> Option<String> {
    let is_commit = commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_commit.then(|| commit.chars().take(12).collect())
}
