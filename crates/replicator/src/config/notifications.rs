//! Receivers of notifications, with the files that they name.

use std::collections::HashSet;

use registry::Poster;

use super::error::ConfigError;
use super::files::{Content, Files};
use crate::notify::receiver::{MAX_RECEIVERS, Receiver, ReceiverFile, ReceiversError, Secrets};
use crate::watch::{Held, Watcher};

/// Reads who is told; their files are looked at by `watcher` from then on.
pub(super) fn load_receivers(
    files: Vec<ReceiverFile>,
    watcher: &mut Watcher,
) -> Result<Vec<Receiver>, ConfigError> {
    if files.len() > MAX_RECEIVERS {
        return Err(ReceiversError::TooMany(files.len()).into());
    }
    let mut names = HashSet::new();
    let mut load = |mut file: ReceiverFile| {
        let name = file.name.clone();
        if !names.insert(name.clone()) {
            return Err(ReceiversError::Twice(name).into());
        }
        let named = |key: &str, path| Files::one(format!("notifications.{name}.{key}"), path);
        let secrets = file.secret.take().map(|path| named("secret", path));
        let secrets = secrets.map(|files| watcher.hold(files, parse_secrets)).transpose()?;
        let poster = match file.ca.take().map(|path| named("ca", path)) {
            Some(files) => watcher.hold(files, parse_authorities)?,
            None => Held::channel(Poster::new(None).map_err(ReceiversError::Http)?).1,
        };
        Ok(file.read(secrets, poster)?)
    };
    files.into_iter().map(&mut load).collect()
}

fn parse_secrets([file]: &[Content; 1]) -> Result<Secrets, ConfigError> {
    Secrets::parse(file.text()?).map_err(|error| file.unusable(&error))
}

fn parse_authorities([file]: &[Content; 1]) -> Result<Poster, ConfigError> {
    Poster::new(Some(file.bytes())).map_err(|error| file.unusable(&error))
}
