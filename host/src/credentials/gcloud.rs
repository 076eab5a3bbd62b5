//! Tokens by the Google Cloud CLI, which knows kinds of credentials that sortie does not: workload identity federation,
//! logins of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use tokio::process::Command;
use wire::token::{Token, TokenError};

use super::failure;

/// gcloud does not say when its token ends. Of application default credentials it makes a new one, of an hour, whenever
/// it is asked; a cautious half.
const NEW: Duration = Duration::from_mins(30);

/// Of who has logged in to it, it prints the one it has until five minutes before its end.
const KEPT: Duration = Duration::from_secs(270);

/// What it says, among much else, where the network is to blame.
const AWAY: &[&str] = &[
    "connection",
    "max retries exceeded",
    "name resolution",
    "network is unreachable",
    "timed out",
    "unable to find the server",
    "502",
    "503",
];

/// An answer is worth no more.
const WORDS: usize = 300;

/// Whose token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Print {
    /// Of who has logged in to gcloud.
    Own,
    /// Of the application default credentials.
    Default(&'static str),
}

/// The Google Cloud CLI.
#[derive(Debug)]
pub(super) struct Gcloud {
    program: PathBuf,
    print: Print,
}

/// For a file of a kind that gcloud alone understands.
pub(super) fn for_file(
    program: Option<&Path>,
    file: &Path,
    kind: &'static str,
) -> Result<Gcloud, TokenError> {
    match program {
        Some(program) => Ok(Gcloud::new(program, Print::Default(kind))),
        None => Err(TokenError {
            hint: Some("install the Google Cloud CLI, so that `gcloud auth application-default print-access-token` works".to_owned()),
            source: Some("gcloud is not on the `PATH`".into()),
            ..failure(format!("the credentials `{}` are of the kind `{kind}`, which takes gcloud", file.display()))
        }),
    }
}

impl Gcloud {
    pub(super) fn new(program: &Path, print: Print) -> Self {
        Self {
            program: program.to_owned(),
            print,
        }
    }

    pub(super) async fn token(&self) -> Result<Token, TokenError> {
        let words: &[&str] = match self.print {
            Print::Own => &["auth", "print-access-token", "--quiet"],
            Print::Default(_) => &[
                "auth",
                "application-default",
                "print-access-token",
                "--quiet",
            ],
        };
        let asked_at = SystemTime::now();
        let said = self.run(words).await?;
        let is_token = !said.is_empty() && said.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_token {
            return Err(TokenError {
                hint: Some(self.hint().to_owned()),
                ..failure(format!("`gcloud {}` printed no token", words.join(" ")))
            });
        }
        let lasts = match self.print {
            Print::Own => KEPT,
            Print::Default(_) => NEW,
        };
        Ok(Token::new(said, asked_at.checked_add(lasts)))
    }

    /// Who it says it is.
    pub(super) async fn identity(&self) -> String {
        match self.print {
            Print::Default(kind) => format!("credentials of the kind `{kind}`, by gcloud"),
            Print::Own => {
                let asked = self
                    .run(&["config", "get-value", "account", "--quiet"])
                    .await;
                match asked.ok().filter(|account| !account.is_empty()) {
                    Some(account) => format!("`{account}`, by gcloud"),
                    None => "who is logged in to gcloud".to_owned(),
                }
            }
        }
    }

    async fn run(&self, words: &[&str]) -> Result<String, TokenError> {
        let done = Command::new(&self.program)
            .args(words)
            .stdin(Stdio::null())
            // A Ctrl-C means the run, whose cancel takes a token.
            .process_group(0)
            .kill_on_drop(true)
            .output()
            .await;
        let output = done.map_err(|error| TokenError {
            hint: Some("`gcloud --version` tells what is wrong with it".to_owned()),
            source: Some(error.into()),
            ..failure(format!("cannot run `{}`", self.program.display()))
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        Err(TokenError {
            hint: Some(self.hint().to_owned()),
            transient: AWAY.iter().any(|words| said.contains(words)),
            source: Some(last_words(&output.stderr).into()),
            ..failure(format!("`gcloud {}` failed", words.join(" ")))
        })
    }

    fn hint(&self) -> &'static str {
        match self.print {
            Print::Own => "log in: `gcloud auth application-default login`",
            Print::Default(_) => {
                "`gcloud auth application-default print-access-token` must print a token: its own words say what is missing"
            }
        }
    }
}

/// gcloud begins what matters with `ERROR:`, and goes on at length.
fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.clone().find(|line| line.starts_with("ERROR:"));
    let line = line.or_else(|| lines.next()).unwrap_or("it says nothing");
    line.chars().take(WORDS).collect()
}
