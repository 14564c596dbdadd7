//! The syncer thread: one fsync for all groups that wait, while the writer goes on.
//!
//! The engine's own `persist` holds its journal for as long as the disk takes, so that a buffered
//! write would wait for the fsync of others. The syncer syncs the journal's file through a descriptor
//! of its own instead. That is sound because of two things: journals are the files `<number>.jnl` in
//! the data directory, in ascending numbers (`tests/journal.rs` watches over it); and the engine syncs
//! a journal, its folder included, before it writes to the next one (fjall 3.1, `Writer::rotate`), so
//! everything that was flushed is either in the newest journal or on disk.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering, mpsc::Receiver},
    time::Duration,
};

use crate::{engine::Core, writer::Owed};

/// Most groups that wait for the disk before the writer waits, too.
pub(crate) const GROUPS_MAX: usize = 64;
/// The rest between two fsyncs. Under load it makes groups larger, which saves CPU and the disk; a
/// write that comes alone does not notice.
const REST: Duration = Duration::from_millis(1);

/// The journal that the engine writes.
pub(crate) struct Journal {
    directory: PathBuf,
    number: u64,
    file: File,
}

impl Journal {
    /// The newest journal of a data directory.
    pub(crate) fn newest(directory: &Path) -> io::Result<Self> {
        let mut newest = None;
        for entry in std::fs::read_dir(directory)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".jnl"));
            newest = newest.max(number.and_then(|number| number.parse::<u64>().ok()));
        }
        let number = newest.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self {
            directory: directory.to_owned(),
            number,
            file: File::open(path(directory, number))?,
        })
    }

    /// Puts everything on disk that the engine flushed before the call.
    fn sync(&mut self) -> io::Result<()> {
        self.follow()?;
        self.file.sync_data()
    }

    /// Moves on to the newest journal.
    fn follow(&mut self) -> io::Result<()> {
        loop {
            match File::open(path(&self.directory, self.number + 1)) {
                Ok(file) => {
                    self.file = file;
                    self.number += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number}.jnl"))
}

/// Runs until the writer is gone, and then until nothing waits.
pub(crate) fn run(core: &Arc<Core>, mut journal: Journal, queue: &Receiver<Owed>) {
    while let Ok(first) = queue.recv() {
        let mut groups = vec![first];
        groups.extend(queue.try_iter().take(GROUPS_MAX));
        let synced = core.sync(&mut journal);
        for owed in groups {
            owed.answer(core, synced);
        }
        std::thread::sleep(REST);
    }
}

impl Core {
    /// Whether everything is on disk that was flushed before the call. Once this failed, it always
    /// fails: the system may have dropped the pages that it could not write, and a second fsync would
    /// tell of no error.
    fn sync(&self, journal: &mut Journal) -> bool {
        if self.poisoned.load(Ordering::Acquire) {
            return false;
        }
        journal.sync().map_err(|error| self.poison(&error)).is_ok()
    }
}
