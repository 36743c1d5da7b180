//! The server's README and the pages in `docs`: their links, and how they begin.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What an evaluator reads in one sitting.
const README_LINES_MAX: usize = 170;

#[test]
fn every_link_of_the_readme_and_the_pages_leads_to_a_file_and_its_heading() {
    let mut checked = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in links(&text) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(file.exists(), "{}: {target}", page.display());
            if !heading.is_empty() {
                let headings = headings(&fs::read_to_string(&file).unwrap());
                assert!(headings.contains(heading), "{}: {target}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}

#[test]
fn every_page_is_one_link_from_the_readme_and_says_first_what_it_answers() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let named: BTreeSet<_> = links(&readme).filter_map(|target| target.split('#').next()).collect();
    for page in pages().into_iter().filter(|page| !page.ends_with("README.md")) {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(named.contains(format!("docs/{name}").as_str()), "{name}");
        let text = fs::read_to_string(&page).unwrap();
        let paragraph = text.split("\n\n").nth(1).unwrap();
        assert!(text.starts_with("# ") && paragraph.contains("This page says"), "{name}: {paragraph}");
    }
}

#[test]
fn the_readme_can_be_read_in_one_sitting() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= README_LINES_MAX, "{lines}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn pages() -> Vec<PathBuf> {
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<_> = pages.filter(|path| path.extension().is_some_and(|ext| ext == "md")).collect();
    assert!(pages.len() > 8);
    [root().join("README.md")].into_iter().chain(pages).collect()
}

/// Where its links lead, but for those to other sites.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://"))
}

/// Each heading as a link names it: in small letters, a hyphen for each space, without punctuation.
fn headings(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings
        .map(|heading| {
            let letters = heading.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
            letters.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect()
}
