//! `ecar-sms`: arguments in, exit code out. The library holds everything else.

use std::process::ExitCode;

/// Most of the daemon's work is small, short-lived allocations on two threads.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    ecar_sms::cli::main()
}
