//! How an event id is kept: 32 bytes where it is a reference hash in URL-safe base64 (room versions 4 and later), else its
//! text; a text of exactly 32 bytes gets a zero byte behind it, so that length tells the two apart.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ruma::{EventId, OwnedEventId};

use super::StoreError;

/// Length of a reference hash.
const HASH: usize = 32;

/// The bytes that stand for an event id.
pub fn encode(id: &EventId) -> Vec<u8> {
    let text = id.as_str();
    let mut hash = [0u8; HASH + 1];
    // 43 characters whose last one has no spare bits are the only spelling of a hash; anything else stays text.
    if text.len() == 44
        && let Ok(HASH) = URL_SAFE_NO_PAD.decode_slice(&text.as_bytes()[1..], &mut hash)
    {
        return hash[..HASH].to_vec();
    }
    let mut bytes = text.as_bytes().to_vec();
    if bytes.len() == HASH {
        bytes.push(0);
    }
    bytes
}

/// The event id that [`encode`] was given. `Damaged` for bytes that it never makes.
pub fn decode(bytes: &[u8]) -> Result<OwnedEventId, StoreError> {
    let text = if bytes.len() == HASH {
        let mut text = String::with_capacity(44);
        text.push('$');
        URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
        text
    } else {
        let text = bytes.strip_suffix(&[0]).filter(|text| text.len() == HASH).unwrap_or(bytes);
        std::str::from_utf8(text).map_err(|e| StoreError::Damaged(e.to_string()))?.to_owned()
    };
    OwnedEventId::try_from(text).map_err(|e| StoreError::Damaged(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive() {
        for (id, length) in [
            ("$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk", 44),
            ("$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg", 32),
            ("$143273582443PhrSn:example.org", 30),
            ("$4327358244PhrSn56:s.example.org", 33),
            ("$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zh", 44),
        ] {
            let id = OwnedEventId::try_from(id).unwrap();
            let bytes = encode(&id);
            assert_eq!(bytes.len(), length, "{id}");
            assert_eq!(decode(&bytes).unwrap(), id);
        }
    }
}
