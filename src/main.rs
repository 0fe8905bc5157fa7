//! `dots`: see `cli`.

fn main() -> std::process::ExitCode {
    dots::cli::main(dots::drivers::runtime::run)
}
