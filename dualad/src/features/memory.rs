//! The memory that features may take.

/// Returns half of the available memory in bytes, or 4 GiB if the system does not tell it: 1 GiB in WebAssembly, whose memory has 4.
pub(crate) fn memory_budget() -> u64 {
    const UNKNOWN: u64 = if cfg!(target_family = "wasm") { 1 << 30 } else { 4 << 30 };
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.map_or(UNKNOWN, |kilobytes| kilobytes.saturating_mul(1024) / 2)
}
