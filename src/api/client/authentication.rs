//! Who is asking: extractors that turn an access token into a session.

use crate::accounts::Session;

/// The session of a request that guests may make, too.
#[derive(Clone, Debug)]
pub struct SessionOrGuest(pub Session);
