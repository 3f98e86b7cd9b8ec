//! Tokens of /sync: `next_batch` and `since`.

use std::{fmt, str::FromStr};

use crate::{
    rooms::page_token::{BadToken, number},
    store::backup::Restored,
};

/// How far a client has everything. Nothing is stored for a token: it can be used again, by several devices, after a restart.
/// Spelled `s<position>_<incarnation>_<typing>_<presence>`, where more messages to the device wait than an answer may have with
/// `_d<to_device>` behind it; each is also a `PageToken` for /messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncToken {
    /// Place in the server-wide order.
    pub position: i64,
    /// The server's start whose counters follow.
    pub incarnation: i64,
    /// Place in the order of typing notifications of that start.
    pub typing: i64,
    /// Place in the order of presence of that start.
    pub presence: i64,
    /// Place in the server-wide order up to which the device has the messages to it; None: as everything else.
    pub to_device: Option<i64>,
}

impl fmt::Display for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}_{}_{}_{}", self.position, self.incarnation, self.typing, self.presence)?;
        self.to_device.map_or(Ok(()), |position| write!(f, "_d{position}"))
    }
}

impl FromStr for SyncToken {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let mut parts = text.strip_prefix('s').ok_or(BadToken)?.split('_');
        let mut next = || match number(parts.next().ok_or(BadToken)?)? {
            negative if negative < 0 => Err(BadToken),
            number => Ok(number),
        };
        let (position, incarnation, typing, presence) = (next()?, next()?, next()?, next()?);
        let to_device = match parts.next() {
            Some(part) => Some(number(part.strip_prefix('d').ok_or(BadToken)?)?).filter(|position| *position >= 0),
            None => None,
        };
        let token = Self { position, incarnation, typing, presence, to_device };
        if parts.next().is_some() { Err(BadToken) } else { Ok(token) }
    }
}

/// What a request's `since` is worth here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The client has nothing.
    Nothing,
    /// The client has everything up to this position, and what is not stored up to these serials.
    Place {
        /// Place in the server-wide order.
        position: i64,
        /// Place in the order of typing of this start.
        typing: i64,
        /// Place in the order of presence of this start.
        presence: i64,
        /// Place up to which the device has the messages to it.
        to_device: i64,
    },
    /// The token is of a future that was lost (the database was restored from a copy): what the client has may never have
    /// been. It gets everything anew, at once.
    Lost,
}

/// Reads a token against this server. `now`: its position and incarnation; `started_at`: its position when it started;
/// `restores`: the backups that its database went back to.
pub fn place(token: SyncToken, now: (i64, i64), started_at: i64, restores: &[Restored]) -> Since {
    let (position, incarnation) = now;
    // What an earlier start gave out beyond the position at which this one began was never in this database.
    let of_the_past = token.incarnation < incarnation && token.position > started_at;
    // A restore leaves a gap of positions, so that the newest may be above places of the history that it left.
    let left = |restored: &Restored| token.incarnation <= restored.incarnation && token.position > restored.position;
    if token.position > position || token.incarnation > incarnation || of_the_past || restores.iter().any(left) {
        return Since::Lost;
    }
    let (typing, presence) = if token.incarnation == incarnation { (token.typing, token.presence) } else { (0, 0) };
    Since::Place { position: token.position, typing, presence, to_device: token.to_device.unwrap_or(token.position) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: SyncToken = SyncToken { position: 72, incarnation: 3, typing: 5, presence: 9, to_device: None };

    #[test]
    fn tokens_survive() {
        assert_eq!(TOKEN.to_string(), "s72_3_5_9");
        assert_eq!("s72_3_5_9".parse(), Ok(TOKEN));
        let backlog = SyncToken { to_device: Some(45), ..TOKEN };
        assert_eq!(backlog.to_string(), "s72_3_5_9_d45");
        assert_eq!("s72_3_5_9_d45".parse(), Ok(backlog));
        assert_eq!(
            place(backlog, (80, 3), 10, &[]),
            Since::Place { position: 72, typing: 5, presence: 9, to_device: 45 },
            "what the device was told apart from messages, it has"
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "s",
            "72_3_5_0",
            "s72",
            "s72_3_5",
            "s72_3_5_0_1",
            "s72_3_5_0_d",
            "s72_3_5_0_d1_d1",
            "s-1_3_5_0",
            "s72_3_5_x",
            "s72_3_05_0",
            "t1_2",
        ] {
            assert_eq!(text.parse::<SyncToken>(), Err(BadToken), "{text:?}");
        }
    }

    #[test]
    fn a_token_of_this_start() {
        assert_eq!(
            place(TOKEN, (80, 3), 10, &[]),
            Since::Place { position: 72, typing: 5, presence: 9, to_device: 72 }
        );
        assert_eq!(place(TOKEN, (71, 3), 10, &[]), Since::Lost);
    }

    #[test]
    fn a_token_of_an_earlier_start_keeps_its_position_alone() {
        assert_eq!(
            place(TOKEN, (80, 4), 72, &[]),
            Since::Place { position: 72, typing: 0, presence: 0, to_device: 72 }
        );
    }

    #[test]
    fn a_token_from_before_a_restore_is_lost_even_when_positions_have_caught_up() {
        assert_eq!(place(TOKEN, (80, 4), 60, &[]), Since::Lost);
        assert_eq!(place(TOKEN, (80, 2), 60, &[]), Since::Lost);
    }

    #[test]
    fn a_token_of_a_history_that_a_restore_left_is_lost_in_the_gap_and_above_it() {
        let restored = |incarnation, position| Restored { incarnation, position };
        let at = |restores: &[Restored]| place(TOKEN, (1_000_080, 2_000), 1_000_070, restores);
        assert_eq!(at(&[]), Since::Place { position: 72, typing: 0, presence: 0, to_device: 72 });
        assert_eq!(at(&[restored(1_500, 71)]), Since::Lost);
        assert_eq!(at(&[restored(1_500, 72)]), Since::Place { position: 72, typing: 0, presence: 0, to_device: 72 });
        // Issued after the one restore, before the other.
        assert_eq!(
            at(&[restored(2, 60), restored(1_500, 100)]),
            Since::Place { position: 72, typing: 0, presence: 0, to_device: 72 }
        );
        assert_eq!(at(&[restored(2, 60), restored(1_500, 70)]), Since::Lost);
    }
}
