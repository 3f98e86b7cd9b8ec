//! One `Authorization` header of scheme `X-Matrix`.

use std::borrow::Cow;

use base64::Engine as _;
use ruma::{OwnedServerName, ServerName};

use super::XMatrixError;
use crate::server_keys::is_key_id;
use crate::server_name::ParsedServerName;
use crate::signing::BASE64;

/// The longest header value that is read, in bytes. The longest that is needed has two names of 261 bytes, a key
/// identifier and a signature of 88; the rest is room for parameters that are not known yet.
pub const MAX_HEADER_LENGTH: usize = 4096;

const SCHEME: &str = "X-Matrix";

/// An `Authorization` header of scheme `X-Matrix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XMatrix {
    /// The sending server, by its name before delegation.
    pub origin: OwnedServerName,
    /// The receiving server, by its name before delegation. Always sent; servers from before Matrix 1.3 do not.
    pub destination: Option<OwnedServerName>,
    /// The identifier of the key that signed, `<algorithm>:<version>`.
    pub key: String,
    /// The signature in base64.
    pub signature: String,
}

impl XMatrix {
    /// Reads the value of an `Authorization` header.
    ///
    /// The parameters are `origin`, `destination`, `key` and `sig`; others are passed over. (The specification's list
    /// calls the last one `signature`, its example and its code `sig`, and so does every server.)
    ///
    /// # Errors
    /// [`XMatrixError::Missing`] if the scheme is another one; otherwise what is wrong with the header.
    pub fn parse(value: &[u8]) -> Result<Self, XMatrixError> {
        let mut reader = Reader { value, at: 0 };
        if !reader.scheme() {
            return Err(XMatrixError::Missing);
        }
        if value.len() > MAX_HEADER_LENGTH {
            return Err(XMatrixError::TooLong);
        }
        let mut origin = None;
        let mut destination = None;
        let mut key = None;
        let mut sig = None;
        while let Some((name, value)) = reader.parameter()? {
            for (known, place) in
                [("origin", &mut origin), ("destination", &mut destination), ("key", &mut key), ("sig", &mut sig)]
            {
                if name.eq_ignore_ascii_case(known.as_bytes()) && place.replace(value.clone()).is_some() {
                    return Err(XMatrixError::Repeated(known));
                }
            }
        }
        let origin = server_name("origin", &origin.ok_or(XMatrixError::NoParameter("origin"))?)?;
        let destination = destination.map(|text| server_name("destination", &text)).transpose()?;
        let key = text(key.ok_or(XMatrixError::NoParameter("key"))?).filter(|key| is_key_id(key));
        let signature = text(sig.ok_or(XMatrixError::NoParameter("sig"))?);
        Ok(Self {
            origin,
            destination,
            key: key.ok_or(XMatrixError::KeyId)?,
            signature: signature
                .filter(|text| !text.is_empty() && BASE64.decode(text).is_ok())
                .ok_or(XMatrixError::Signature)?,
        })
    }

    /// The header's value, in the form that the oldest servers read: one space, lower-case names, every value in quotes,
    /// no white space, nothing to escape.
    pub fn to_header_value(&self) -> String {
        let mut out = format!("{SCHEME} origin=\"{}\"", self.origin);
        if let Some(destination) = &self.destination {
            out.push_str(",destination=");
            push_quoted(&mut out, destination.as_str());
        }
        for (name, value) in [("key", &self.key), ("sig", &self.signature)] {
            out.push(',');
            out.push_str(name);
            out.push('=');
            push_quoted(&mut out, value);
        }
        out
    }
}

/// Server names, key identifiers and base64 have nothing to escape; a value that is none of them stays one value.
fn push_quoted(out: &mut String, value: &str) {
    out.push('"');
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

fn server_name(parameter: &'static str, value: &[u8]) -> Result<OwnedServerName, XMatrixError> {
    let refuse = |reason| XMatrixError::ServerName { parameter, reason };
    let text = std::str::from_utf8(value).map_err(|_| refuse(crate::server_name::ServerNameError::Character))?;
    ParsedServerName::parse(text).map(|parsed| ServerName::to_owned(parsed.name())).map_err(refuse)
}

fn text(value: Cow<'_, [u8]>) -> Option<String> {
    String::from_utf8(value.into_owned()).ok()
}

struct Reader<'a> {
    value: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Passes the scheme and the spaces after it, if it is ours.
    fn scheme(&mut self) -> bool {
        let Some((scheme, rest)) = self.value.split_at_checked(SCHEME.len()) else {
            return false;
        };
        if !scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) || rest.first().is_some_and(|byte| *byte != b' ') {
            return false;
        }
        self.at = SCHEME.len();
        self.pass(|byte| byte == b' ');
        true
    }

    /// The next parameter, and with it the comma after it. Elements of the list that are empty are passed over.
    #[expect(clippy::type_complexity, reason = "a name and a value, for the one caller")]
    fn parameter(&mut self) -> Result<Option<(&'a [u8], Cow<'a, [u8]>)>, XMatrixError> {
        self.pass(|byte| matches!(byte, b' ' | b'\t' | b','));
        if self.at == self.value.len() {
            return Ok(None);
        }
        let name = self.pass(is_tchar);
        if name.is_empty() {
            return Err(self.wrong());
        }
        self.white_space();
        if self.value.get(self.at) != Some(&b'=') {
            return Err(self.wrong());
        }
        self.at += 1;
        self.white_space();
        let value = if self.value.get(self.at) == Some(&b'"') {
            self.quoted_string()?
        } else {
            // Older servers send key identifiers and ports without quotes.
            let value = self.pass(|byte| is_tchar(byte) || byte == b':');
            if value.is_empty() {
                return Err(self.wrong());
            }
            Cow::Borrowed(value)
        };
        self.white_space();
        match self.value.get(self.at) {
            None | Some(b',') => Ok(Some((name, value))),
            Some(_) => Err(self.wrong()),
        }
    }

    fn quoted_string(&mut self) -> Result<Cow<'a, [u8]>, XMatrixError> {
        self.at += 1;
        let mut value = Cow::Borrowed(self.pass(is_qdtext));
        loop {
            match self.value.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(value);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let escaped =
                        self.value.get(self.at).filter(|byte| is_qdtext(**byte) || matches!(byte, b'"' | b'\\'));
                    value.to_mut().push(*escaped.ok_or_else(|| self.wrong())?);
                    self.at += 1;
                    value.to_mut().extend_from_slice(self.pass(is_qdtext));
                }
                _ => return Err(self.wrong()),
            }
        }
    }

    fn white_space(&mut self) {
        self.pass(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn pass(&mut self, of: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.value[self.at..];
        let length = rest.iter().take_while(|byte| of(**byte)).count();
        self.at += length;
        &rest[..length]
    }

    fn wrong(&self) -> XMatrixError {
        XMatrixError::Syntax { at: self.at }
    }
}

/// RFC 9110, section 5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110, section 5.6.4; `obs-text` included.
fn is_qdtext(byte: u8) -> bool {
    matches!(byte, b'\t' | b' ' | 0x21 | 0x23..=0x5b | 0x5d..=0x7e | 0x80..=0xff)
}
