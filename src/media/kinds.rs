//! What a browser may do with a file.
//!
//! Source: Client-Server API, "Serving inline content".

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Types that a browser shows without running anything.
const INLINE: &[&str] = &[
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/flac",
    "audio/x-flac",
];

/// Bytes of a content type or a file name at most.
const MAX_NAME: usize = 255;

/// A content type as it may stand in a header: `application/octet-stream` for what is no type.
pub fn safe_content_type(content_type: Option<&str>) -> &str {
    let fits = |text: &&str| {
        let essence = text.split(';').next().unwrap_or_default().trim();
        text.len() <= MAX_NAME
            && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
            && essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
    };
    content_type.filter(fits).unwrap_or("application/octet-stream")
}

fn is_token(text: &str) -> bool {
    let special = b"!#$&-^_.+";
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || special.contains(&byte))
}

/// The `Content-Disposition` of a file of this type and name.
pub fn disposition(content_type: &str, filename: Option<&str>) -> String {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let how = if INLINE.contains(&essence.as_str()) { "inline" } else { "attachment" };
    let Some(name) = filename.map(clean).filter(|name| !name.is_empty()) else { return how.to_owned() };
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_. ".contains(&byte)) {
        return format!("{how}; filename=\"{name}\"");
    }
    // RFC 5987, section 3.2.1: attr-char.
    const EXTENDED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'!')
        .remove(b'#')
        .remove(b'$')
        .remove(b'&')
        .remove(b'+')
        .remove(b'-')
        .remove(b'.')
        .remove(b'^')
        .remove(b'_')
        .remove(b'`')
        .remove(b'|')
        .remove(b'~');
    format!("{how}; filename*=utf-8''{}", utf8_percent_encode(&name, EXTENDED))
}

/// A file name without control characters, cut to what a name may have.
pub(super) fn clean(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > MAX_NAME {
            break;
        }
        out.push(c);
    }
    out
}

/// The file name that a `Content-Disposition` gives.
///
/// Source: RFC 6266, section 4; the extended form wins.
pub(super) fn filename_of(disposition: &str) -> Option<String> {
    let mut plain = None;
    for parameter in parameters(disposition) {
        let (name, value) = parameter.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("filename*") {
            let encoded = value.strip_prefix("utf-8''").or_else(|| value.strip_prefix("UTF-8''"))?;
            return percent_encoding::percent_decode_str(encoded).decode_utf8().ok().map(|name| clean(&name));
        }
        if name.eq_ignore_ascii_case("filename") {
            plain = Some(clean(&unquoted(value)));
        }
    }
    plain.filter(|name| !name.is_empty())
}

/// The parameters of a header value, split at semicolons outside of quotes.
fn parameters(value: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => {
                parts.push(&value[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&value[start..]);
    parts.into_iter().skip(1).filter(|part| part.contains('=')).collect()
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return value.to_owned() };
    let mut out = String::new();
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        out.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_run_is_an_attachment() {
        assert_eq!(disposition("text/html", None), "attachment");
        assert_eq!(disposition("image/svg+xml", Some("a.svg")), "attachment; filename=\"a.svg\"");
        assert_eq!(disposition("image/png; x=y", None), "inline");
        assert_eq!(disposition("IMAGE/PNG", None), "inline");
    }

    #[test]
    fn a_name_comes_back_as_it_was_given() {
        for name in ["plain.txt", "grüße 1.png", "a\"b;c=d.txt", "100%.txt", "路.pdf", "back\\slash"] {
            assert_eq!(filename_of(&disposition("text/plain", Some(name))).as_deref(), Some(name));
        }
    }

    #[test]
    fn names_from_other_servers_are_read() {
        assert_eq!(filename_of("inline; filename=a.txt").as_deref(), Some("a.txt"));
        assert_eq!(filename_of("attachment; filename=\"a;\\\"b.txt\"").as_deref(), Some("a;\"b.txt"));
        assert_eq!(filename_of("inline; filename=x; filename*=UTF-8''gr%C3%BC.txt").as_deref(), Some("grü.txt"));
        assert_eq!(filename_of("inline"), None);
        assert_eq!(filename_of("inline; filename=\"a\nb\"").as_deref(), Some("ab"));
    }

    #[test]
    fn what_is_no_type_is_bytes() {
        for text in ["", "image", "image/", "a b/c", "image/png\r\nX: y", "text/plain\u{e9}"] {
            assert_eq!(safe_content_type(Some(text)), "application/octet-stream", "{text:?}");
        }
        assert_eq!(safe_content_type(Some("text/plain; charset=utf-8")), "text/plain; charset=utf-8");
        assert_eq!(safe_content_type(None), "application/octet-stream");
    }
}
