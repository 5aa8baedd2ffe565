//! Which of a server's tools may be called: an allow-list, lists of single keys, and a mode
//! in which only tools pass that say they change nothing (decision 27).
//!
//! Here bodies are read whole, and judged as the most lenient reader would read them: what
//! two readers might read differently does not pass. A tool that may not be called is not
//! listed either.

mod answer;
mod guard;
mod judge;
mod listing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::joined::split;

pub(super) use guard::Guard;
pub(super) use judge::Members;

/// Tools of one server that are known not to change anything; more are not remembered.
const KNOWN_MAX: usize = 4096;

/// How often the agent asks a server for its tools at most.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// The rules of one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ToolPolicy {
    /// What everybody may call who has no list of their own; `None` for all.
    tools: Option<BTreeSet<String>>,
    /// What the keys of these names may call instead.
    by_key: BTreeMap<String, BTreeSet<String>>,
    read_only: bool,
    /// The rules of several servers that are one, by their names; then it has no others.
    joined: BTreeMap<String, ToolPolicy>,
}

impl ToolPolicy {
    /// With lists for single keys and none for the rest, the rest may call nothing.
    pub(crate) fn new(
        tools: Option<BTreeSet<String>>,
        by_key: BTreeMap<String, BTreeSet<String>>,
        read_only: bool,
    ) -> Self {
        let tools = tools.or_else(|| (!by_key.is_empty()).then(BTreeSet::new));
        Self { tools, by_key, read_only, joined: BTreeMap::new() }
    }

    /// The lists of these servers where they are one. Which of its tools change nothing, each
    /// is asked as itself: see [`ToolPolicy::without_lists`].
    pub(crate) fn joined(servers: BTreeMap<String, Self>) -> Self {
        Self { joined: servers, ..Self::default() }
    }

    /// What is left of it without its lists.
    pub(crate) fn without_lists(&self) -> Self {
        Self { read_only: self.read_only, ..Self::default() }
    }

    /// Whether everything passes.
    pub(crate) fn is_open(&self) -> bool {
        let has_list = |policy: &Self| policy.tools.is_some();
        !has_list(self) && !self.read_only && !self.joined.values().any(has_list)
    }

    /// Whether the lists have this tool for a caller with the key of this name.
    fn lists(&self, key: Option<&str>, tool: &str) -> bool {
        if !self.joined.is_empty() {
            let (server, tool) = split(tool).unwrap_or_default();
            return self.joined.get(server).is_some_and(|policy| policy.lists(key, tool));
        }
        let own = key.and_then(|key| self.by_key.get(key));
        own.or(self.tools.as_ref()).is_none_or(|tools| tools.contains(tool))
    }
}

/// The policy of a server, and what was learned of its tools.
struct Rules {
    policy: ToolPolicy,
    /// The tools that say they change nothing.
    harmless: Mutex<BTreeSet<String>>,
    /// When the server was asked for its tools last, by the agent itself.
    asked: Mutex<Option<Instant>>,
}

impl Rules {
    fn new(policy: ToolPolicy) -> Self {
        Self { policy, harmless: Mutex::default(), asked: Mutex::default() }
    }

    /// Whether a caller may call this tool.
    fn allow(&self, key: Option<&str>, tool: &str) -> bool {
        let harmless = || self.harmless.lock().unwrap_or_else(PoisonError::into_inner).contains(tool);
        self.policy.lists(key, tool) && (!self.policy.read_only || harmless())
    }

    /// Whether the server may be asked for its tools now. Who calls what is closed must not
    /// make the agent ask again and again.
    fn may_ask(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let may = asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY);
        if may {
            *asked = Some(Instant::now());
        }
        may
    }

    /// Notes what a server says of a tool of its own.
    fn learn(&self, tool: &str, harmless: bool) {
        if !self.policy.read_only {
            return;
        }
        let mut known = self.harmless.lock().unwrap_or_else(PoisonError::into_inner);
        if !harmless {
            known.remove(tool);
        } else if known.len() < KNOWN_MAX {
            known.insert(tool.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(tools: &str) -> BTreeSet<String> {
        tools.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_key_has_its_own_list_or_that_of_all() {
        let by_key = BTreeMap::from([("ann".to_owned(), set("write"))]);
        let policy = ToolPolicy::new(Some(set("read")), by_key.clone(), false);
        assert!(policy.lists(None, "read") && !policy.lists(None, "write"));
        assert!(policy.lists(Some("ann"), "write") && !policy.lists(Some("ann"), "read"));
        assert!(policy.lists(Some("ben"), "read") && !policy.is_open());
        // Seen to fail: with everything open to keys without a list.
        let policy = ToolPolicy::new(None, by_key, false);
        assert!(!policy.lists(Some("ben"), "read") && !policy.lists(None, "write"));
        assert!(ToolPolicy::default().is_open() && ToolPolicy::default().lists(None, "any"));
    }

    #[test]
    fn read_only_passes_what_is_known_to_change_nothing() {
        let rules = Rules::new(ToolPolicy::new(None, BTreeMap::new(), true));
        assert!(!rules.allow(None, "look"), "nothing is known of it");
        rules.learn("look", true);
        rules.learn("erase", false);
        assert!(rules.allow(None, "look") && !rules.allow(None, "erase"));
        rules.learn("look", false);
        assert!(!rules.allow(None, "look"), "it has changed its mind");
    }
}
