//! An attempt as a future in this process.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use super::attempt::{Cause, Ended, GRACE};
use super::state::Stop;
use crate::options::{Container, Containers};

/// Ends the future with whoever waits for it.
struct Running(JoinHandle<i32>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs it to its end, or says why there is none.
pub(crate) async fn run(
    containers: &Arc<dyn Containers>,
    container: Container,
    terminate: watch::Sender<bool>,
    timeout: Duration,
    mut stop: watch::Receiver<Stop>,
) -> io::Result<(Cause, Ended)> {
    let mut running = Running(tokio::spawn(containers.run(container)));
    let cause = tokio::select! {
        ended = &mut running.0 => return Ok((Cause::Own, exited(ended)?)),
        () = tokio::time::sleep(timeout) => Cause::Timeout,
        _ = stop.wait_for(|stop| *stop != Stop::Go) => Cause::Stop,
    };
    terminate.send_replace(true);
    let ended = match tokio::time::timeout(GRACE, &mut running.0).await {
        Ok(ended) => exited(ended)?,
        Err(_) => Ended {
            exit_code: None,
            signal: Some(9),
        },
    };
    Ok((cause, ended))
}

fn exited(ended: Result<i32, JoinError>) -> io::Result<Ended> {
    let exit_code = ended.map_err(io::Error::other)?;
    Ok(Ended {
        exit_code: Some(exit_code),
        signal: None,
    })
}
