use std::future::{Future as _, poll_fn};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use super::*;
use crate::passwords::flights::MOST_FLIGHTS;
use crate::passwords::memory::{LIFETIME, MOST_ENTRIES};
use crate::testing::{HandClock, Home, NOON, USERS};

fn bob() -> Verdict {
    Verdict::Verified("bob".into())
}

#[tokio::test]
async fn verdicts() {
    let home = Home::with_users(USERS);
    let passwords = home.passwords(&HandClock::at_noon());
    let cases = [
        ("bob", "s3cret", bob()),
        ("alice", "pass:word", Verdict::Verified("alice".into())),
        ("bob", "pass:word", Verdict::WrongPassword),
        ("bob", "", Verdict::WrongPassword),
        ("Bob", "s3cret", Verdict::UnknownUser),
        ("", "", Verdict::UnknownUser),
    ];
    for (user, password, verdict) in cases {
        assert_eq!(passwords.verify(user, &password.into()).await.unwrap(), verdict, "{user}");
    }
    assert_eq!(passwords.runs_done(), 6, "an unknown user costs a run like any other");
    assert!(passwords.knows("bob") && !passwords.knows("Bob"));
}

#[tokio::test]
async fn the_same_question_is_answered_from_memory_for_ten_minutes() {
    let home = Home::with_users(USERS);
    let clock = HandClock::at_noon();
    let passwords = home.passwords(&clock);
    for (password, verdict) in [("s3cret", bob()), ("wrong", Verdict::WrongPassword)] {
        clock.set(NOON);
        let runs = passwords.runs_done();
        let steps = [
            (NOON, 1),
            (NOON, 1),
            (NOON + LIFETIME.as_secs() - 1, 1),
            (NOON + LIFETIME.as_secs(), 2),
            (NOON + LIFETIME.as_secs() + 1, 2),
            // Set back: the answer is from the future.
            (NOON, 3),
        ];
        for (time, runs_since) in steps {
            clock.set(time);
            assert_eq!(passwords.verify("bob", &password.into()).await.unwrap(), verdict);
            assert_eq!(passwords.runs_done() - runs, runs_since, "{password} at {time}");
        }
    }
}

#[tokio::test]
async fn a_change_of_the_file_ends_all_memory() {
    let home = Home::with_users(USERS);
    let passwords = home.passwords(&HandClock::at_noon());
    assert_eq!(passwords.verify("bob", &"s3cret".into()).await.unwrap(), bob());
    assert_eq!(passwords.verify("bob", &"a".into()).await.unwrap(), Verdict::WrongPassword);
    home.write("bob:$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe\n");
    assert_eq!(passwords.verify("bob", &"s3cret".into()).await.unwrap(), Verdict::WrongPassword);
    assert_eq!(passwords.verify("bob", &"a".into()).await.unwrap(), bob());
}

#[tokio::test]
async fn guessing_does_not_push_out_who_belongs_here() {
    let home = Home::with_users(USERS);
    let clock = HandClock::at_noon();
    let passwords = home.passwords(&clock);
    assert_eq!(passwords.verify("bob", &"s3cret".into()).await.unwrap(), bob());
    clock.set(NOON + 1);
    let table = passwords.users().current();
    for number in 0..2 * MOST_ENTRIES {
        let guess = passwords.notes.fingerprint("bob", &number.to_string().as_str().into());
        passwords.notes.remember(guess, &table, Verdict::WrongPassword);
    }
    assert_eq!(passwords.verify("bob", &"s3cret".into()).await.unwrap(), bob());
    assert_eq!(passwords.runs_done(), 1);
}

