//! `linkim backup` and `linkim restore`.

use std::{ffi::OsString, io::Write, path::Path};

use super::load;
use crate::{clock::Clock, config::Loaded, ops};

/// Takes a backup into the new folder `to`. What it is goes to `out`, what keeps it from being one to `err`. Answers whether
/// there is a backup.
///
/// # Errors
/// What the streams say.
pub fn backup(
    config: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    to: &Path,
    clock: &dyn Clock,
    mut out: impl Write,
    mut err: impl Write,
) -> std::io::Result<bool> {
    let Some(Loaded { config, .. }) = load(config, environment, &mut err)? else { return Ok(false) };
    match ops::backup::take(&config, to, clock.now_ms()) {
        Ok(taken) => {
            let (name, position) = (&taken.manifest.server_name, taken.manifest.position);
            writeln!(out, "{}: a backup of {name} at position {position}", taken.path.display())?;
            writeln!(err, "The configuration is not in it, for it may hold secrets: keep a copy of it apart.")?;
            Ok(true)
        }
        Err(error) => {
            writeln!(err, "linkim: {error}")?;
            Ok(false)
        }
    }
}

/// Restores the backup in the folder `from`; with `replace` what is there is moved aside. Answers whether it was restored.
///
/// # Errors
/// What the streams say.
pub fn restore(
    config: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    (from, replace): (&Path, bool),
    clock: &dyn Clock,
    mut out: impl Write,
    mut err: impl Write,
) -> std::io::Result<bool> {
    let Some(Loaded { config, .. }) = load(config, environment, &mut err)? else { return Ok(false) };
    match ops::backup::restore(&config, from, replace, clock.now_ms()) {
        Ok(restored) => {
            let (name, position) = (&restored.manifest.server_name, restored.manifest.position);
            writeln!(out, "{name} is as it was at position {position}")?;
            for path in &restored.moved_aside {
                writeln!(out, "what was there before is now {}", path.display())?;
            }
            writeln!(
                err,
                "What happened since the backup is undone, logouts, changed passwords and deactivations among it."
            )?;
            Ok(true)
        }
        Err(error) => {
            writeln!(err, "linkim: {error}")?;
            Ok(false)
        }
    }
}
