//! Gives Claude Code one prompt about a directory, then two more, and prints what they come to.
//!
//!     cargo run --package sortie --example claude_code_job -- DIRECTORY
#![expect(clippy::print_stdout, reason = "an example shows its results")]

use sortie::{ClaudeCodeJob, ClaudeCodeJobConfig, ClaudeCodeTask};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os()
        .nth(1)
        .ok_or("usage: claude_code_job DIRECTORY")?;
    let job = ClaudeCodeJob::new(ClaudeCodeJobConfig {
        allowed_tools: vec!["Bash(ls:*)".to_owned(), "Read".to_owned()],
        ..ClaudeCodeJobConfig::default()
    })
    .await?;

    let task = "List the files in input/repo and describe what this project does";
    let result = job.run(task, [("repo", &directory)]).await?;
    println!(
        "{}: {}, {} entries, code {}",
        result.verdict,
        result.response.unwrap_or_default(),
        result.transcript.len(),
        result.returncode
    );

    let twice = ClaudeCodeTask {
        n: 2,
        ..ClaudeCodeTask::new("joke", "Tell a joke")
    };
    let mut results = job.run_stream(vec![twice])?;
    let mut count = 0;
    while let Some(result) = results.next().await {
        let (_, result) = result?;
        count += usize::from(result.task == "joke" && result.run_index < 2);
    }
    println!("{count} jokes");
    Ok(())
}
