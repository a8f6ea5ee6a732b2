//! The command line, and nothing else: what may be said, not what it does.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::module::Ticks;

/// Runs a Kubewarden waPC policy as kwctl and policy-server do.
#[derive(Debug, Parser)]
#[command(name = "policy-host", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask a policy about one request and print its AdmissionResponse, as `kwctl run` does
    Run(RunArgs),
    /// Answer AdmissionReviews over HTTP or HTTPS, as policy-server does
    Serve(ServeArgs),
}

/// How registries are reached; the same for both commands.
#[derive(Debug, Args)]
pub struct RegistryArgs {
    /// YAML file with `source_authorities` and `insecure_sources`
    #[arg(long, value_name = "FILE")]
    pub sources_path: Option<PathBuf>,
    /// Folder with a docker `config.json`; else $DOCKER_CONFIG, else ~/.docker
    #[arg(long, value_name = "DIR")]
    pub docker_config_json_path: Option<PathBuf>,
}

/// `policy-host run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The policy: a path or a file:// address
    #[arg(value_name = "POLICY")]
    pub policy: String,
    /// JSON file with an AdmissionRequest or AdmissionReview; `-` is stdin
    #[arg(short, long, value_name = "FILE")]
    pub request_path: PathBuf,
    /// The policy's settings as JSON
    #[arg(long, value_name = "JSON", conflicts_with = "settings_path")]
    pub settings_json: Option<String>,
    /// File with the policy's settings, YAML or JSON
    #[arg(short, long, value_name = "FILE")]
    pub settings_path: Option<PathBuf>,
    /// The request is not Kubernetes': hand it on as it is
    #[arg(long)]
    pub raw: bool,
    /// Host calls the policy may make, e.g. `oci/*`; takes all that follow, so not right before POLICY
    #[arg(long, value_name = "LIST", num_args = 0.., default_value = "*")]
    pub allowed_host_capabilities: Vec<String>,
    /// Answer host calls from this recorded session, and reach no registry
    #[arg(long, value_name = "FILE")]
    pub replay_host_capabilities_interactions: Option<PathBuf>,
    /// Record host calls and their answers to this file
    #[arg(long, value_name = "FILE", conflicts_with = "replay_host_capabilities_interactions")]
    pub record_host_capabilities_interactions: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub registry: RegistryArgs,
}

/// `policy-host serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where to listen; with port 0 the system picks one. The address is printed on stdout
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// YAML file with the policies, in policy-server's form
    #[arg(long, value_name = "FILE")]
    pub policies: PathBuf,
    /// PEM file with the server's certificate chain; makes the server speak HTTPS
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// PEM file with the certificate's key
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
    /// Seconds after which a policy is interrupted; a host call under way is not cut
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT, value_parser = clap::value_parser!(u64).range(1..))]
    pub policy_timeout: Ticks,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub registry: RegistryArgs,
}

/// policy-server's default.
const DEFAULT_TIMEOUT: Ticks = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(arguments: &[&str]) -> Result<RunArgs, clap::Error> {
        let base = ["policy-host", "run", "-r", "r.json"];
        match Cli::try_parse_from(base.iter().chain(arguments))?.command {
            Command::Run(run) => Ok(run),
            Command::Serve(_) => panic!("not serve"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn capabilities_default_to_all_and_take_a_list() {
        assert_eq!(run(&["p.wasm"]).unwrap().allowed_host_capabilities, ["*"]);
        let listed = run(&["p.wasm", "--allowed-host-capabilities", "oci/*", "net/*"]).unwrap();
        assert_eq!(listed.allowed_host_capabilities, ["oci/*", "net/*"]);
        let none = run(&["p.wasm", "--allowed-host-capabilities"]).unwrap();
        assert!(none.allowed_host_capabilities.is_empty());
    }

    #[test]
    fn settings_come_from_one_place() {
        assert!(run(&["p.wasm", "--settings-json", "{}", "--settings-path", "s.yml"]).is_err());
    }
}
