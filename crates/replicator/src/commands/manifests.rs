//! Which manifests a command is about: a file, or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use protocol::Namespace;

use super::{Exit, Failure};
use crate::manifests::Manifests;

/// How much is read. Charts render to a few MiB; a dump of all objects of a large cluster has tens.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;

/// What stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Which manifests.
#[derive(Debug, Args)]
pub(crate) struct ManifestArgs {
    /// Kubernetes' YAML or JSON, as `helm template` prints it; - reads standard input
    file: PathBuf,
    /// The namespace of objects that say none
    #[arg(long, short, value_name = "NAMESPACE", default_value = "default")]
    namespace: Namespace,
}

impl ManifestArgs {
    /// Reads them.
    pub(crate) fn read(&self) -> Result<Manifests, Failure> {
        let name = match self.file == Path::new(STANDARD_INPUT) {
            true => "standard input".to_owned(),
            false => self.file.display().to_string(),
        };
        let wrong =
            |why: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("{name}: {why}"));
        let text = self.text().map_err(|error| wrong(&error))?;
        Manifests::parse(&text, &self.namespace).map_err(|error| wrong(&error))
    }

    fn text(&self) -> io::Result<String> {
        let input: Box<dyn Read> = match self.file == Path::new(STANDARD_INPUT) {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(&self.file)?),
        };
        let mut text = String::new();
        // One byte more tells that there is more.
        let length = input.take(MAX_MANIFEST_BYTES + 1).read_to_string(&mut text)?;
        if length as u64 > MAX_MANIFEST_BYTES {
            return Err(io::Error::other(format!(
                "it has more than {} MiB: divide it",
                MAX_MANIFEST_BYTES / 1024 / 1024
            )));
        }
        Ok(text)
    }
}
