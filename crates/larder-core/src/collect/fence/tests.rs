use std::sync::Arc;

use super::*;

fn app() -> RepoName {
    "team/app".parse().unwrap()
}

fn link(content: &str) -> Thing {
    Thing::Link(app(), Digest::sha256(content.as_bytes()))
}

fn digest(content: &str) -> Digest {
    Digest::sha256(content.as_bytes())
}

/// Long enough that it doesn't end during a test.
const LONG: Duration = Duration::from_secs(3600);

/// A fence whose start was long ago.
fn settled(grace: Duration) -> Fence {
    let fence = Fence::new(grace);
    fence.lock().all_until = None;
    fence
}

#[test]
fn a_start_promises_everything_for_a_grace_time() {
    let fence = Fence::new(LONG);
    assert!(!fence.closing(false).close(link("a")));
    assert!(fence.all_promised_until().is_some());
    let settled = settled(LONG);
    assert!(settled.closing(false).close(link("a")));
    assert!(settled.all_promised_until().is_none());
}

#[test]
fn what_is_held_stays_whatever_it_is_taken_for() {
    let fence = settled(Duration::ZERO);
    let hold = fence.hold(vec![link("a"), Thing::Content(digest("a"))]);
    let second = fence.hold(vec![link("a")]);
    assert!(!fence.closing(true).close(link("a")));
    assert!(!fence.closing(true).close(Thing::Content(digest("a"))));
    drop(hold);
    assert!(!fence.closing(true).close(link("a")), "the second still holds it");
    drop(second);
    assert!(fence.closing(true).close(link("a")));
}

#[test]
fn a_promise_counts_for_a_grace_time_and_for_its_own_link() {
    let fence = settled(LONG);
    fence.promise(&app(), &digest("a"));
    assert!(!fence.closing(false).close(link("a")));
    assert!(fence.closing(false).close(link("b")));
    assert!(fence.closing(false).close(Thing::Link("other".parse().unwrap(), digest("a"))));
    assert!(fence.closing(true).close(link("a")), "an operator who doesn't wait breaks promises");
}

#[test]
fn a_promise_goes_on_while_somebody_is_at_work_but_not_beyond_a_day() {
    let (grace, now) = (Duration::from_secs(60), Instant::now() + 2 * LONGEST_PROMISE);
    let ago = |seconds| now - Duration::from_secs(seconds);
    assert!(counts(ago(59), ago(59), now, grace));
    assert!(!counts(ago(61), ago(61), now, grace));
    assert!(counts(ago(3 * 3600), ago(59), now, grace), "a push of three hours");
    assert!(!counts(ago(25 * 3600), ago(1), now, grace));
    let long_grace = 2 * LONGEST_PROMISE;
    assert!(counts(ago(25 * 3600), ago(25 * 3600), now, long_grace));
}

#[test]
fn too_many_promises_are_replaced_by_one_of_everything() {
    let fence = settled(LONG);
    fence.lock().promises = MOST_PROMISES;
    fence.promise(&app(), &digest("a"));
    assert!(!fence.closing(false).close(link("never promised")));
}

#[test]
fn ended_promises_are_forgotten() {
    let fence = settled(Duration::ZERO);
    fence.promise(&app(), &digest("a"));
    assert_eq!(fence.lock().promises, 1);
    fence.tidy();
    assert_eq!(fence.lock().promises, 0);
    assert!(fence.lock().promised.is_empty());
}

#[test]
fn whoever_comes_while_a_thing_is_taken_away_waits() {
    let fence = Arc::new(settled(Duration::ZERO));
    let closing = fence.closing(false);
    assert!(closing.close(link("a")));
    assert!(!fence.try_promise(&app(), &digest("a")), "that would take waiting");
    assert!(fence.try_promise(&app(), &digest("b")));
    let gone = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let waiter = std::thread::spawn({
        let (fence, gone) = (Arc::clone(&fence), Arc::clone(&gone));
        move || {
            let _hold = fence.hold(vec![link("a")]);
            assert!(gone.load(std::sync::atomic::Ordering::SeqCst), "held while it was taken away");
        }
    });
    std::thread::yield_now();
    gone.store(true, std::sync::atomic::Ordering::SeqCst);
    drop(closing);
    waiter.join().unwrap();
}
