//! The rules of a job, one by one.

use super::*;

/// An order with nothing special about it.
pub(crate) fn order(kind: &str) -> Order {
    Order {
        kind: kind.to_owned(),
        metadata: None,
        worker_id: String::new(),
        worker_group: String::new(),
        labels: Vec::new(),
        tags: Vec::new(),
        priority: 0,
        not_before: None,
        expires_at: None,
        max_attempts: 3,
        retry_delay: None,
        keep: false,
        payload_keys: Vec::new(),
        owner: None,
    }
}

const LEASE: Millis = Millis(1000);

fn claim(job: &mut Job, token: &str, now: u64) -> Result<Outcome, Refused> {
    let (worker_id, worker_group) = ("w1".to_owned(), String::new());
    let change = Change::Claim { worker_id, worker_group, token: token.to_owned(), lease: LEASE };
    job.apply(change, Proof::None, Millis(now))
}

fn report(job: &mut Job, token: Option<&str>, state: Status, now: u64) -> Result<Outcome, Refused> {
    job.apply(Change::Report { state, progress: None, error: None }, Proof::Worker(token), Millis(now))
}

fn claimed(token: &str) -> Job {
    let mut job = Job::new("j".to_owned(), order("a"), Millis(0));
    claim(&mut job, token, 10).expect("a queued job can be claimed");
    job
}

#[test]
fn a_job_is_claimed_once_and_ends_once() {
    let mut job = claimed("t1");
    assert_eq!(claim(&mut job, "t2", 11), Err(Refused::InvalidState));
    assert_eq!(report(&mut job, None, Status::Running, 12), Ok(Outcome::Changed));
    assert_eq!(report(&mut job, None, Status::Completed, 13), Ok(Outcome::Changed));
    assert_eq!((job.status, job.finished_at, job.revision), (Status::Completed, Some(Millis(13)), 4));
    for state in Status::ALL {
        // Seen to fail: without the question whether a worker has the job.
        assert_eq!(report(&mut job, None, state, 14), Err(Refused::InvalidState));
    }
    assert_eq!(job.apply(Change::Cancel, Proof::None, Millis(15)), Ok(Outcome::Unchanged));
}

#[test]
fn nobody_reports_of_a_queued_job() {
    let mut job = Job::new("j".to_owned(), order("a"), Millis(0));
    assert_eq!(report(&mut job, None, Status::Running, 1), Err(Refused::InvalidState));
}

#[test]
fn a_lease_that_runs_out_gives_the_job_to_another_and_locks_the_first_one_out() {
    let mut job = claimed("t1");
    assert_eq!(report(&mut job, Some("t1"), Status::Running, 500), Ok(Outcome::Changed));
    // Each word of the worker renews it.
    assert_eq!(job.apply(Change::Tick, Proof::None, Millis(1400)), Ok(Outcome::Unchanged));
    assert_eq!(job.apply(Change::Tick, Proof::None, Millis(1500)), Ok(Outcome::Changed));
    assert_eq!((job.status, job.attempt), (Status::Queued, 2));
    claim(&mut job, "t2", 1600).expect("it waits again");
    // Seen to fail: without the comparison of tokens.
    assert_eq!(report(&mut job, Some("t1"), Status::Completed, 1700), Err(Refused::ClaimLost));
    assert_eq!(report(&mut job, Some("t2"), Status::Running, 1800), Ok(Outcome::Changed));
    assert_eq!(report(&mut job, None, Status::Completed, 1900), Err(Refused::ClaimLost));
    assert_eq!(report(&mut job, Some("t2"), Status::Completed, 1900), Ok(Outcome::Changed));
}

#[test]
fn the_last_attempt_fails_with_its_lease() {
    let mut job = claimed("t");
    job.attempt = 3;
    assert_eq!(job.apply(Change::Tick, Proof::None, Millis(9999)), Ok(Outcome::Changed));
    let error = job.error.expect("it says why");
    assert_eq!((job.status, error.code.as_str()), (Status::Failed, "lease_expired"));
}

#[test]
fn a_failure_is_final_unless_the_job_asked_for_retries() {
    let mut job = claimed("t");
    report(&mut job, None, Status::Failed, 20).expect("allowed");
    assert_eq!(job.status, Status::Failed);

    let mut job = claimed("t");
    job.order.retry_delay = Some(Millis(1000));
    report(&mut job, None, Status::Failed, 20).expect("allowed");
    assert_eq!((job.status, job.attempt, job.ready_at), (Status::Queued, 2, Some(Millis(1020))));
    assert_eq!(claim(&mut job, "t2", 30), Err(Refused::InvalidState));
    assert_eq!(job.apply(Change::Tick, Proof::None, Millis(1020)), Ok(Outcome::Renewed));
    claim(&mut job, "t2", 1030).expect("its time has come");
    report(&mut job, None, Status::Failed, 1040).expect("allowed");
    // Twice the first wait.
    assert_eq!((job.attempt, job.ready_at), (3, Some(Millis(3040))));
    job.apply(Change::Tick, Proof::None, Millis(3040)).expect("time passes");
    claim(&mut job, "t3", 3050).expect("its time has come");
    report(&mut job, None, Status::Failed, 3060).expect("allowed");
    assert_eq!(job.status, Status::Failed);
}

#[test]
fn queued_from_its_worker_is_a_true_requeue() {
    let mut job = claimed("t1");
    report(&mut job, Some("t1"), Status::Queued, 20).expect("allowed");
    assert_eq!((job.status, &job.claim, job.attempt), (Status::Queued, &None, 1));
    claim(&mut job, "t2", 30).expect("it waits again");
}

#[test]
fn an_undelivered_claim_goes_back_only_while_its_worker_is_silent() {
    let undelivered = |token: &str| Change::Undelivered { token: token.to_owned() };
    let mut job = claimed("t1");
    assert_eq!(job.apply(undelivered("t0"), Proof::None, Millis(20)), Err(Refused::InvalidState));
    assert_eq!(job.apply(undelivered("t1"), Proof::None, Millis(20)), Ok(Outcome::Changed));
    assert_eq!(job.status, Status::Queued);
    let mut job = claimed("t1");
    report(&mut job, None, Status::Running, 15).expect("allowed");
    assert_eq!(job.apply(undelivered("t1"), Proof::None, Millis(20)), Err(Refused::InvalidState));
}

#[test]
fn a_completed_job_has_no_old_error_and_progress_stays() {
    let mut job = claimed("t");
    let error = Some(JobError::new("soft", "again"));
    job.apply(Change::Report { state: Status::Running, progress: None, error }, Proof::None, Millis(20))
        .expect("allowed");
    report(&mut job, None, Status::Running, 21).expect("allowed");
    assert!(job.error.is_some());
    report(&mut job, None, Status::Completed, 22).expect("allowed");
    assert_eq!(job.error, None);
}

#[test]
fn its_worker_learns_of_a_cancel_by_renewing() {
    let mut job = claimed("t");
    job.apply(Change::Cancel, Proof::None, Millis(20)).expect("allowed");
    let renew = job.apply(Change::Renew { lease: None }, Proof::Worker(Some("t")), Millis(21));
    assert_eq!((renew, job.status), (Ok(Outcome::Renewed), Status::Canceled));
    assert_eq!(report(&mut job, Some("t"), Status::Running, 22), Err(Refused::InvalidState));
}
