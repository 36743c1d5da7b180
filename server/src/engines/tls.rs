//! The files of TLS, for all engines: the authorities to trust, and certificates in PEM.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

/// Why there is no authority to trust.
pub(super) enum NoRoots {
    /// The file cannot be read, or is not in PEM.
    Unreadable,
    /// There is no certificate.
    Empty,
}

/// The authorities of `file`; without one, those that this machine's owner trusts. A list compiled in would know neither
/// an operator's own authority nor one that was withdrawn since.
pub(super) fn roots(file: Option<&Path>) -> Result<RootCertStore, NoRoots> {
    let found = match file {
        Some(file) => certificates(file).map_err(|_| NoRoots::Unreadable)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found);
    if added == 0 { Err(NoRoots::Empty) } else { Ok(roots) }
}

pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_file_iter(file)?.collect()
}
