//! A block made a member of a gzip, in place.

use std::io;

use archive::{BLOCK, FRAME};

use super::machine::Block;

/// What makes members, and where.
#[derive(Debug)]
pub(super) struct Press {
    press: archive::Press,
    scratch: Vec<u8>,
}

impl Default for Press {
    fn default() -> Self {
        Self {
            press: archive::Press::default(),
            scratch: vec![0; BLOCK + FRAME],
        }
    }
}

impl Press {
    /// The block holds the member afterwards.
    pub(super) fn press(&mut self, block: &mut Block) -> io::Result<()> {
        let length = self.press.press(block.bytes(), &mut self.scratch)?;
        block.exchange(&mut self.scratch, length);
        Ok(())
    }
}
