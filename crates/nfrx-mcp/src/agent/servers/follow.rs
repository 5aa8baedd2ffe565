//! Follows the file: what is new is served, what is gone is not, what stayed goes on.

use std::fs::Metadata;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::{ServerEntry, ServersError, ServersFile};
use crate::agent::joined::Joiner;
use crate::agent::service::{McpService, Served};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Makes what serves an entry.
pub(in crate::agent) type Serve = dyn Fn(&ServerEntry) -> Result<Served, String> + Send + Sync;

/// The servers that a file names, and what they are served by.
pub(in crate::agent) struct Follower {
    file: ServersFile,
    serve: Arc<Serve>,
    joiner: Option<Joiner>,
    stamp: Option<Stamp>,
    current: Vec<(ServerEntry, Served)>,
}

/// Changes when the file does.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { modified: metadata.modified().ok(), bytes: metadata.len() }
    }
}

impl Follower {
    /// Reads the file for the first time. Blocks.
    pub(in crate::agent) fn new(
        file: ServersFile,
        serve: Arc<Serve>,
        joiner: Option<Joiner>,
    ) -> Result<Self, ServersError> {
        let stamp = std::fs::metadata(file.path()).ok().as_ref().map(Stamp::of);
        let mut follower = Self { file, serve, joiner, stamp, current: Vec::new() };
        let entries = follower.file.read()?;
        follower.apply(entries)?;
        Ok(follower)
    }

    /// What is served now, and all of it as one, if that is wanted.
    pub(in crate::agent) fn served(&self) -> Vec<Served> {
        let joined = self.joiner.as_ref().map(|joiner| joiner.join(&self.current));
        self.current.iter().map(|(_, served)| served.clone()).chain(joined).collect()
    }

    /// Whether one of the servers is shared with other agents.
    pub(in crate::agent) fn has_replicas(&self) -> bool {
        self.current.iter().any(|(entry, _)| entry.replicas)
    }

    /// Looks at the file again and again, until it is dropped.
    pub(in crate::agent) async fn run(mut self, service: McpService) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let looking = tokio::task::spawn_blocking(move || {
                let result = self.look();
                (self, result)
            });
            let Ok((follower, result)) = looking.await else { return };
            self = follower;
            match result {
                Ok(false) => {}
                Ok(true) => {
                    info!(servers = self.current.len(), "the file of MCP servers changed");
                    service.set_servers(self.served());
                }
                Err(error) => warn!(%error, "the servers stay as they were"),
            }
        }
    }

    /// Whether the file had news. A file that is not there for a moment is being replaced.
    fn look(&mut self) -> Result<bool, ServersError> {
        let Ok(metadata) = std::fs::metadata(self.file.path()) else { return Ok(false) };
        let stamp = Some(Stamp::of(&metadata));
        if stamp == self.stamp {
            return Ok(false);
        }
        // Kept also when the file turns out to be broken: it is complained of once.
        self.stamp = stamp;
        let entries = self.file.read()?;
        self.apply(entries)
    }

    /// Serves these entries; tells whether anything changed. All or nothing.
    fn apply(&mut self, entries: Vec<ServerEntry>) -> Result<bool, ServersError> {
        if self.current.iter().map(|(entry, _)| entry).eq(&entries) {
            return Ok(false);
        }
        let mut next = Vec::with_capacity(entries.len());
        for entry in entries {
            // What stayed the same keeps its connections, and whatever else it has.
            let served = match self.current.iter().find(|(old, _)| *old == entry) {
                Some((_, served)) => served.clone(),
                None => (self.serve)(&entry)
                    .map_err(|problem| self.file.error(format!("`{}`: {problem}", entry.name)))?,
            };
            next.push((entry, served));
        }
        self.current = next;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::agent::upstream::Upstream;
    use crate::offer::ServerOffer;

    struct Nothing;

    impl Upstream for Nothing {
        fn handle(
            &self,
            _: http::Request<nfrx_spi::Body>,
        ) -> nfrx_spi::BoxFuture<'static, Result<http::Response<nfrx_spi::Body>, nfrx_spi::CallError>>
        {
            Box::pin(std::future::ready(Err(nfrx_spi::CallError::Refused)))
        }

        fn probe(&self) -> nfrx_spi::BoxFuture<'_, Result<(), String>> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    // Seen to fail: with every entry made anew, and with a broken file taken for an empty one.
    #[test]
    fn what_stayed_in_the_file_goes_on_and_a_broken_file_changes_nothing() {
        let path = std::env::temp_dir().join(format!("nfrx-mcp-servers-{}.json", std::process::id()));
        let write = |text: &str| std::fs::write(&path, text).expect("the temporary folder can be written");
        write(r#"{"mcpServers":{"a":{"url":"http://h/a"},"b":{"url":"http://h/b"}}}"#);
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let serve = move |entry: &ServerEntry| {
            count.fetch_add(1, Ordering::Relaxed);
            let offer = ServerOffer { id: entry.id.clone(), ..ServerOffer::default() };
            Ok(Served { offer, upstream: Arc::new(Nothing), bare: Arc::new(Nothing) })
        };
        let file = ServersFile::new(path.clone(), Some("den".to_owned()), false);
        let mut follower = Follower::new(file, Arc::new(serve), None).expect("a good file");
        let ids = |follower: &Follower| {
            follower.served().into_iter().map(|served| served.offer.id).collect::<Vec<_>>()
        };
        assert_eq!((ids(&follower), made.load(Ordering::Relaxed)), (vec!["den-a".into(), "den-b".into()], 2));
        assert!(!follower.look().expect("nothing new"));
        write(r#"{"mcpServers":{"b":{"url":"http://h/b"},"c":{"url":"http://h/long/c"}}}"#);
        assert!(follower.look().expect("a good file"));
        assert_eq!((ids(&follower), made.load(Ordering::Relaxed)), (vec!["den-b".into(), "den-c".into()], 3));
        write("{");
        assert!(follower.look().is_err());
        assert!(!follower.look().expect("told once"));
        assert_eq!(ids(&follower), ["den-b", "den-c"]);
        std::fs::remove_file(&path).expect("it is ours");
        assert!(!follower.look().expect("it is being replaced"));
    }
}
