//! The configuration: what `linkim.toml` and the environment say, checked once and turned into types.

mod sections;
mod values;

pub use sections::*;
pub use values::{HttpUrl, LogFilter, MultiDevicePolicy, Secret, ServerPattern, StorageUrl};
