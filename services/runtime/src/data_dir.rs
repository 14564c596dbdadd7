//! The data directory: one process at a time, one server name for ever.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ruma::ServerName;

const LOCK_FILE: &str = "lock";
const NAME_FILE: &str = "server-name";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made or written.
    #[error("cannot use the data directory {}: {}", path.display(), reason(source))]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "the data directory {} is in use by another hanse process ({holder}); stop it, or give \
         this one another directory with --data",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other process, as far as known.
        holder: String,
    },
    /// It belongs to a server of another name.
    #[error(
        "server.name = \"{wanted}\": the data directory {} belongs to \"{owner}\", and a server \
         cannot change its name; allowed: {owner}, or another directory with --data",
        path.display()
    )]
    OtherServer {
        /// The directory.
        path: PathBuf,
        /// Whose data it holds.
        owner: String,
        /// The configured name.
        wanted: String,
    },
}

/// A data directory that is ours until this value goes away.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock; the operating system lets go of it however the process ends.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if needed (open to this user only), takes its lock, and checks that it
    /// belongs to `name`.
    pub fn open(path: &Path, name: &ServerName) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Unusable {
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unusable)?;
        let lock = lock(path)?;
        match read_name(path).map_err(unusable)? {
            Some(owner) if owner != name.as_str() => Err(DataDirError::OtherServer {
                path: path.to_owned(),
                owner,
                wanted: name.to_string(),
            }),
            Some(_) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            None => {
                write_name(path, name).map_err(unusable)?;
                Ok(Self {
                    path: path.to_owned(),
                    _lock: lock,
                })
            }
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let unusable = |source| DataDirError::Unusable {
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(path.join(LOCK_FILE)).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(DataDirError::InUse {
                path: path.to_owned(),
                holder: holder(&mut file),
            });
        }
        Err(TryLockError::Error(source)) => return Err(unusable(source)),
    }
    let note = || -> io::Result<()> {
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        file.sync_all()
    };
    let mut note = note;
    note().map_err(unusable)?;
    Ok(file)
}

fn holder(file: &mut File) -> String {
    let mut pid = String::new();
    match file.take(20).read_to_string(&mut pid) {
        Ok(_) if !pid.is_empty() => format!("process {pid}"),
        _ => "process unknown".to_owned(),
    }
}

fn read_name(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path.join(NAME_FILE)) {
        Ok(name) => Ok(Some(name.trim().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Written aside and renamed, so that a crash leaves either no name or a whole one.
fn write_name(path: &Path, name: &ServerName) -> io::Result<()> {
    let aside = path.join("server-name.new");
    let mut file = File::create(&aside)?;
    writeln!(file, "{name}")?;
    file.sync_all()?;
    fs::rename(&aside, path.join(NAME_FILE))?;
    File::open(path)?.sync_all()
}

/// What to do about it, where that is plain; otherwise the operating system's words.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "this user may not write there".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".to_owned(),
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        io::ErrorKind::QuotaExceeded => "the disk quota is used up".to_owned(),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a part of the path is not a directory".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ruma::server_name;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_second_opener_is_told_who_has_it_until_the_first_lets_go() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("made/here");
        let first = DataDir::open(&path, server_name!("a.org")).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );

        let error = DataDir::open(&path, server_name!("a.org")).unwrap_err();
        let pid = std::process::id();
        assert!(
            error.to_string().contains(&format!("(process {pid})")),
            "{error}"
        );

        drop(first);
        DataDir::open(&path, server_name!("a.org")).unwrap();
    }

    #[test]
    fn the_server_name_is_remembered() {
        let dir = TempDir::new().unwrap();
        drop(DataDir::open(dir.path(), server_name!("a.org")).unwrap());
        let error = DataDir::open(dir.path(), server_name!("b.org")).unwrap_err();
        assert!(matches!(error, DataDirError::OtherServer { .. }), "{error}");
        drop(DataDir::open(dir.path(), server_name!("a.org")).unwrap());
    }

    #[test]
    fn a_path_through_a_file_is_explained() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        for path in ["file", "file/below"] {
            let error = DataDir::open(&dir.path().join(path), server_name!("a.org")).unwrap_err();
            assert!(error.to_string().ends_with("is not a directory"), "{error}");
        }
    }

    #[test]
    fn what_the_operating_system_refuses_is_put_in_words() {
        let said = |kind: io::ErrorKind| reason(&io::Error::from(kind));
        assert_eq!(said(io::ErrorKind::StorageFull), "the disk is full");
        assert_eq!(
            said(io::ErrorKind::PermissionDenied),
            "this user may not write there"
        );
    }
}
