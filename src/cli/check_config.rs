//! `linkim check-config`.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::Path,
};

use super::load;
use crate::listen::tls;

/// Checks a configuration as `serve` would load it. If it is right, one line goes to `out`, and to `err` one for each setting
/// without effect yet; otherwise one line for each mistake goes to `err`. The files of `[tls]` are read too. Returns whether it is right.
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
    if let Some(error) = loaded.config.tls.as_ref().and_then(|files| tls::check(files).err()) {
        writeln!(err, "{error}")?;
        return Ok(false);
    }
    let file = loaded.file.as_deref().unwrap_or("no linkim.toml");
    writeln!(out, "{file}: the configuration of {} is right", loaded.config.server_name)?;
    Ok(true)
}
