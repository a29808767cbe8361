//! Where PostgreSQL's programs are, and as whom they may run.
//!
//! Owns nothing and starts nothing.

use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};

/// Names the directory of `initdb` and `postgres`, before any search.
pub const BIN_VARIABLE: &str = "ECAR_SMS_PG_BIN";

/// Where Debian and Ubuntu keep one directory for each version.
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";

/// PostgreSQL refuses to run as root; the package's own account is used, or the account of nobody.
const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// The directory that holds both programs: [`BIN_VARIABLE`], then `PATH`, then Debian's directories, newest first.
#[expect(
    clippy::disallowed_methods,
    reason = "a search of this machine for test and demo; the daemon's configuration has no part in it"
)]
pub fn find() -> Option<PathBuf> {
    let named = std::env::var_os(BIN_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    named
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(newest_first(Path::new(DEBIAN_ROOT)))
        .find_map(|directory| complete(&directory))
}

/// Follows a link such as `/usr/local/bin/initdb` to the directory where its companions are, too.
fn complete(directory: &Path) -> Option<PathBuf> {
    let initdb = directory.join("initdb").canonicalize().ok()?;
    let home = initdb.parent()?;
    home.join("postgres").is_file().then(|| home.to_owned())
}

fn newest_first(root: &Path) -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, directory)| directory).collect()
}

/// User and group for the server: none when we are an ordinary user and the server can run as we do.
pub fn account() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    ACCOUNTS
        .iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .map(|user| (user.uid.as_raw(), user.gid.as_raw()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first_by_number_and_not_by_letter() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "15", "17", "readme"] {
            std::fs::create_dir_all(root.path().join(version).join("bin")).unwrap();
        }
        let found = newest_first(root.path());
        let versions: Vec<_> =
            found.iter().map(|bin| bin.parent().unwrap().file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(versions, ["17", "15", "9"]);
        assert!(newest_first(Path::new("/no/such/root")).is_empty());
    }

    #[test]
    fn a_link_leads_to_the_directory_of_all_programs_and_half_an_installation_does_not_count() {
        let root = tempfile::tempdir().unwrap();
        let (real, links) = (root.path().join("real"), root.path().join("links"));
        std::fs::create_dir(&real).unwrap();
        std::fs::create_dir(&links).unwrap();
        std::fs::write(real.join("initdb"), "").unwrap();
        std::os::unix::fs::symlink(real.join("initdb"), links.join("initdb")).unwrap();
        assert_eq!(complete(&links), None);
        std::fs::write(real.join("postgres"), "").unwrap();
        assert_eq!(complete(&links), Some(real.canonicalize().unwrap()));
    }
}
