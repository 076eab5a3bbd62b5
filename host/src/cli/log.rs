//! `SORTIE_LOG`: what sortie tries, waits for and passes over, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::error::Error;
use crate::settings::Environment;

/// The variable: `debug`, or directives such as `sortie=debug,wire=trace`.
const VARIABLE: &str = "SORTIE_LOG";

/// Begins to write, where somebody wants to read.
pub(super) fn start(env: &Environment) -> Result<(), Error> {
    let Some(text) = env.text(VARIABLE) else {
        return Ok(());
    };
    let filter = EnvFilter::builder().parse(&text).map_err(|error| {
        Error::local(format!("cannot use `{VARIABLE}={text}`"), error)
            .with_hint(format!("write it like `{VARIABLE}=debug`"))
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Whoever reads no more is not told so, which would end us.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .finish();
    // Fails only where there is one already, which is as good.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}
