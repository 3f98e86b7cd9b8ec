//! Black-box tests of the server.
