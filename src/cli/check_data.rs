//! `linkim check-data`.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::Path,
};

use super::load;
use crate::{config::Loaded, ops::check_data};

/// Checks the data of the server of this configuration, which must not run. To `out` goes one line for each difference and a
/// summary, to `err` what keeps it from being checked. Returns whether all agrees.
///
/// # Errors
/// What `out` and `err` say.
pub fn check_data(
    config: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    out: impl Write,
    mut err: impl Write,
) -> io::Result<bool> {
    let Some(Loaded { config, .. }) = load(config, environment, &mut err)? else { return Ok(false) };
    match check_data::check_data(&config) {
        Ok(report) => {
            report.write(out)?;
            Ok(report.agrees())
        }
        Err(crate::store::StoreError::Locked { path }) => {
            writeln!(err, "linkim: the server runs ({} is held); stop it first", path.display())?;
            Ok(false)
        }
        Err(error) => {
            writeln!(err, "linkim: {error}")?;
            Ok(false)
        }
    }
}
