//! Counts the lines of a file in a container, edits the file, and counts again.
//!
//!     cargo run --package sortie --example cloud_run_job -- FILE
#![expect(clippy::print_stdout, reason = "an example shows its results")]

use std::time::Duration;

use sortie::{CloudRunJob, CloudRunJobConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args_os()
        .nth(1)
        .ok_or("usage: cloud_run_job FILE")?;
    let mut job = CloudRunJob::new(CloudRunJobConfig::default()).await?;
    job.send_inputs([("text", &file)])?;
    for _ in 0..2 {
        let command = "wc -l < input/text | tee output/lines.txt";
        let result = job.run(command, Some(Duration::from_mins(1))).await?;
        let lines = std::fs::read_to_string(job.receive_outputs()?.join("lines.txt"))?;
        println!("exit code {}, lines {}", result.returncode, lines.trim());
        let mut text = std::fs::read(&file)?;
        text.extend_from_slice(b"one more line\n");
        std::fs::write(&file, text)?;
    }
    Ok(())
}
