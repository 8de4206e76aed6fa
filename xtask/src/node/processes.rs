//! What the system says about a process.

use std::fs;

use anyhow::Context;

/// Memory that a process has resident, in bytes: its own, without pages of files.
pub(crate) fn anonymous_bytes(process: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    field_bytes(&status, "RssAnon:").with_context(|| format!("{path} has no RssAnon"))
}

fn field_bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_in_bytes() {
        let status = "Name:\tnode\nVmRSS:\t    9 kB\nRssAnon:\t    3 kB\n";
        assert_eq!(field_bytes(status, "RssAnon:"), Some(3072));
        assert_eq!(field_bytes(status, "RssFile:"), None);
        assert!(anonymous_bytes(std::process::id()).unwrap() > 0);
    }
}
