//! What two Matrix servers must agree on.
