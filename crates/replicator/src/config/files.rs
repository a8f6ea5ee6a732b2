//! Files that the configuration names: read whole, told apart by what stands in them, and parsed
//! by the same code at the start and whenever they have changed.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::error::ConfigError;

/// The largest file that is read. A CA bundle of all public roots has 220 KiB.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A file: the key that names it, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    key: String,
    path: PathBuf,
}

/// A file as it was read. There is no `Debug`: it may be a secret.
pub(crate) struct Content {
    file: Named,
    bytes: Vec<u8>,
}

/// Tells what stands in files apart without keeping it. That files cannot be read, and why, is
/// a print as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Print([u8; 32]);

/// Files that make sense together alone, such as a certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Files<const N: usize>([Named; N]);

impl Named {
    pub(crate) fn new(key: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { key: key.into(), path: path.into() }
    }

    pub(super) fn read(&self) -> Result<Content, ConfigError> {
        let mut bytes = Vec::new();
        // One byte more tells that there is more.
        let read = File::open(&self.path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
        match read {
            Err(error) => {
                let Self { key, path } = self.clone();
                Err(ConfigError::Unreadable { key, path, error })
            }
            Ok(size) if size as u64 > MAX_FILE_BYTES => {
                Err(self.unusable(&format!("it has more than {MAX_FILE_BYTES} bytes")))
            }
            Ok(_) => Ok(Content { file: self.clone(), bytes }),
        }
    }

    fn unusable(&self, reason: &impl ToString) -> ConfigError {
        let Self { key, path } = self.clone();
        ConfigError::Unusable { key, path, reason: reason.to_string() }
    }
}

impl Content {
    /// What stands in it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, to keep.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The same, which is to be text.
    pub(crate) fn text(&self) -> Result<&str, ConfigError> {
        std::str::from_utf8(&self.bytes).map_err(|_| self.unusable(&"it is not UTF-8 text"))
    }

    /// The error that it cannot be used.
    pub(crate) fn unusable(&self, reason: &impl ToString) -> ConfigError {
        self.file.unusable(reason)
    }
}

impl Files<1> {
    /// A file that makes sense by itself.
    pub(crate) fn one(key: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self([Named::new(key, path)])
    }
}

impl Files<2> {
    /// Two files of which neither makes sense without the other.
    pub(crate) fn pair(files: [Named; 2]) -> Self {
        Self(files)
    }
}

impl<const N: usize> Files<N> {
    /// Their keys, by which they go in logs and metrics.
    pub(crate) fn keys(&self) -> String {
        self.0.each_ref().map(|file| file.key.as_str()).join(",")
    }

    /// Where they are, for people.
    pub(crate) fn paths(&self) -> String {
        self.0.each_ref().map(|file| file.path.display().to_string()).join(",")
    }

    /// What stands in them now.
    pub(crate) fn read(&self) -> (Print, Result<[Content; N], ConfigError>) {
        let contents = self.0.iter().map(Named::read).collect::<Result<Vec<_>, _>>();
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        };
        match &contents {
            Ok(contents) => contents.iter().for_each(|content| add(&content.bytes)),
            Err(error) => add(error.to_string().as_bytes()),
        }
        let print = Print(hash.finalize().into());
        let contents = contents.map(|contents| {
            <[Content; N]>::try_from(contents).unwrap_or_else(|_| unreachable!("one for each file"))
        });
        (print, contents)
    }
}
