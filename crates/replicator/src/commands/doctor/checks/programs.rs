//! Programs that are run: credential helpers, and what creates repositories.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::{Finding, Patient};

pub(super) fn look(patient: &Patient) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, credentials) in &patient.config.keyring {
        for (program, is_there) in credentials.config().helpers() {
            let subject = format!("credentials.{name}");
            findings.push(match is_there {
                true => Finding::ok("programs", subject, format!("{program} is on PATH")),
                false => Finding::fail(
                    "programs",
                    subject,
                    format!("{program} is not on PATH"),
                    "install it beside the replicator, or take it out of the docker config",
                ),
            });
        }
    }
    if let Some(create) = &patient.config.registries.create_repository {
        let subject = "target.create_repository";
        let program = create.program();
        findings.push(match locate(program) {
            Some(path) => {
                Finding::ok("programs", subject, format!("{} can be run", path.display()))
            }
            None => Finding::fail(
                "programs",
                subject,
                format!("{program} is no program that can be run"),
                "install it beside the replicator, or write down where it is",
            ),
        });
    }
    findings
}

/// Where a program is that can be run: as the system would find it.
fn locate(program: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return Some(Path::new(program).to_owned()).filter(is_program);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(is_program)
}
