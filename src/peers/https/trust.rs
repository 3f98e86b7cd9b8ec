//! The authorities whose certificates are believed: the system's and those of the configuration.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::config::Outgoing;

/// What of `outgoing.extra_ca_certificates` can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file that can't be read, or that is not PEM.
    #[error("outgoing.extra_ca_certificates: {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The TLS library refuses to work.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// TLS as a client: believes the authorities of the system and those of the configuration, speaks HTTP/2 and HTTP/1.1.
///
/// # Errors
/// [`TrustError`]
pub fn client_config(config: &Outgoing) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(config)?)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

fn roots(config: &Outgoing) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "some of the system's certificates can't be read");
    }
    // What a system holds beside usable certificates is none of the operator's mistakes.
    let (usable, _) = roots.add_parsable_certificates(system.certs);
    if usable == 0 && config.extra_ca_certificates.is_empty() {
        tracing::warn!("the system has no certificates of authorities: no other server can be believed");
    }
    for path in &config.extra_ca_certificates {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| wrong(path, error))?;
        }
    }
    Ok(roots)
}

/// The certificates of `outgoing.extra_ca_certificates`, for what does its own TLS.
///
/// # Errors
/// [`TrustError::File`]
pub fn extra_certificates(config: &Outgoing) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let files = config.extra_ca_certificates.iter().map(|path| certificates(path));
    Ok(files.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// The certificates of a file, of which there must be one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let text = std::fs::read(path).map_err(|error| wrong(path, error))?;
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|error| wrong(path, error))?;
    if found.is_empty() {
        return Err(wrong(path, "holds no certificate in PEM"));
    }
    Ok(found)
}

fn wrong(path: &Path, reason: impl ToString) -> TrustError {
    TrustError::File { path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent.pem");
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate\n").unwrap();
        let garbled = folder.path().join("garbled.pem");
        std::fs::write(&garbled, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        for path in [absent, empty, garbled] {
            let config = Outgoing { extra_ca_certificates: vec![path.clone()], ..Outgoing::default() };
            let error = client_config(&config).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }
}
