//! TLS of the HTTPS listeners: the certificate and its key, read again when the files change.
//!
//! Source: Server-Server API, "TLS"; RFC 7301 (ALPN).

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    InconsistentKeys, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Begin, Version};
use crate::config::Tls;

/// A handshake may take this long: four round trips of a slow line, and some loss.
const HANDSHAKE_TIME: Duration = Duration::from_secs(15);

/// Time between two looks at the files.
const PERIOD: Duration = Duration::from_secs(5);

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has not what it should have.
    #[error("{path}: {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The two don't belong together.
    #[error("{key}: not the key of the certificate in {certificate}")]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// The library refuses.
    #[error("TLS: {0}")]
    Library(#[from] rustls::Error),
}

/// Reads the two files and compares them.
///
/// # Errors
/// [`TlsError`]
pub fn check(files: &Tls) -> Result<(), TlsError> {
    read(files, &ring::default_provider()).map(drop)
}

/// The certificate that the HTTPS listeners show.
pub struct Certificates {
    files: Tls,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    /// What the files were when they were last read, whether what they had was right or not.
    read: Mutex<Stamp>,
    config: Arc<ServerConfig>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn load(files: &Tls) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        // Before they are read: a change in between is seen as one.
        let stamp = Stamp::of(files);
        let current = Arc::new(Current(RwLock::new(Arc::new(read(files, &provider)?))));
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { files: files.clone(), provider, current, read: Mutex::new(stamp), config: Arc::new(config) })
    }

    /// Looks at the files every 5 seconds until `stopping` turns true.
    pub async fn keep_fresh(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
            let here = self.clone();
            if tokio::task::spawn_blocking(move || here.look()).await.is_err() {
                tracing::error!("reading the certificate failed");
            }
        }
    }

    /// Reads the files if they are no longer what they were. If what they have can't be used, what was read before stays in
    /// use; that is said once. (Who renews a certificate replaces two files, and for a moment they don't fit.)
    fn look(&self) {
        let stamp = Stamp::of(&self.files);
        let mut before = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == stamp {
            return;
        }
        *before = stamp;
        match read(&self.files, &self.provider) {
            Ok(key) => {
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!(file = %self.files.certificate.display(), "a new certificate is in use");
            }
            Err(error) => tracing::error!(%error, "the new certificate can't be used; the old one stays"),
        }
    }
}

impl Begin for Arc<Certificates> {
    type Stream = TlsStream<TcpStream>;

    async fn begin(self, stream: TcpStream) -> io::Result<(Self::Stream, Version)> {
        let accepting = TlsAcceptor::from(self.config.clone()).accept(stream);
        let stream = tokio::time::timeout(HANDSHAKE_TIME, accepting).await??;
        let version = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Version::Two,
            // RFC 9113, section 3.2: without ALPN there is no HTTP/2 over TLS.
            _ => Version::One,
        };
        Ok((stream, version))
    }
}

/// The certificate of now, whatever name the client asks for.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// By what a change of the two files is seen.
#[derive(Debug, PartialEq, Eq)]
struct Stamp([Option<(SystemTime, u64, u64)>; 2]);

impl Stamp {
    fn of(files: &Tls) -> Self {
        Self([&files.certificate, &files.key].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            #[cfg(unix)]
            let inode = std::os::unix::fs::MetadataExt::ino(&found);
            #[cfg(not(unix))]
            let inode = 0;
            Some((found.modified().ok()?, found.len(), inode))
        }))
    }
}

fn read(files: &Tls, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem_error(&files.certificate, error, "certificate"))?;
    if chain.is_empty() {
        return Err(pem_error(&files.certificate, pem::Error::NoItemsFound, "certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| pem_error(&files.key, error, "private key"))?;
    let content = |path: &Path, problem: &dyn std::fmt::Display| TlsError::Content {
        path: path.to_owned(),
        problem: problem.to_string(),
    };
    let key = provider.key_provider.load_private_key(key).map_err(|error| content(&files.key, &error))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(TlsError::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() })
        }
        Err(error) => Err(content(&files.certificate, &error)),
    }
}

fn pem_error(path: &Path, error: pem::Error, wanted: &str) -> TlsError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(source) => TlsError::Read { path, source },
        pem::Error::NoItemsFound => TlsError::Content { path, problem: format!("has no {wanted} in PEM") },
        error => TlsError::Content { path, problem: format!("no {wanted} in PEM: {error:?}") },
    }
}

#[cfg(test)]
mod tests;
