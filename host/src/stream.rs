//! Results of a run as they come, for programs that use the library.

use tokio::sync::mpsc;

use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::interrupts::Interrupts;
use crate::request::Request;
use crate::results::TaskResult;
use crate::session::Session;

/// Results as they come, each with its task's number. Dropped, it cancels what still runs.
#[derive(Debug)]
pub struct RunStream<T> {
    receiver: mpsc::UnboundedReceiver<Result<(usize, T), Error>>,
    interrupt: mpsc::UnboundedSender<()>,
}

impl<T: Send + 'static> RunStream<T> {
    /// Begins a run; `read` makes of a result what the caller gets, and is told the run.
    pub(crate) fn start(
        session: Session,
        request: Request,
        read: impl Fn(TaskResult, &str) -> Result<T, Error> + Send + 'static,
    ) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (interrupt, interrupts) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut results = Results { read, sender };
            let mut interrupts = Interrupts::new(interrupts);
            let ended = crate::run::run(&session, &request, &mut results, &mut interrupts).await;
            if let Err(error) = ended {
                let _ = results.sender.send(Err(error));
            }
        });
        Self {
            receiver,
            interrupt,
        }
    }
}

impl<T> RunStream<T> {
    /// The next result; `None` when all are here, or after an error.
    pub async fn next(&mut self) -> Option<Result<(usize, T), Error>> {
        self.receiver.recv().await
    }
}

impl<T> futures_util::Stream for RunStream<T> {
    type Item = Result<(usize, T), Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.receiver.poll_recv(context)
    }
}

impl<T> Drop for RunStream<T> {
    fn drop(&mut self) {
        let _ = self.interrupt.send(());
    }
}

/// Passes results on as they land.
struct Results<T, F> {
    read: F,
    sender: mpsc::UnboundedSender<Result<(usize, T), Error>>,
}

impl<T, F> Reporter for Results<T, F>
where
    T: Send,
    F: Fn(TaskResult, &str) -> Result<T, Error> + Send,
{
    fn event(&mut self, event: &Event<'_>) {
        let Event::Landed { run, result } = event else {
            return;
        };
        let read = (self.read)((*result).clone(), &run.to_string());
        let number = result.index as usize;
        let _ = self.sender.send(read.map(|read| (number, read)));
    }
}
