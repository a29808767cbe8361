//! What the kernel says about processes: CPU and memory, from /proc; and the clock that all processes here share.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds of one tick in /proc/PID/stat; 100 a second on every Linux that we know.
const TICK_US: f64 = 10_000.0;

/// Microseconds since 1970.
pub fn now_us() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// The numbers of /proc/PID/stat after the name; the first is the parent's id.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = text.rsplit_once(") ")?.1;
    Some(rest.split(' ').skip(1).map(|word| word.parse().unwrap_or(0)).collect())
}

/// CPU of a process until now, in microseconds; 0 when it is gone.
pub fn cpu_us(pid: u32) -> f64 {
    // utime and stime.
    stat(pid).map_or(0.0, |numbers| (numbers[10] + numbers[11]) as f64 * TICK_US)
}

/// The same of its first thread, by the scheduler's clock: for what takes less than a tick.
pub fn ran_us(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse::<f64>().ok()).map_or(0.0, |ns| ns / 1_000.0)
}

/// CPU of a server until now: the process, its children, and those of them that have ended.
pub fn family_cpu_us(parent: u32) -> f64 {
    let ended = stat(parent).map_or(0.0, |numbers| (numbers[12] + numbers[13]) as f64 * TICK_US);
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let children = pids.filter(|pid| stat(*pid).is_some_and(|numbers| numbers[0] == u64::from(parent)));
    cpu_us(parent) + ended + children.map(cpu_us).sum::<f64>()
}

/// A line of /proc/PID/status in MiB: `VmRSS` is resident now, `VmHWM` at most so far.
pub fn memory_mib(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib: Option<f64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// The machine, and whether somebody else is at work on it.
pub fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("({processors} processors; load before this: {load})")
}
