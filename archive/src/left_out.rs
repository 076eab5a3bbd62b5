/// How many are named; the rest is counted.
const NAMED: usize = 100;

/// An entry that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its path's bytes; [`printable`](crate::printable) makes them fit for a terminal.
    pub path: Vec<u8>,
    /// A fragment that goes after the path: `is a socket`.
    pub reason: String,
}

#[derive(Debug, Default)]
pub(crate) struct LeftOuts {
    pub(crate) named: Vec<LeftOut>,
    pub(crate) total: u64,
}

impl LeftOuts {
    pub(crate) fn add(&mut self, path: &[u8], reason: impl Into<String>) {
        self.total += 1;
        if self.named.len() < NAMED {
            self.named.push(LeftOut {
                path: path.to_vec(),
                reason: reason.into(),
            });
        }
    }
}
