//! Where a ledger that is a file lies: whether it can be written, and how much room there is.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, FsWord, access, statfs, statvfs};

use super::{Finding, Patient};

/// Room below which the ledger will soon not be written: one of 100,000 images, and a transaction.
const LEAST_FREE_BYTES: u64 = 128 * MIB;

/// Room below which somebody should look: its log of changes, a backup beside it, a year.
const ENOUGH_FREE_BYTES: u64 = 1024 * MIB;

const MIB: u64 = 1024 * 1024;

/// File systems of other machines, by the number that Linux has for each (`statfs(2)`).
const OF_OTHERS: [(FsWord, &str); 4] =
    [(0x6969, "NFS"), (0xff53_4d42, "CIFS"), (0xfe53_4d42, "SMB"), (0x0102_1997, "9p")];

pub(super) async fn look(patient: &Patient) -> Vec<Finding> {
    let Some(file) = patient.config.ledger.url.file() else { return Vec::new() };
    // A file system may take its time, and the other checks are not to wait for it.
    let looked = tokio::task::spawn_blocking(move || look_at(&file)).await;
    looked.unwrap_or_default()
}

fn look_at(file: &Path) -> Vec<Finding> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let subject = folder.display();
    if !folder.is_dir() {
        let next = "mount a volume there, or name another place in `ledger`";
        return vec![Finding::fail("disk", subject, "there is no such folder", next)];
    }
    let next = "let the replicator's user write there (fsGroup), and mount it for writing";
    let mut findings = Vec::new();
    let written = [folder.as_path(), file].into_iter().filter(|path| path.exists());
    for path in written {
        if access(path, Access::WRITE_OK).is_err() {
            let found = "it cannot be written by this user";
            findings.push(Finding::fail("disk", path.display(), found, next));
        }
    }
    let kind = statfs(&folder).ok().map(|system| system.f_type);
    findings.extend(kind.and_then(network).map(|name| {
        let found = format!("it is on {name}: SQLite's log is not safe on a network file system");
        let next = "give the ledger a volume of block storage, or use PostgreSQL";
        Finding::warn("disk", subject.to_string(), found, next)
    }));
    let Ok(system) = statvfs(&folder) else { return findings };
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    let found = format!("{} MiB are free", free / MIB);
    let more = "make room, or give the ledger a larger volume";
    findings.push(match free {
        0..LEAST_FREE_BYTES => Finding::fail("disk", subject, found, more),
        LEAST_FREE_BYTES..ENOUGH_FREE_BYTES => Finding::warn("disk", subject, found, more),
        _ => Finding::ok("disk", subject, found),
    });
    findings
}

/// The name of a file system of another machine; None of one of ours.
fn network(kind: FsWord) -> Option<&'static str> {
    OF_OTHERS.into_iter().find(|(number, _)| *number == kind).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_file_system_is_known_by_its_number() {
        assert_eq!(network(0x6969), Some("NFS"));
        // ext4, tmpfs, overlayfs.
        for local in [0xef53, 0x0102_1994, 0x794c_7630] {
            assert_eq!(network(local), None);
        }
    }
}
