//! The static binary inside an image.

fn main() -> std::process::ExitCode {
    entrypoint::main()
}
