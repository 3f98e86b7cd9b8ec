//! Places that /ws gives out: `position` of a frame, `since` of a new connection.

use std::{fmt, str::FromStr};

use crate::{
    rooms::page_token::{BadToken, number},
    sync::token::SyncToken,
};

/// How far a client has everything, as [`SyncToken`], without what is not stored. Spelled `<position>_<incarnation>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Place in the server-wide order.
    pub position: i64,
    /// The server's start that gave it out.
    pub incarnation: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.position, self.incarnation)
    }
}

impl FromStr for Position {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let (position, incarnation) = text.split_once('_').ok_or(BadToken)?;
        let (position, incarnation) = (number(position)?, number(incarnation)?);
        if position < 0 || incarnation < 0 {
            return Err(BadToken);
        }
        Ok(Self { position, incarnation })
    }
}

impl From<Position> for SyncToken {
    fn from(of: Position) -> Self {
        Self { position: of.position, incarnation: of.incarnation, typing: 0, presence: 0, to_device: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_survive_and_anything_else_is_refused() {
        let place = Position { position: 72, incarnation: 3 };
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in ["", "72", "72_", "_3", "-1_3", "72_3_0", "s72_3_0_0", "x_3", "072_3"] {
            assert_eq!(text.parse::<Position>(), Err(BadToken), "{text:?}");
        }
    }
}
