//! The program people type.

fn main() -> std::process::ExitCode {
    sortie::cli::main()
}
