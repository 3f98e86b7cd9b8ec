//! What two Matrix servers must agree on: the format of events, their signatures, who may do what, which state a room
//! has when its history forked, and how one server finds another and knows that it is the one.
//!
//! Pure protocol: nothing here reads a clock, draws a random number, opens a socket or a file, or waits. Events come in
//! as bytes or as [`Pdu`]s, state as integers that the caller's store chose, and answers go out as values.
//!
//! | module | decides |
//! | --- | --- |
//! | [`room_version`] | which rules a room version has |
//! | [`canonical`] | the one JSON text of an object that is hashed and signed |
//! | [`pdu`] | what a well-formed event is, and its identifier |
//! | [`build`] | how our own events are hashed, signed and named |
//! | [`signing`], [`verify`] | keys, signatures and content hashes |
//! | [`mod@redact`] | what remains of an event once its content is taken away |
//! | [`authorise`] | whether an event is allowed by the state before it |
//! | [`auth_dag`] | auth chains, their difference and the conflicted subgraph, on integers |
//! | [`mod@resolve`] | state resolution, room versions 1 to 12 |
//! | [`server_name`] | what a server name is |
//! | [`discovery`], [`well_known`] | where to connect to reach a server, and how long that may be believed |
//! | [`private_address`] | where not to connect |
//! | [`server_keys`] | which keys a server signs with, and what each is good for |
//! | [`x_matrix`] | who sent a request |
//!
//! # Room versions 1 to 5
//!
//! These versions do not enforce canonical JSON, and how a number that it forbids is hashed is not specified. An event
//! with such numbers is read, hashed and verified in the encoding of the appendices' Python function, its power levels
//! are read as integers, and an integer of any size keeps its digits. What remains:
//!
//! - We make no such events: [`canonical_object`] gives integers within the range or refuses.
//! - `depth` and `origin_server_ts` must be integers from 0 to 2^64 - 1; for ordering by time, above 2^53 - 1 they count
//!   as that.
//! - Power levels above 2^53 - 1 count as that.

pub mod auth_dag;
pub mod authorise;
pub mod build;
pub mod canonical;
pub mod discovery;
pub mod pdu;
pub mod private_address;
pub mod redact;
pub mod resolve;
pub mod room_version;
pub mod server_keys;
pub mod server_name;
pub mod signing;
mod value;
pub mod verify;
pub mod well_known;
pub mod x_matrix;

pub use auth_dag::AuthDag;
pub use authorise::{Denied, auth_types, check_against_state, check_auth_events};
pub use build::{BuildError, EventReference, EventTemplate, add_signature, build_event, with_signature};
pub use canonical::{CanonicalError, JsonText, canonical_object};
pub use pdu::{FormatError, Pdu};
pub use redact::redact;
pub use resolve::{ResolutionEvents, ResolveError, StateMap, resolve};
pub use room_version::{STABLE_VERSIONS, rules};
pub use ruma::room_version_rules::RoomVersionRules;
pub use ruma::signatures::{PublicKeyMap, PublicKeySet};
pub use signing::{KeyFileError, SigningKey};
pub use verify::{
    Verified, VerifyError, content_hash_holds, required_servers, verify_event, verify_event_signature, verify_json,
};
