//! The program people type.

use std::process::ExitCode;

fn main() -> ExitCode {
    // What breaks down here, as for want of memory for a thread, must not look like a command's own code.
    let failure = u8::try_from(sortie::exit_code::FAILURE).unwrap_or(u8::MAX);
    std::panic::catch_unwind(sortie::cli::main).unwrap_or(ExitCode::from(failure))
}
