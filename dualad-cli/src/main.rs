//! The program `dualad`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dualad_cli::main()
}
