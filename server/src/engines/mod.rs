//! The stores that were built in, each behind the cargo feature of its name.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod audit;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod login;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod tls;

/// How the URL of a database begins that one of them takes, in words.
#[cfg(feature = "cli")]
pub fn schemes() -> String {
    let engines = [
        (cfg!(feature = "sqlite"), "sqlite://"),
        (cfg!(feature = "postgres"), "postgres://"),
        (cfg!(feature = "redis"), "redis://"),
    ];
    let built: Vec<_> = engines.into_iter().filter(|(built, _)| *built).map(|(_, scheme)| scheme).collect();
    built.join(" or ")
}
