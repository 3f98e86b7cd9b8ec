//! The form in which servers give each other files.
//!
//! Source: Server-Server API, "Content Repository"; RFC 2046, section 5.1.

use crate::random::Random;

/// A boundary that occurs in no file, but for a chance of 62^-40.
pub fn new_boundary(random: &dyn Random) -> String {
    random.letters(40)
}

/// What stands before the file's bytes: the metadata, which is always empty, and the head of the second part.
pub fn multipart_head(boundary: &str, content_type: &str, disposition: &str) -> String {
    format!(
        "--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\nContent-Type: {content_type}\r\n\
         Content-Disposition: {disposition}\r\n\r\n"
    )
}

/// What stands behind them.
pub fn multipart_tail(boundary: &str) -> String {
    format!("\r\n--{boundary}--\r\n")
}
