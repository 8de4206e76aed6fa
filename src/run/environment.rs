//! What the machine was, for the report.

use std::collections::BTreeMap;
use std::fs;

/// Kernel, processors, memory and system, as far as they can be read.
pub(crate) fn describe() -> BTreeMap<String, String> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let field = |text: &str, name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|v| v.trim_matches([':', '=', ' ', '\t', '"']).to_owned())
    };
    let mut environment = BTreeMap::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            environment.insert(name.to_owned(), value);
        }
    };
    put("kernel", read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()));
    put("processor", read("/proc/cpuinfo").and_then(|text| field(&text, "model name")));
    put("processors", std::thread::available_parallelism().ok().map(|n| n.to_string()));
    put("memory", read("/proc/meminfo").and_then(|text| field(&text, "MemTotal")));
    put("system", read("/etc/os-release").and_then(|text| field(&text, "PRETTY_NAME")));
    put("load_average", read("/proc/loadavg").map(|text| text.trim().to_owned()));
    put("uid", Some(rustix::process::getuid().as_raw().to_string()));
    environment
}
