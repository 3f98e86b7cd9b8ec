//! The `linkim` command.

fn main() {}
