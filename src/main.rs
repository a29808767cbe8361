//! `ecar-sms`: arguments in, exit code out. The library holds everything else.

use std::process::ExitCode;

fn main() -> ExitCode {
    ecar_sms::cli::main()
}
