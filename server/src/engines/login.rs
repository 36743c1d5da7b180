//! The part of a URL that has a password in it.

/// Whether an `@` stands where it cuts a password in two. `authority` is what is taken for the login and the hosts, and
/// `rest` is what comes after.
///
/// One of those that `/`, `?` or a second `@` in a password bring about. The server would look for a host of another name,
/// and name a piece of the password when it complains of the rest.
pub(super) fn is_cut(authority: &str, rest: &str) -> bool {
    authority.matches('@').count() > 1 || rest.contains('@')
}

/// What to do about it.
pub(super) const CUT: &str = "its URL has an `@` where none may be: in a user, a password or a parameter, write %40 for `@`, \
                              %2F for `/`, %3F for `?` and %23 for `#`";

/// Whether a parameter's name can be repeated: it is a word, and no piece of a password with its signs and digits.
pub(super) fn is_name(name: &str) -> bool {
    (1..=40).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}
