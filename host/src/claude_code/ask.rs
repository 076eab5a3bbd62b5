//! What a run of Claude Code is asked, as a task.

use std::path::Path;

use claude::{Invocation, Options};
use wire::contract::{ByteString, Collect, Command, PreparedFile, Spec};

use super::KEY;
use crate::error::Error;
use crate::request::Work;
use crate::stage::InputSource;

/// An input of this name is the CLI's own directory.
const CONFIG_INPUT: &str = ".claude";

/// What the collected sessions are called at home.
pub(super) const SESSIONS: &str = "sessions";

/// Where the CLI keeps what logs its user in.
const CREDENTIALS: &str = ".credentials.json";

/// Other variables by which the CLI may know its user, where one of them is a secret of the task.
const OTHER_KEYS: [&str; 2] = ["ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"];

/// What a run of Claude Code is asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    /// The prompt.
    pub(crate) prompt: Vec<u8>,
    /// How.
    pub(crate) options: Options,
    /// What lies under `input/`; `.claude` is the CLI's own directory.
    pub(crate) inputs: Vec<InputSource>,
    /// Variables whose values are secrets.
    pub(crate) secrets: Vec<String>,
}

impl Ask {
    /// As a task: argv, files and standard input, and no shell in between.
    pub(crate) fn into_work(mut self) -> Result<Work, Error> {
        let config = self.inputs.iter().find(|i| i.name == CONFIG_INPUT.into());
        if let Some(config) = config {
            refuse_credentials(&config.path)?;
            self.options.config_dir = format!("input/{CONFIG_INPUT}");
        }
        self.options.session_id = Some(uuid::Uuid::new_v4().to_string());
        let invocation = self.options.invocation(&self.prompt);
        let invocation = invocation.map_err(|why| Error::usage(why.to_string()))?;
        let mut work = Work::new(spec(invocation));
        work.claude = true;
        work.inputs = self.inputs;
        work.secrets = self.secrets;
        if !work
            .secrets
            .iter()
            .any(|name| OTHER_KEYS.contains(&&**name))
        {
            work.secrets.push(KEY.to_owned());
        }
        Ok(work)
    }
}

fn spec(invocation: Invocation) -> Spec {
    let argv = invocation.argv.into_iter().map(ByteString);
    let mut spec = Spec::new(Command::Argv(argv.collect()));
    let text = |(name, value): (String, String)| (name, ByteString::from(value));
    spec.env = invocation.env.into_iter().map(text).collect();
    spec.workspace_env = invocation.workspace_env.into_iter().map(text).collect();
    spec.stdin = Some(ByteString(invocation.stdin));
    let file = |file: claude::PreparedFile| PreparedFile {
        path: file.path.into(),
        content: ByteString(file.content),
    };
    spec.files = invocation.files.into_iter().map(file).collect();
    // All else in the CLI's directory may hold credentials.
    spec.collect = vec![Collect {
        path: invocation.projects.into(),
        name: SESSIONS.into(),
    }];
    let timeout = claude::DEFAULT_TIMEOUT.as_millis();
    spec.timeout_ms = u64::try_from(timeout).ok();
    spec
}

/// What of a configuration directory is the user's own: credentials, and what was said to every project.
const PRIVATE: &[&str] = &[CREDENTIALS, ".claude.json", "projects", "history.jsonl"];

/// What is sent lies in the bucket, for the team to read.
fn refuse_credentials(directory: &Path) -> Result<(), Error> {
    let ignored = fs_err::read_to_string(directory.join(".sortieignore")).unwrap_or_default();
    let is_ignored = |name: &str| {
        let means = |line: &str| line.trim().trim_matches('/') == name;
        let last = ignored
            .lines()
            .rfind(|line| means(line.trim_start_matches('!')));
        last.is_some_and(|line| !line.starts_with('!'))
    };
    let is_sent =
        |name: &&&str| fs_err::symlink_metadata(directory.join(name)).is_ok() && !is_ignored(name);
    let sent: Vec<&str> = PRIVATE.iter().filter(is_sent).copied().collect();
    if sent.is_empty() {
        return Ok(());
    }
    let shown = directory.display();
    Err(Error::usage(format!(
        "`{shown}` holds what is nobody else's: `{}` would be sent",
        sent.join("`, `")
    ))
    .with_hint(format!(
        "a line for each in `{shown}/.sortieignore` leaves them out: `{}`",
        sent.join("`, `")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(prompt: &str) -> Ask {
        Ask {
            prompt: prompt.into(),
            ..Ask::default()
        }
    }

    #[test]
    fn a_prompt_becomes_a_task_whose_key_is_a_secret() {
        let work = ask("do it").into_work().unwrap();
        assert!(work.claude);
        assert_eq!(work.secrets, [KEY]);
        assert_eq!(work.spec.timeout_ms, Some(300_000));
        assert_eq!(work.spec.collect[0].path, ".claude-config/projects".into());
        let Command::Argv(argv) = &work.spec.command else {
            panic!("a shell");
        };
        assert_eq!(argv[0], "claude".into());
        assert!(argv.contains(&"--session-id".into()));
        assert!(ask(" ").into_work().is_err());
    }

    #[test]
    fn another_secret_may_take_the_keys_place() {
        let mut other = ask("x");
        other.secrets = vec!["CLAUDE_CODE_OAUTH_TOKEN".to_owned()];
        assert_eq!(
            other.into_work().unwrap().secrets,
            ["CLAUDE_CODE_OAUTH_TOKEN"]
        );
    }

    #[test]
    fn a_directory_of_the_clis_own_is_where_it_works_and_never_with_credentials() {
        let dir = tempfile::tempdir().unwrap();
        let with_config = || Ask {
            inputs: vec![InputSource {
                name: ".claude".into(),
                path: dir.path().to_owned(),
            }],
            ..ask("x")
        };
        let spec = with_config().into_work().unwrap().spec;
        assert_eq!(
            spec.workspace_env["CLAUDE_CONFIG_DIR"],
            "input/.claude".into()
        );
        assert_eq!(spec.collect[0].path, "input/.claude/projects".into());
        std::fs::write(dir.path().join(CREDENTIALS), "{}").unwrap();
        let error = with_config().into_work().unwrap_err();
        assert!(error.to_string().contains(CREDENTIALS), "{error}");
        std::fs::write(dir.path().join(".sortieignore"), "/.credentials.json\n").unwrap();
        assert!(with_config().into_work().is_ok());
    }
}
