//! `sortie report`: one HTML page about a run.

use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::arguments::PlaceArguments;
use super::coming_back::{find, interruptible};
use super::human;
use crate::error::Error;
use crate::event::{Event, Reporter};
use crate::exit_code;
use crate::report::{Gathered, gather, write};
use crate::settings::Environment;

#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    /// The run: in full, by a unique beginning, or by its last eight characters.
    #[arg(value_name = "RUN")]
    run: String,

    /// Where the page goes [default: sortie-RUN.html]; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    place: PlaceArguments,
}

/// Writes the page.
pub(super) fn report(arguments: ReportArguments, env: &Environment) -> Result<i32, Error> {
    interruptible(async {
        let mut opened = find(&arguments.run, arguments.place, env).await?;
        opened.take_no_task()?;
        let (session, run) = (&opened.session, opened.run);
        let mut warnings = Warnings;
        let gathered = gather(session, run, opened.remembered(), &mut warnings).await?;
        let file = arguments
            .output
            .unwrap_or_else(|| PathBuf::from(format!("sortie-{run}.html")));
        let written = if file == Path::new("-") {
            write(BufWriter::new(io::stdout().lock()), &gathered)
        } else {
            write_file(&file, &gathered)
        };
        written
            .map_err(|error| Error::local(format!("cannot write `{}`", file.display()), error))?;
        if file != Path::new("-") {
            human::say(&format!("report: {}", file.display()));
        }
        Ok(exit_code::SUCCESS)
    })
}

/// Beside its place, and renamed into it.
fn write_file(file: &Path, gathered: &Gathered) -> io::Result<()> {
    let parent = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    let mut beside = tempfile::Builder::new()
        .prefix(".sortie-report-")
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(parent.unwrap_or(Path::new(".")))?;
    let mut out = BufWriter::new(&mut beside);
    write(&mut out, gathered)?;
    out.flush()?;
    drop(out);
    beside.as_file().sync_all()?;
    beside.persist(file)?;
    Ok(())
}

/// Tells what is odd, and nothing else: standard output may be the page's.
struct Warnings;

impl Reporter for Warnings {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Warning(text) = event {
            human::say(&format!("warning: {text}"));
        }
    }
}
