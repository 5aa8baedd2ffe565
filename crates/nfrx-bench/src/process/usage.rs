//! What processes used, from `/proc`: processor time since their start, and memory now.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// The sum over a process group.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time of all threads, ended ones included; counted in ticks of 10 ms.
    pub(crate) cpu: Duration,
    /// Resident memory in KiB.
    pub(crate) rss_kib: u64,
    /// How many processes there are.
    pub(crate) processes: usize,
}

impl Usage {
    /// What all processes of a group use.
    pub(crate) fn of_group(group: u32) -> Result<Self> {
        let mut sum = Self::default();
        for entry in fs::read_dir("/proc").context("cannot list processes")? {
            let name = entry.context("cannot list processes")?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // Any of them may end while we look.
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            let Some(stat) = Stat::parse(&stat) else { continue };
            if stat.group == group {
                sum.add(&stat, pid)?;
            }
        }
        Ok(sum)
    }

    /// What this very process uses.
    pub(crate) fn of_self() -> Result<Self> {
        let stat = fs::read_to_string("/proc/self/stat").context("cannot read our own usage")?;
        let stat = Stat::parse(&stat).context("cannot understand /proc/self/stat")?;
        let mut usage = Self::default();
        usage.add(&stat, std::process::id())?;
        Ok(usage)
    }

    fn add(&mut self, stat: &Stat, pid: u32) -> Result<()> {
        self.cpu += Duration::from_secs_f64(stat.ticks as f64 / ticks_per_second()? as f64);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        self.rss_kib += rss_kib(&status).unwrap_or_default();
        self.processes += 1;
        Ok(())
    }
}

/// The fields we read of `/proc/<pid>/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    group: u32,
    /// Of user and system time.
    ticks: u64,
}

impl Stat {
    /// The program's name, in parentheses, may contain anything; the fields follow the last one.
    fn parse(stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<_> = fields.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self { group: u32::try_from(number(2)?).ok()?, ticks: number(11)? + number(12)? })
    }
}

fn rss_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The unit of times in `/proc`, which the kernel tells each process at its start.
pub(crate) fn ticks_per_second() -> Result<u64> {
    const AT_CLKTCK: usize = 17;
    let auxv = fs::read("/proc/self/auxv").context("cannot read the kernel's clock tick")?;
    let (words, _) = auxv.as_chunks::<{ size_of::<usize>() }>();
    let (pairs, _) = words.as_chunks::<2>();
    let found = pairs.iter().find(|[key, _]| usize::from_ne_bytes(*key) == AT_CLKTCK);
    let [_, ticks] = found.context("the kernel tells no clock tick")?;
    Ok(usize::from_ne_bytes(*ticks) as u64)
}

#[cfg(test)]
mod tests {
    use super::{Stat, Usage, rss_kib, ticks_per_second};

    #[test]
    fn a_program_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "12 (a) b) (c) S 1 34 34 0 -1 4194560 1 0 0 0 250 50 7 7 20 0 3 0 99 1 2 3";
        // Seen to fail: with the first parenthesis taken for the last.
        assert_eq!(Stat::parse(stat), Some(Stat { group: 34, ticks: 300 }));
        assert_eq!(Stat::parse("12 (a"), None);
    }

    #[test]
    fn resident_memory_is_found_among_the_lines() {
        assert_eq!(rss_kib("Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t    1234 kB\n"), Some(1234));
        assert_eq!(rss_kib("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn we_use_memory_and_the_kernel_ticks() {
        let usage = Usage::of_self().unwrap();
        assert!(usage.rss_kib > 0 && usage.processes == 1);
        assert!(ticks_per_second().unwrap() > 0);
    }
}
