//! Credentials for a registry, looked up anew for each call in a docker `config.json`.
//!
//! The key is the exact `host[:port]` of the reference. The client sends what is found only if the
//! registry answers with a challenge. Knows no sources and no cache.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use docker_credential::DockerCredential;
use oci_distribution::secrets::RegistryAuth;

/// Where to look: a folder with a `config.json`, or docker's own places
/// (`$DOCKER_CONFIG`, else `~/.docker`).
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    folder: Option<PathBuf>,
}

impl Credentials {
    /// Looks in `folder` alone, if given. Warns if there is no `config.json` in it.
    pub fn in_folder(folder: Option<PathBuf>) -> Self {
        if let Some(config) = folder.as_ref().map(|folder| folder.join("config.json"))
            && !config.is_file()
        {
            tracing::warn!(
                config = %config.display(),
                "no docker config there: registries are asked without credentials"
            );
        }
        Self { folder }
    }

    /// What to show `registry` if it asks; anonymous where nothing usable is configured.
    pub(super) fn of(&self, registry: &str) -> RegistryAuth {
        let found = match &self.folder {
            None => docker_credential::get_credential(registry),
            Some(folder) => match File::open(folder.join("config.json")) {
                Ok(file) => {
                    docker_credential::get_credential_from_reader(BufReader::new(file), registry)
                }
                Err(_) => return RegistryAuth::Anonymous,
            },
        };
        match found {
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                RegistryAuth::Basic(user, password)
            }
            Ok(DockerCredential::IdentityToken(_)) => {
                tracing::warn!(
                    registry,
                    "the host does not support identity tokens: asking without credentials"
                );
                RegistryAuth::Anonymous
            }
            Err(error) => {
                tracing::debug!(registry, %error, "no credentials: asking without");
                RegistryAuth::Anonymous
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_exact_host_and_port() {
        let folder = tempfile::tempdir().unwrap();
        let config = r#"{"auths":{"registry.test:5000":{"auth":"dTpwdw=="}}}"#;
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let credentials = Credentials::in_folder(Some(folder.path().to_owned()));
        assert_eq!(
            credentials.of("registry.test:5000"),
            RegistryAuth::Basic("u".into(), "pw".into())
        );
        assert_eq!(credentials.of("registry.test"), RegistryAuth::Anonymous);
    }

    #[test]
    fn without_a_config_the_registry_is_asked_anonymously() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = Credentials::in_folder(Some(folder.path().to_owned()));
        assert_eq!(credentials.of("registry.test"), RegistryAuth::Anonymous);
    }
}
