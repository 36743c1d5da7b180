//! The tables of the README, which the benchmarks write.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Puts `table` between the two comments of that name.
///
/// # Errors
/// The README cannot be read or written, or has no such comments.
pub fn replace_table(name: &str, table: &str) -> io::Result<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(&file)?;
    let replaced = replaced(&text, name, table).ok_or_else(|| io::Error::other(format!("no table {name}")))?;
    fs::write(&file, replaced)?;
    Ok(file)
}

fn replaced(text: &str, name: &str, table: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->\n"));
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{table}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_table_of_that_name_is_replaced() {
        let text = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n<!-- y: begin -->\nkept\n<!-- y: end -->\n";
        assert_eq!(replaced(text, "x", "new\n").unwrap(), text.replace("old", "new"));
        assert_eq!(replaced(text, "z", "new\n"), None);
    }

    #[test]
    fn the_readme_has_every_table_that_is_written() {
        let readme = include_str!("../README.md");
        for name in ["times", "scale", "instructions"] {
            assert!(replaced(readme, name, "").is_some(), "{name}");
        }
    }
}
