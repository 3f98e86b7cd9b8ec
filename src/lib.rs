//! The LinkIM server.
