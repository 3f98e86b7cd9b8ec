//! `linkim check-config`.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::Path,
};

use super::load;

/// Checks a configuration as `serve` would load it. If it is right, one line goes to `out`, and to `err` one for each setting
/// without effect yet; otherwise one line for each mistake goes to `err`. Returns whether it is right.
pub fn check_config(
    config: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    mut out: impl Write,
    mut err: impl Write,
) -> io::Result<bool> {
    let Some(loaded) = load(config, environment, &mut err)? else { return Ok(false) };
    for warning in &loaded.warnings {
        writeln!(err, "{warning}")?;
    }
    let file = loaded.file.as_deref().unwrap_or("no linkim.toml");
    writeln!(out, "{file}: the configuration of {} is right", loaded.config.server_name)?;
    Ok(true)
}
