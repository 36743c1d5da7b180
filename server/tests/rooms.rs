//! The layout of `src`: no circle of imports, neither of files nor of rooms, and no file that is too long to read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const LINES_MAX: usize = 350;

/// Which module imports which. A module is named by its path from the crate's root, such as `http::reply`.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_file_imports_itself_through_others() {
    let imports = imports(&sources());
    assert!(
        imports["http::routes"].contains("http::reply") && imports["http::reply"].contains("batch"),
        "{imports:#?}"
    );
    assert_eq!(circle(&imports), None);
}

#[test]
fn no_two_rooms_import_each_other() {
    let room = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
    let mut rooms = Imports::new();
    for (from, into) in imports(&sources()) {
        let others = into.iter().map(|into| room(into)).filter(|into| *into != room(&from));
        rooms.entry(room(&from)).or_default().extend(others);
    }
    assert_eq!(rooms["store"], BTreeSet::new());
    assert_eq!(circle(&rooms), None);
}

#[test]
fn a_circle_is_found() {
    let source = |module: &str, text: &str| (module.to_owned(), text.to_owned());
    let sources = [
        source("a", "use crate::{b::{C, d}, e::F};\nmod x;\nuse self::x::Y;"),
        source("a::x", "use super::z::Z; // super::Y"),
        source("b", "fn f() { crate::e::g() }"),
        source("e", "#[cfg(test)]\nmod tests { use crate::a::A; }"),
    ];
    let mut sources = BTreeMap::from(sources);
    let edges = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let found = imports(&sources);
    assert_eq!(found["a"], edges(&["a::x", "b", "e"]));
    assert_eq!((&found["a::x"], &found["b"], &found["e"]), (&edges(&["a"]), &edges(&["e"]), &edges(&[])));
    assert_eq!(circle(&found).unwrap(), ["a", "a::x"]);
    sources.remove("a::x");
    assert_eq!(circle(&imports(&sources)), None);
}

#[test]
fn a_file_can_be_read_in_one_sitting() {
    let long: Vec<_> = sources().into_iter().filter(|(_, text)| text.lines().count() > LINES_MAX).collect();
    assert!(long.is_empty(), "{:?}", long.iter().map(|(module, _)| module).collect::<Vec<_>>());
}

/// Whoever looks for the place of a change has this page. A folder of an engine is named as one.
#[test]
fn the_front_page_names_every_file() {
    let sources = sources();
    let page: Vec<_> = sources["lib"].lines().filter(|line| line.starts_with("//! | `")).collect();
    let is_named = |module: &str| {
        let name = module.replace("::", "/");
        page.iter().any(|row| row.contains(&format!("`{name}`")) || row.contains(&format!("`{name}/")))
    };
    let is_in_an_engine = |module: &str| module.starts_with("engines::") && module.matches("::").count() > 1;
    let modules = sources.keys().filter(|module| *module != "lib" && !is_in_an_engine(module));
    assert_eq!(modules.filter(|module| !is_named(module)).collect::<Vec<_>>(), <[&String; 0]>::default());
}

/// The text of each module. The crate's root and the binary stand above all rooms.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let module = path.strip_prefix(&root).unwrap().with_extension("");
                let names = module.iter().map(|name| name.to_str().unwrap());
                let module = names.filter(|name| *name != "mod").collect::<Vec<_>>().join("::");
                sources.insert(module, fs::read_to_string(path).unwrap());
            }
        }
    }
    assert!(sources.len() > 20);
    sources
}

fn imports(sources: &BTreeMap<String, String>) -> Imports {
    let imports_of = |(module, text): (&String, &String)| {
        let code = code(text);
        let mut paths = Vec::new();
        for (at, _) in code.match_indices("::") {
            let start = code[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |before| before + 1);
            let word = &code[start..at];
            let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
            let child = code.contains(&format!("mod {word};"));
            let base = match word {
                "crate" => String::new(),
                "self" => module.clone(),
                "super" => parent.to_owned(),
                _ if child && !code[..start].ends_with("::") => join(module, word),
                _ => continue,
            };
            expand(&base, &code[at + 2..], &mut paths);
        }
        let into = paths.iter().filter_map(|path| known(path, sources)).filter(|into| into != module);
        (module.clone(), into.collect())
    };
    sources.iter().map(imports_of).collect()
}

/// Without comments, and without the tests at the end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The paths that begin with `base` and go on as `rest` does, which may be a group in braces.
fn expand(base: &str, rest: &str, paths: &mut Vec<String>) {
    let Some(group) = rest.strip_prefix('{') else {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let path = join(base, &rest[..end]);
        match rest[end..].strip_prefix("::") {
            Some(rest) => expand(&path, rest, paths),
            None => paths.push(path),
        }
        return;
    };
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                expand(base, group[start..at].trim(), paths);
                start = at + 1;
            }
            _ => {}
        }
        if c == '}' && depth == 0 && start == at + 1 {
            return;
        }
    }
}

fn join(base: &str, name: &str) -> String {
    if base.is_empty() { name.to_owned() } else { format!("{base}::{name}") }
}

/// The module that a path leads into.
fn known(path: &str, sources: &BTreeMap<String, String>) -> Option<String> {
    let mut path = path;
    while !sources.contains_key(path) {
        path = path.rsplit_once("::")?.0;
    }
    Some(path.to_owned())
}

/// Some modules of which each imports the next, and the last the first.
fn circle(imports: &Imports) -> Option<Vec<String>> {
    let (mut left, mut before) = (imports.clone(), usize::MAX);
    // What imports nothing that is left is in no circle.
    while left.len() < before {
        before = left.len();
        let names: BTreeSet<_> = left.keys().cloned().collect();
        left.retain(|_, into| into.iter().any(|into| names.contains(into)));
    }
    let mut way = vec![left.keys().next()?.clone()];
    loop {
        let next = left[way.last()?].iter().find(|into| left.contains_key(*into))?.clone();
        if let Some(start) = way.iter().position(|seen| *seen == next) {
            return Some(way.split_off(start));
        }
        way.push(next);
    }
}
