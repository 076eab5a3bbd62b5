//! Ctrl-C and its like.

use tokio::sync::mpsc;

/// Ctrl-C and its like, as they come.
#[derive(Debug)]
pub struct Interrupts(mpsc::UnboundedReceiver<()>);

impl Interrupts {
    /// Those that come through a channel.
    pub fn new(receiver: mpsc::UnboundedReceiver<()>) -> Self {
        Self(receiver)
    }

    /// None will ever come.
    pub fn never() -> Self {
        Self(mpsc::unbounded_channel().1)
    }

    /// The next one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
