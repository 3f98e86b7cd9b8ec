//! Places that clients page from: `from`, `to`, `prev_batch` and `next_batch`.
//!
//! A token is a place between two events, not a stored thing; nothing is kept for tokens that were given out.
//! Two orders have places (Client-Server API, "Pagination" and "Syncing"): that of arrival, in which /sync moves, and that of
//! history, in which /messages moves. Every token of /sync is also one of /messages.

use std::{fmt, str::FromStr};

/// A place in one of the two orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageToken {
    /// Just behind everything with a position up to this one. Spelled `s<position>`; what follows behind `_` in a token of
    /// /sync (`sync::token`) says nothing about history and is passed over.
    Sync(i64),
    /// Just behind this (depth, position) in history. Spelled `t<depth>_<position>`.
    Topological {
        /// Depth of the event before the place.
        depth: i64,
        /// Position of the event before the place; negative for history that was fetched.
        position: i64,
    },
}

/// The text is not a token of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a pagination token of this server")]
pub struct BadToken;

/// Reads a number in its one spelling: decimal, without `+`, leading zeros or `-0`.
pub fn number(text: &str) -> Result<i64, BadToken> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    if !plain || (digits.starts_with('0') && text != "0") {
        return Err(BadToken);
    }
    text.parse().map_err(|_| BadToken)
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sync(position) => write!(f, "s{position}"),
            Self::Topological { depth, position } => write!(f, "t{depth}_{position}"),
        }
    }
}

impl FromStr for PageToken {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        if let Some(rest) = text.strip_prefix('s') {
            let mut parts = rest.split('_');
            let position = number(parts.next().unwrap_or_default())?;
            let mut others: Vec<&str> = parts.collect();
            if others.len() == 4
                && let Some(to_device) = others.pop()
            {
                number(to_device.strip_prefix('d').ok_or(BadToken)?)?;
            }
            let others = others.into_iter().map(number).collect::<Result<Vec<_>, _>>()?;
            return if matches!(others.len(), 0 | 3) { Ok(Self::Sync(position)) } else { Err(BadToken) };
        }
        let (depth, position) = text.strip_prefix('t').and_then(|rest| rest.split_once('_')).ok_or(BadToken)?;
        Ok(Self::Topological { depth: number(depth)?, position: number(position)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive() {
        for token in [
            PageToken::Sync(0),
            PageToken::Sync(i64::MAX),
            PageToken::Topological { depth: 7, position: 12 },
            PageToken::Topological { depth: 1, position: -30 },
            PageToken::Topological { depth: i64::MIN, position: i64::MIN },
        ] {
            assert_eq!(token.to_string().parse(), Ok(token));
        }
    }

    #[test]
    fn a_token_of_sync_is_a_place() {
        assert_eq!("s72_1_0_5".parse(), Ok(PageToken::Sync(72)));
        assert_eq!("s72_1_0_5_d45".parse(), Ok(PageToken::Sync(72)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "s",
            "t",
            "x1",
            "1",
            "s+1",
            "s01",
            "s-0",
            "s 1",
            "s1_",
            "s1_2",
            "s1_2_3",
            "s1_2_3_4_5",
            "s1_d2",
            "s1_2_3_4_d05",
            "s1_2_3_4_d5_d6",
            "s1_a_0_0",
            "t1",
            "t1_",
            "t_1",
            "t1_2_3",
            "s9223372036854775808",
            "t1_--2",
            "s-",
            "s１",
        ] {
            assert_eq!(text.parse::<PageToken>(), Err(BadToken), "{text:?}");
        }
    }
}
