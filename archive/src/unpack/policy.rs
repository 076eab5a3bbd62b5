/// What an unpacker accepts.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Keep modification times (outputs), or let files have the present time (inputs).
    pub keep_mtimes: bool,
    /// What to do with an entry that may not be: an error (inputs: our own packs have none), or leave it out, named and counted (outputs).
    pub refuse: Refuse,
    /// Which symbolic links may be.
    pub links: Links,
    /// At the most so many entries, all archives together; more is an error in either mode. Headers that are refused,
    /// blocks of long names and directories without an entry of their own count too.
    pub max_entries: u64,
    /// At the most so many bytes of directories' paths, all archives together; more is an error in either mode. They
    /// are kept in memory until the end, and an archive of some megabytes can imply gigabytes of them.
    pub max_directory_names: u64,
    /// At the most so many bytes of data, all archives together; more is an error in either mode, before they are written.
    pub max_bytes: u64,
    /// Owner of what is made, when root unpacks for another user.
    pub owner: Option<(u32, u32)>,
}

/// See [`Policy::refuse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refuse {
    /// Stop.
    Fail,
    /// Leave it out.
    LeaveOut,
}

/// See [`Policy::links`]. Whatever is kept, the unpacker itself follows no link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// All, absolute ones too: they are the user's own.
    Keep,
    /// Only those that cannot lead out of the target: relative, with `..` at the beginning only and not above the target.
    InsideOnly,
}

impl Policy {
    /// The user's own packs, in the container: any link, no refusals, no caps (their digests are verified).
    pub fn input(owner: Option<(u32, u32)>) -> Self {
        Self {
            keep_mtimes: false,
            refuse: Refuse::Fail,
            links: Links::Keep,
            max_entries: u64::MAX,
            max_directory_names: u64::MAX,
            max_bytes: u64::MAX,
            owner,
        }
    }

    /// What came back from a container: a stranger's archive. At the most ten million entries, and `max_bytes` bytes
    /// in files.
    pub fn output(max_bytes: u64) -> Self {
        Self {
            keep_mtimes: true,
            refuse: Refuse::LeaveOut,
            links: Links::InsideOnly,
            max_entries: 10_000_000,
            max_directory_names: 1 << 29,
            max_bytes,
            owner: None,
        }
    }
}