#[tokio::test]
async fn the_bound_between_user_and_password_is_part_of_the_question() {
    let home = Home::with_users(USERS);
    let notes = &home.passwords(&HandClock::at_noon()).notes;
    let questions =
        [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", ""), ("a\0b", "c"), ("a", "b\0c"), ("ab", "d")];
    let fingerprints: std::collections::HashSet<_> =
        questions.iter().map(|(user, password)| notes.fingerprint(user, &(*password).into())).collect();
    assert_eq!(fingerprints.len(), questions.len());
    assert_eq!(notes.fingerprint("ab", &"c".into()), notes.fingerprint("ab", &"c".into()));
}

#[tokio::test]
async fn five_who_ask_the_same_at_once_share_one_run() {
    for (password, verdict) in [("s3cret", bob()), ("wrong", Verdict::WrongPassword)] {
        let home = Home::with_users(USERS);
        let passwords = home.passwords(&HandClock::at_noon());
        let password = Password::from(password);
        let ask = || passwords.verify("bob", &password);
        let answers = tokio::join!(ask(), ask(), ask(), ask(), ask());
        for answer in [answers.0, answers.1, answers.2, answers.3, answers.4] {
            assert_eq!(answer.unwrap(), verdict);
        }
        assert_eq!(passwords.runs_done(), 1);
        assert_eq!(passwords.flights.len(), 0);
    }
}

#[tokio::test]
async fn who_leaves_leaves_the_answer_to_the_others() {
    let home = Home::with_users(USERS);
    let passwords = home.passwords(&HandClock::at_noon());
    let password = Password::from("s3cret");
    let mut asker = Box::pin(passwords.verify("bob", &password));
    // Polled once: the run has begun, and its asker goes.
    let answered_at_once = poll_fn(|context| Poll::Ready(asker.as_mut().poll(context).is_ready())).await;
    drop(asker);
    assert_eq!(passwords.verify("bob", &password).await.unwrap(), bob());
    assert_eq!(passwords.runs_done(), 1, "answered at once: {answered_at_once}");
    // The last run's turn ends on its own thread, a moment after its answer is there.
    while passwords.flights.len() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_leaves_the_queue_gives_up_the_place() {
    let flights = Arc::new(Flights::default());
    let turn = flights.board([1; 32]).unwrap().turn().await;
    let waiting = tokio::time::timeout(Duration::ZERO, flights.board([1; 32]).unwrap().turn()).await;
    assert!(waiting.is_err());
    assert_eq!(flights.len(), 1);
    drop(turn);
    assert_eq!(flights.len(), 0);
}

#[tokio::test]
async fn a_full_queue_refuses_new_questions_and_takes_old_ones() {
    let home = Home::with_users(USERS);
    let passwords = home.passwords(&HandClock::at_noon());
    let mut tickets = Vec::new();
    for number in 0..MOST_FLIGHTS {
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&number.to_le_bytes());
        tickets.push(passwords.flights.board(fingerprint).unwrap());
    }
    let refused = passwords.verify("bob", &"s3cret".into()).await;
    assert!(matches!(refused, Err(AuthError::TooManyLogins)), "{refused:?}");
    assert!(passwords.flights.board([0; 32]).is_ok(), "one that is asked already costs no run");
    tickets.pop();
    assert_eq!(passwords.verify("bob", &"s3cret".into()).await.unwrap(), bob());
}

#[test]
fn memory_is_bounded_and_forgets_the_oldest() {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(NOON);
    let fingerprint = |number: usize| {
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&number.to_le_bytes());
        fingerprint
    };
    let mut memory = Memory::default();
    for number in 0..MOST_ENTRIES + 10 {
        memory.remember(fingerprint(number), 1, noon + Duration::from_millis(number as u64), bob());
    }
    assert_eq!(memory.len(), MOST_ENTRIES);
    let now = noon + Duration::from_secs(60);
    assert_eq!(memory.recall(&fingerprint(9), 1, now), None);
    assert_eq!(memory.recall(&fingerprint(10), 1, now), Some(bob()));
    assert_eq!(memory.recall(&fingerprint(10), 2, now), None);
    // An entry that is there already needs no room.
    memory.remember(fingerprint(500), 1, now, bob());
    assert_eq!(memory.recall(&fingerprint(10), 1, now), Some(bob()));
    // The dead go first, all of them.
    memory.remember(fingerprint(5_000), 2, now, bob());
    assert_eq!(memory.len(), 1);
}
