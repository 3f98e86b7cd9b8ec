//! The authentication of a request: what is signed, and the `Authorization` header that carries the signature.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>. The header's grammar is that of RFC 9110,
//! sections 5.6.2, 5.6.4 and 11.4.

mod header;

use std::collections::BTreeMap;

use ruma::signatures::PublicKeyMap;
use ruma::{OwnedServerName, ServerName};
use thiserror::Error;

use crate::canonical::CanonicalError;
use crate::server_name::ServerNameError;
use crate::signing::SigningKey;
use crate::value::{rewrite::write_canonical, write_string};
use crate::verify::{VerifyError, verify_signatures};

pub use header::{MAX_HEADER_LENGTH, XMatrix};

/// How many `Authorization` headers of one request are read. A server sends one for each of its signing keys, and
/// servers have one or two.
pub const MAX_HEADERS: usize = 8;

/// Why a request is not authenticated. It must be denied: with 400 and `M_BAD_JSON` or `M_NOT_JSON` for
/// [`Content`](Self::Content), otherwise with 401 and `M_UNAUTHORIZED`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum XMatrixError {
    /// No `Authorization` header has the scheme `X-Matrix`.
    #[error("no Authorization header of scheme X-Matrix")]
    Missing,
    /// A header is longer than [`MAX_HEADER_LENGTH`].
    #[error("the Authorization header has more than {MAX_HEADER_LENGTH} bytes")]
    TooLong,
    /// There are more than [`MAX_HEADERS`] headers.
    #[error("more than {MAX_HEADERS} Authorization headers")]
    TooMany,
    /// A header is not a list of `name=value`.
    #[error("malformed Authorization header at byte {at}")]
    Syntax {
        /// The first byte that does not fit, counted from 0.
        at: usize,
    },
    /// A parameter that is needed is not there.
    #[error("the Authorization header has no `{0}`")]
    NoParameter(&'static str),
    /// A parameter is there twice.
    #[error("the Authorization header has `{0}` more than once")]
    Repeated(&'static str),
    /// `origin` or `destination` is not a server name.
    #[error("`{parameter}` is not a server name: {reason}")]
    ServerName {
        /// Which of the two.
        parameter: &'static str,
        /// The rule that it breaks.
        reason: ServerNameError,
    },
    /// `key` is not an algorithm, a colon and a version of letters, digits and `_`.
    #[error("`key` is not the identifier of a signing key")]
    KeyId,
    /// `sig` is not base64.
    #[error("`sig` is not base64")]
    Signature,
    /// Two headers of one request name different servers.
    #[error("the Authorization headers differ in `{0}`")]
    Differ(&'static str),
    /// The request is for another server.
    #[error("the request is for {0}, which is not this server")]
    WrongDestination(OwnedServerName),
    /// The body is not a JSON object.
    #[error("the content is not a JSON object: {0}")]
    Content(#[source] CanonicalError),
    /// No signature by a given key is right, or no key was given for any.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// What of a request is signed, beside the names of the two servers.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// The HTTP method in upper case.
    pub method: &'a str,
    /// The path and query exactly as they are in the request line: from `/_matrix/` on, percent-encoding untouched, the
    /// `?` there whenever the request has it.
    pub uri: &'a str,
    /// The body's text, or `None` if the request has no body. An empty body is no body.
    pub content: Option<&'a [u8]>,
}

impl SignedRequest<'_> {
    /// The text that is signed: the canonical JSON of `content`, `destination`, `method`, `origin` and `uri`.
    ///
    /// The body may have numbers that canonical JSON forbids, in events of rooms of versions 1 to 5; they are written as
    /// everywhere in this crate. It may nest to 10,000 levels, for one event that is nested too deeply must not fail the
    /// others of its transaction. Time is linear in the body's length, but for objects whose members are not in order,
    /// which are moved; that is bounded. How long a body may be at all is for the caller to say.
    ///
    /// # Errors
    /// [`CanonicalError`] if the content is not a JSON object, or out of bounds.
    pub fn signed_text(&self, origin: &ServerName, destination: &ServerName) -> Result<Vec<u8>, CanonicalError> {
        let mut out = Vec::with_capacity(256 + self.content.map_or(0, <[u8]>::len));
        out.push(b'{');
        if let Some(content) = self.content.filter(|content| !content.is_empty()) {
            out.extend_from_slice(b"\"content\":");
            write_canonical(&mut out, content)?;
            out.push(b',');
        }
        for (name, value) in [
            ("\"destination\":", destination.as_str()),
            (",\"method\":", self.method),
            (",\"origin\":", origin.as_str()),
            (",\"uri\":", self.uri),
        ] {
            out.extend_from_slice(name.as_bytes());
            write_string(&mut out, value);
        }
        out.push(b'}');
        Ok(out)
    }

    /// Signs the request, and gives the value of its `Authorization` header.
    ///
    /// Both names are those before delegation.
    ///
    /// # Errors
    /// [`CanonicalError`] if the content is not a JSON object, or out of bounds.
    pub fn sign(
        &self,
        origin: &ServerName,
        destination: &ServerName,
        key: &SigningKey,
    ) -> Result<XMatrix, CanonicalError> {
        let signature = key.sign_bytes(&self.signed_text(origin, destination)?);
        Ok(XMatrix {
            origin: origin.to_owned(),
            destination: Some(destination.to_owned()),
            key: key.key_id().to_owned(),
            signature,
        })
    }
}

/// Who says to have sent a request, and its signatures: all `Authorization` headers of it together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAuthentication {
    origin: OwnedServerName,
    destination: Option<OwnedServerName>,
    signatures: BTreeMap<String, String>,
}

impl RequestAuthentication {
    /// Reads the values of a request's `Authorization` headers. Those of other schemes are passed over.
    ///
    /// # Errors
    /// [`XMatrixError`], for the first header that is malformed, or that contradicts one before it.
    pub fn from_headers<'h>(values: impl IntoIterator<Item = &'h [u8]>) -> Result<Self, XMatrixError> {
        let mut found: Option<Self> = None;
        for (at, value) in values.into_iter().enumerate() {
            if at == MAX_HEADERS {
                return Err(XMatrixError::TooMany);
            }
            let header = match XMatrix::parse(value) {
                Err(XMatrixError::Missing) => continue,
                header => header?,
            };
            match &mut found {
                None => {
                    let signatures = BTreeMap::from([(header.key, header.signature)]);
                    found = Some(Self { origin: header.origin, destination: header.destination, signatures });
                }
                Some(found) if found.origin != header.origin => return Err(XMatrixError::Differ("origin")),
                Some(found) if found.destination != header.destination => {
                    return Err(XMatrixError::Differ("destination"));
                }
                Some(found) => {
                    found.signatures.insert(header.key, header.signature);
                }
            }
        }
        found.ok_or(XMatrixError::Missing)
    }

    /// The server that says to have sent the request. Nothing is proven until [`verify`](Self::verify).
    pub fn origin(&self) -> &ServerName {
        &self.origin
    }

    /// The server that the request is for, if it says so; servers from before Matrix 1.3 do not.
    pub fn destination(&self) -> Option<&ServerName> {
        self.destination.as_deref()
    }

    /// The identifiers of the keys that signed: those to have before [`verify`](Self::verify).
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.signatures.keys().map(String::as_str)
    }

    /// Checks that the request is for the server `own_name`. To be asked before any key is fetched: it costs nothing.
    ///
    /// # Errors
    /// [`XMatrixError::WrongDestination`] if it is for another.
    pub fn check_destination(&self, own_name: &ServerName) -> Result<(), XMatrixError> {
        match &self.destination {
            Some(destination) if destination != own_name => Err(XMatrixError::WrongDestination(destination.to_owned())),
            _ => Ok(()),
        }
    }

    /// Checks that the request is for the server `own_name`, and was signed by its origin.
    ///
    /// `keys` are the keys that the origin signs requests with now
    /// ([`KnownKeys::for_request`](crate::server_keys::KnownKeys::for_request)), by server name and key identifier. One
    /// right signature is enough, as for events: of several keys we may know only one. What is signed has the destination
    /// even where the header has none.
    ///
    /// # Errors
    /// [`XMatrixError`], in the order: wrong destination, content, signature.
    pub fn verify(
        &self,
        request: &SignedRequest<'_>,
        own_name: &ServerName,
        keys: &PublicKeyMap,
    ) -> Result<(), XMatrixError> {
        self.check_destination(own_name)?;
        let signed = request.signed_text(&self.origin, own_name).map_err(XMatrixError::Content)?;
        let signatures = self.signatures.iter().map(|(key, signature)| (key.as_str(), signature.as_str()));
        Ok(verify_signatures(self.origin.as_str(), signatures, keys, &signed)?)
    }
}
