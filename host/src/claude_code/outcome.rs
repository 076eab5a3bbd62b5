//! What came of a run of Claude Code, from what it printed and left.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use claude::{End, Summary, Verdict, transcript};
use fs_err as fs;
use serde::Serialize;
use wire::contract::{Outcome, Report};

use super::ask::SESSIONS;
use crate::error::Error;

/// The CLI's events, one JSON object a line.
const EVENTS: &str = "events.jsonl";

/// The conversation, as a JSON array.
pub(crate) const TRANSCRIPT: &str = "transcript.json";

/// The final answer.
pub(crate) const RESPONSE: &str = "response.md";

/// The verdict, and what led to it.
const VERDICT: &str = "claude.json";

/// What came of a run of Claude Code.
#[derive(Debug, Clone, Serialize)]
pub struct ClaudeOutcome {
    /// In a word.
    pub verdict: Verdict,
    /// What its events tell.
    #[serde(flatten)]
    pub summary: Summary,
}

/// How the CLI's process ended, whatever decided how its task did.
pub(crate) fn end_of(report: &Report) -> End {
    let end = report.command_end();
    match (end.outcome, end.code) {
        (Outcome::Exited | Outcome::Collect, Some(code)) => End::Exited(code),
        (Outcome::Deadline, _) => End::Deadline,
        (Outcome::Exec | Outcome::Setup, _) => End::NotStarted,
        _ => End::Killed,
    }
}

/// Makes of a task's directory what people look for: what was printed becomes the events, and the sessions the
/// transcript.
pub(crate) fn settle(dir: &Path, end: End) -> Result<ClaudeOutcome, Error> {
    let settle = || -> io::Result<ClaudeOutcome> {
        match fs::rename(dir.join("stdout"), dir.join(EVENTS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                File::create(dir.join(EVENTS))?;
            }
            renamed => renamed?,
        }
        let outcome = read_events(dir, end)?;
        write_transcript(dir, outcome.summary.session_id.as_deref())?;
        if let Some(response) = &outcome.summary.response {
            fs::write(dir.join(RESPONSE), response)?;
        }
        let mut json = serde_json::to_vec_pretty(&outcome)?;
        json.push(b'\n');
        fs::write(dir.join(VERDICT), json)?;
        Ok(outcome)
    };
    settle().map_err(|error| Error::local("cannot write what Claude Code said", error))
}

/// Reads what came of a run whose results are in place.
pub(crate) fn read(dir: &Path, end: End) -> Result<ClaudeOutcome, Error> {
    read_events(dir, end).map_err(|error| Error::local("cannot read what Claude Code said", error))
}

fn read_events(dir: &Path, end: End) -> io::Result<ClaudeOutcome> {
    let summary = match fs::File::open(dir.join(EVENTS)) {
        Ok(events) => Summary::read(BufReader::new(events))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Summary::default(),
        Err(error) => return Err(error),
    };
    Ok(ClaudeOutcome {
        verdict: Verdict::of(&summary, end),
        summary,
    })
}

/// From the session that came home; where none did, from the events.
fn write_transcript(dir: &Path, session: Option<&str>) -> io::Result<()> {
    use transcript::TranscriptError::{Io, NoSession};
    let create = || File::create(dir.join(TRANSCRIPT)).map(BufWriter::new);
    let sessions = dir.join(SESSIONS);
    let written = match session {
        Some(session) => transcript::write(&sessions, session, create()?),
        None => Err(NoSession(String::new())),
    };
    match written {
        Ok(_) => Ok(()),
        Err(Io(error)) => Err(error),
        Err(NoSession(_)) => {
            let events = BufReader::new(fs::File::open(dir.join(EVENTS))?);
            let mut out = create()?;
            transcript::write_from_events(events, &mut out)?;
            out.flush()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_printed_becomes_events_a_transcript_and_a_verdict() {
        let dir = tempfile::tempdir().unwrap();
        let events = "{\"type\":\"assistant\",\"session_id\":\"s\",\"message\":{\"id\":\"m\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]}}\n\
            {\"type\":\"result\",\"subtype\":\"success\",\"result\":\"Hi\",\"num_turns\":1}\n{\"type\":\"assi";
        fs::write(dir.path().join("stdout"), events).unwrap();
        let outcome = settle(dir.path(), End::Exited(0)).unwrap();
        assert_eq!(outcome.verdict, Verdict::Done);
        assert_eq!(outcome.summary.torn, 1);
        assert!(!dir.path().join("stdout").exists());
        assert_eq!(fs::read_to_string(dir.path().join(EVENTS)).unwrap(), events);
        assert_eq!(fs::read_to_string(dir.path().join(RESPONSE)).unwrap(), "Hi");
        let transcript = fs::read(dir.path().join(TRANSCRIPT)).unwrap();
        let transcript: serde_json::Value = serde_json::from_slice(&transcript).unwrap();
        assert_eq!(transcript.as_array().unwrap().len(), 1);
        let verdict = fs::read(dir.path().join(VERDICT)).unwrap();
        let verdict: serde_json::Value = serde_json::from_slice(&verdict).unwrap();
        assert_eq!(
            (&verdict["verdict"], &verdict["turns"]),
            (&"done".into(), &1.into())
        );
        let again = read(dir.path(), End::Deadline).unwrap();
        assert_eq!(again.verdict, Verdict::Deadline);
    }

    #[test]
    fn one_that_never_spoke_has_an_empty_transcript() {
        let dir = tempfile::tempdir().unwrap();
        let outcome = settle(dir.path(), End::NotStarted).unwrap();
        assert_eq!(outcome.verdict, Verdict::Error);
        let transcript = fs::read(dir.path().join(TRANSCRIPT)).unwrap();
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&transcript).unwrap(),
            serde_json::json!([])
        );
    }
}
