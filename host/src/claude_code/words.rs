//! What a program says of runs of Claude Code, and what it is told.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use claude::Verdict;
use serde_json::Value;

/// Where and how to run. What of the place is not set comes from `SORTIE_*`, `sortie.toml`, or is local mode.
#[derive(Debug, Clone)]
pub struct ClaudeCodeJobConfig {
    /// Google project.
    pub project_id: Option<String>,
    /// Bucket for files, with or without `gs://`.
    pub gcs_bucket: Option<String>,
    /// Region of the job.
    pub region: Option<String>,
    /// The team's environment: job, image, cpu and memory.
    pub environment: Option<String>,
    /// The job, instead of an environment's.
    pub job: Option<String>,
    /// The image, instead of the environment's.
    pub image: Option<String>,
    /// vCPUs, instead of the environment's: 1, 2, 4, 6 or 8.
    pub cpu: Option<String>,
    /// Memory, instead of the environment's: `4Gi`.
    pub memory: Option<String>,
    /// On this machine, whatever the settings say.
    pub local: bool,
    /// The model.
    pub model: String,
    /// A run ends after so many turns.
    pub max_turns: u32,
    /// A run ends after so long.
    pub timeout: Duration,
    /// Whether every tool may be used unasked.
    pub skip_permissions: bool,
    /// Tools that may be used unasked: `Read`, `Bash(git log:*)`.
    pub allowed_tools: Vec<String>,
    /// Tools that may not be used at all.
    pub disallowed_tools: Vec<String>,
    /// For every run. Readable in the bucket: no secrets.
    pub env: BTreeMap<String, String>,
    /// The key of the API on this machine, instead of `ANTHROPIC_API_KEY`; in a project it is the environment's secret.
    pub api_key: Option<ApiKey>,
    /// At most so many runs at once.
    pub max_workers: Option<u32>,
    /// Where results go, a directory for each run; default `sortie-results` in the working directory.
    pub output_dir: Option<PathBuf>,
}

impl Default for ClaudeCodeJobConfig {
    fn default() -> Self {
        Self {
            project_id: None,
            gcs_bucket: None,
            region: None,
            environment: None,
            job: None,
            image: None,
            cpu: None,
            memory: None,
            local: false,
            model: claude::DEFAULT_MODEL.to_owned(),
            max_turns: claude::DEFAULT_MAX_TURNS,
            timeout: claude::DEFAULT_TIMEOUT,
            skip_permissions: false,
            allowed_tools: Vec::new(),
            disallowed_tools: Vec::new(),
            env: BTreeMap::new(),
            api_key: None,
            max_workers: None,
            output_dir: None,
        }
    }
}

/// A key of the API, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl<T: Into<String>> From<T> for ApiKey {
    fn from(key: T) -> Self {
        Self(key.into())
    }
}

impl ApiKey {
    /// What must not be printed.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

/// A prompt and what goes with it.
#[derive(Debug, Clone)]
pub struct ClaudeCodeTask {
    /// Names its results.
    pub id: String,
    /// The prompt.
    pub task: String,
    /// What lies under `input/`; `.claude` is Claude Code's own directory, as `~/.claude` is.
    pub inputs: Vec<(String, PathBuf)>,
    /// In the place of Claude Code's own system prompt.
    pub system_prompt: Option<String>,
    /// Shell text before Claude Code.
    pub pre_claude_command: Option<String>,
    /// Shell text when Claude Code and all it started are gone.
    pub post_claude_command: Option<String>,
    /// Whether the latter's exit code is the run's.
    pub post_decides: bool,
    /// Inputs that only the latter sees.
    pub post_inputs: Vec<(String, PathBuf)>,
    /// Shell text to run as root before all else, where the image starts as root.
    pub root_setup_command: Option<String>,
    /// How many times.
    pub n: u32,
    /// Whether the prompt is preceded by where inputs are and outputs go.
    pub output_instructions: bool,
}

impl ClaudeCodeTask {
    /// A prompt alone, once.
    pub fn new(id: impl Into<String>, task: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            task: task.into(),
            inputs: Vec::new(),
            system_prompt: None,
            pre_claude_command: None,
            post_claude_command: None,
            post_decides: false,
            post_inputs: Vec::new(),
            root_setup_command: None,
            n: 1,
            output_instructions: true,
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct ClaudeCodeJobResult {
    /// The task's id.
    pub task: String,
    /// Which of its `n` runs, from 0.
    pub run_index: u32,
    /// The final answer; absent where the run was cut short.
    pub response: Option<String>,
    /// The conversation; a sub-agent's is `subagent_transcript` of its tool result.
    pub transcript: Vec<Value>,
    /// What it left in `output/`.
    pub output_dir: PathBuf,
    /// Claude Code's exit code, or the post command's if that decides; 124 its timeout, 125 sortie's own failure.
    pub returncode: i32,
    /// How long Claude Code took.
    pub duration: Duration,
    /// What the API cost, in US dollars, as Claude Code reckons.
    pub cost: Option<f64>,
    /// What Cloud Run bills, in US dollars by list prices; absent where nothing is billed.
    pub run_cost: Option<f64>,
    /// Turns of the conversation.
    pub turns: u64,
    /// What is to be thought of it.
    pub verdict: Verdict,
    /// Tools that were asked for and not allowed, and how often.
    pub denied_tools: BTreeMap<String, u64>,
    /// What went wrong.
    pub error: Option<String>,
    /// The run's name.
    pub run: String,
    /// Where all results are.
    pub directory: PathBuf,
}
