//! What an operator needs: metrics, health, the data directory, sweepers.

pub mod admin;
pub mod backup;
pub mod check_data;
pub mod data_dir;
pub mod metrics;
pub mod signing_key;
pub mod sweepers;
