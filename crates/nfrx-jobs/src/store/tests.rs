//! The steps of the store, on the disk and in memory alike.

mod model;

use std::sync::Arc;

use super::*;
use crate::job::tests::order;

const NOW: Millis = Millis(1_000_000);

fn new_job(id: &str, order: Order) -> NewJob {
    NewJob { id: id.to_owned(), order, once: None, queue_max: 1000, now: NOW }
}

fn seeker() -> Seeker {
    Seeker { lease: Millis(1000), ..Seeker::default() }
}

async fn create(store: &dyn Store, id: &str, order: Order) {
    let created = store.create(new_job(id, order)).await.expect("the store works");
    assert!(matches!(created, Created::New(_)), "{created:?}");
}

async fn claim(store: &dyn Store, seeker: Seeker) -> Option<String> {
    let job = store.claim(Arc::new(seeker), "t".to_owned(), NOW).await.expect("the store works");
    job.map(|job| job.id)
}

/// Runs a test on both.
async fn both(test: impl AsyncFn(&dyn Store)) {
    test(&Engine::in_memory().expect("memory")).await;
    let folder = tempfile::tempdir().expect("a folder");
    test(&Engine::durable(folder.path()).expect("a folder that can be written")).await;
}

#[tokio::test]
async fn jobs_are_given_in_their_order_to_whom_they_suit() {
    both(async |store| {
        create(store, "1", order("a")).await;
        create(store, "2", Order { worker_id: "w".to_owned(), ..order("a") }).await;
        create(store, "3", Order { worker_group: "g".to_owned(), ..order("b") }).await;
        create(store, "4", Order { priority: 5, ..order("b") }).await;
        create(store, "5", Order { labels: vec!["vram>=16".to_owned()], ..order("c") }).await;
        assert_eq!(store.position("1".to_owned()).await.expect("works"), Some(2));
        let kind = |kind: &str| Seeker { kinds: vec![kind.to_owned()], ..seeker() };
        assert_eq!(claim(store, kind("x")).await, None);
        assert_eq!(claim(store, seeker()).await.as_deref(), Some("4"));
        let own = Seeker { worker_id: "w".to_owned(), kinds: vec!["a".to_owned()], ..seeker() };
        assert_eq!(claim(store, own.clone()).await.as_deref(), Some("1"));
        assert_eq!(claim(store, kind("a")).await, None);
        assert_eq!(claim(store, own).await.as_deref(), Some("2"));
        assert_eq!(claim(store, kind("c")).await, None);
        let strong = Seeker { labels: vec!["vram=24".to_owned()], ..kind("c") };
        assert_eq!(claim(store, strong).await.as_deref(), Some("5"));
        let group = Seeker { worker_group: "g".to_owned(), ..seeker() };
        create(store, "6", Order { priority: 5, ..order("d") }).await;
        // Seen to fail: with the oldest of a worker's own and everybody's jobs, whatever its priority.
        assert_eq!(claim(store, group.clone()).await.as_deref(), Some("6"));
        assert_eq!(claim(store, group).await.as_deref(), Some("3"));
    })
    .await;
}

#[tokio::test]
async fn a_key_makes_one_job() {
    both(async |store| {
        let once = |digest: &str| Some(Once { key: "k".to_owned(), digest: digest.to_owned() });
        let make = async |id: &str, digest: &str| {
            let new = NewJob { once: once(digest), ..new_job(id, order("a")) };
            store.create(new).await.expect("works")
        };
        assert!(matches!(make("1", "x").await, Created::New(_)));
        // Seen to fail: without the look at known keys.
        assert!(matches!(make("2", "x").await, Created::Same(job) if job.id == "1"));
        assert_eq!(make("3", "y").await, Created::Conflict);
    })
    .await;
}

#[tokio::test]
async fn a_full_queue_takes_nothing() {
    both(async |store| {
        let make = async |id: &str| {
            store.create(NewJob { queue_max: 2, ..new_job(id, order("a")) }).await.expect("works")
        };
        assert!(matches!((make("1").await, make("2").await), (Created::New(_), Created::New(_))));
        assert_eq!(make("3").await, Created::Full);
        assert!(claim(store, seeker()).await.is_some());
        assert!(matches!(make("4").await, Created::New(_)));
    })
    .await;
}

