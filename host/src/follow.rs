//! An execution, from its start to its end.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use wire::api::{ApiError, ErrorKind};
use wire::names::RunId;

use crate::cloud_run::Execution;
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::results::Tail;
use crate::session::Session;

/// The first look comes so soon: a task of `true` is over before it.
const FIRST_LOOK: Duration = Duration::from_millis(10);

/// Looks are never further apart, so that an end is noticed soon. With those at the logs, they are about 60 a
/// minute.
const STEADY: Duration = Duration::from_secs(2);

/// Without an answer for so long, the user is told. There is no deadline.
const QUIET: Duration = Duration::from_secs(30);

/// A cancel under way when the user leaves gets so long.
const LAST_WORD: Duration = Duration::from_secs(5);

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

/// What following came to.
#[derive(Debug)]
pub struct Followed {
    /// The execution at its end.
    pub execution: Execution,
    /// Whether the user cancelled it.
    pub interrupted: bool,
}

/// Follows an execution to its end, by its own state and with no deadline.
///
/// One interrupt cancels it and goes on following, so that what is saved comes home; a second leaves it
/// running.
pub async fn follow(
    session: &Session,
    run: RunId,
    mut execution: Execution,
    tail: &mut Tail,
    reporter: &mut dyn Reporter,
    interrupts: &mut Interrupts,
) -> Result<Followed, Error> {
    let mut pause = FIRST_LOOK;
    let mut interrupted = false;
    let mut silence = Silence::new();
    while !execution.ended() {
        let look = async {
            tokio::time::sleep(pause).await;
            let answer = session.cloud_run.execution(&execution.name).await;
            if answer.as_ref().is_ok_and(|now| !now.ended()) {
                tail.look(session, run, reporter).await;
            }
            answer
        };
        tokio::select! {
            answer = look => match answer {
                Ok(now) => {
                    execution = now;
                    silence.broken();
                    pause = (pause * 2).min(STEADY);
                }
                Err(error) if error.kind == ErrorKind::Unavailable => {
                    silence.lasts(&error, reporter);
                    session.revive().await?;
                }
                Err(error) => return Err(Error::api("cannot follow the run")(error)),
            },
            () = interrupts.next() => {
                if interrupted {
                    return Err(Error::Left { run });
                }
                interrupted = true;
                reporter.event(&Event::Cancelling);
                if cancel_or_leave(session, &execution.name, reporter, interrupts).await {
                    return Err(Error::Left { run });
                }
                pause = FIRST_LOOK;
            }
        }
    }
    Ok(Followed {
        execution,
        interrupted,
    })
}

/// Cancels; true if the user left meanwhile. Even then the question that was asked is seen through for a
/// moment: who pressed Ctrl-C twice must not find the command running on.
async fn cancel_or_leave(
    session: &Session,
    execution: &str,
    reporter: &mut dyn Reporter,
    interrupts: &mut Interrupts,
) -> bool {
    let mut cancelling = std::pin::pin!(session.cloud_run.cancel(execution));
    let answer = tokio::select! {
        answer = &mut cancelling => Some(answer),
        () = interrupts.next() => None,
    };
    let left = answer.is_none();
    let failure = match answer {
        Some(answer) => answer.err().map(|error| crate::error::chain(&error)),
        None => match tokio::time::timeout(LAST_WORD, cancelling).await {
            Ok(answer) => answer.err().map(|error| crate::error::chain(&error)),
            Err(_) => Some("no answer yet".to_owned()),
        },
    };
    if let Some(why) = failure {
        let text = format!("the cancel did not go through: {why}");
        reporter.event(&Event::Warning(&text));
    }
    left
}

/// A time in which nobody answers.
struct Silence {
    since: Option<Instant>,
    told: bool,
}

impl Silence {
    fn new() -> Self {
        Self {
            since: None,
            told: false,
        }
    }

    fn broken(&mut self) {
        *self = Self::new();
    }

    fn lasts(&mut self, error: &ApiError, reporter: &mut dyn Reporter) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if !self.told && (error.tries > 1 || since.elapsed() > QUIET) {
            self.told = true;
            let text = format!(
                "no answer; the run goes on, and so does the waiting: {}",
                crate::error::chain(error)
            );
            reporter.event(&Event::Warning(&text));
        }
    }
}