#[tokio::test]
async fn time_ends_leases_and_forgets_what_ended_long_ago() {
    both(async |store| {
        let retention = Retention { done: Millis(5000), failed: Millis(9000) };
        create(store, "1", order("a")).await;
        create(store, "2", Order { not_before: Some(Millis(NOW.0 + 500)), ..order("b") }).await;
        assert_eq!(claim(store, seeker()).await.as_deref(), Some("1"));
        assert_eq!(claim(store, seeker()).await, None);
        let swept = store.sweep(retention, Millis(NOW.0 + 1000)).await.expect("works");
        let mut ids: Vec<_> = swept.changed.iter().map(|changed| changed.job.id.as_str()).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["1", "2"]);
        assert_eq!(claim(store, seeker()).await.as_deref(), Some("1"));
        let step = Step { id: "2".to_owned(), change: Change::Cancel, worker: None, owner: None, now: NOW };
        store.change(step).await.expect("works").expect("allowed");
        let early = store.sweep(retention, Millis(NOW.0 + 500)).await.expect("works");
        assert!(early.forgotten.is_empty());
        let late = store.sweep(retention, Millis(NOW.0 + 5000)).await.expect("works");
        assert_eq!(late.forgotten, ["2"]);
        assert!(store.get("2".to_owned()).await.expect("works").is_none());
    })
    .await;
}

#[tokio::test]
async fn the_list_is_filtered_and_read_in_parts() {
    both(async |store| {
        for number in 0..5 {
            let tags = vec![if number % 2 == 0 { "even" } else { "odd" }.to_owned()];
            create(store, &number.to_string(), Order { tags, ..order("a") }).await;
        }
        let ids = |page: &Page| page.jobs.iter().map(|job| job.id.clone()).collect::<Vec<_>>();
        let filter = Filter { tag: Some("even".to_owned()), limit: 2, ..Filter::default() };
        let first = store.list(filter.clone()).await.expect("works");
        assert_eq!(ids(&first), ["4", "2"]);
        let rest = store.list(Filter { before: first.next, ..filter }).await.expect("works");
        assert_eq!((ids(&rest), rest.next), (vec!["0".to_owned()], None));
        let none = Filter { status: Some(Status::Running), limit: 9, ..Filter::default() };
        assert!(store.list(none).await.expect("works").jobs.is_empty());
        let tag = Filter { tag: Some("eve".to_owned()), limit: 9, ..Filter::default() };
        assert!(store.list(tag).await.expect("works").jobs.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_was_answered_is_there_after_the_process_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Engine::durable(folder.path()).expect("a folder that can be written");
    create(&store, "1", order("a")).await;
    assert_eq!(claim(&store, seeker()).await.as_deref(), Some("1"));
    // Nothing is closed: the files are as a killed process leaves them, but for the lock.
    let copy = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let entry = entry.expect("a file");
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("a copy");
    }
    let second = Engine::durable(copy.path()).expect("the copy opens");
    let job = second.get("1".to_owned()).await.expect("works").expect("it was acknowledged");
    assert_eq!(job.status, Status::Claimed);
    let live = second.resume(Millis(60_000), Millis(NOW.0 + 5000)).await.expect("works");
    // Seen to fail: without the grace.
    assert_eq!(live[0].lease_until(), Some(Millis(NOW.0 + 6000)));
    let swept = second
        .sweep(Retention { done: Millis(1), failed: Millis(1) }, Millis(NOW.0 + 5500))
        .await
        .expect("works");
    assert!(swept.changed.is_empty(), "its worker has time to come back");
}

#[tokio::test]
async fn a_second_server_and_an_unwritable_folder_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let _first = Engine::durable(folder.path()).expect("a folder that can be written");
    let second = Engine::durable(folder.path()).err().expect("it is taken").to_string();
    assert!(second.contains("another server") && second.contains("NFRX_STATE_DIR"), "{second}");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let unwritable = Engine::durable(&file.join("jobs")).err().expect("no folder").to_string();
    assert!(unwritable.contains("NFRX_STATE_DIR") && unwritable.contains("JOBS_STORE"), "{unwritable}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let store = Engine::durable(&folder.path().join("jobs")).expect("a folder that can be written");
    create(&store, "1", order("a")).await;
    for entry in std::fs::read_dir(folder.path().join("jobs")).expect("a folder") {
        let entry = entry.expect("a file");
        let mode = entry.metadata().expect("it is there").permissions().mode() & 0o777;
        // Seen to fail: with the file left to SQLite.
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}
