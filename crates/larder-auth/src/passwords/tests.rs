use std::future::{Future as _, poll_fn};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use super::*;
use crate::passwords::guesses::FREE;
use crate::passwords::turns::MOST_OF_NEIGHBOURHOOD;
use crate::testing::{HandClock, Home, NOON, USERS, at_home};

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
        assert_eq!(passwords.verify(user, &password.into(), &at_home()).await.unwrap(), verdict, "{user}");
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
            (NOON + REMEMBERED_FOR.as_secs() - 1, 1),
            (NOON + REMEMBERED_FOR.as_secs(), 2),
            (NOON + REMEMBERED_FOR.as_secs() + 1, 2),
            // Set back: the answer is from the future.
            (NOON, 3),
        ];
        for (time, runs_since) in steps {
            clock.set(time);
            assert_eq!(passwords.verify("bob", &password.into(), &at_home()).await.unwrap(), verdict);
            assert_eq!(passwords.runs_done() - runs, runs_since, "{password} at {time}");
        }
    }
}

#[tokio::test]
async fn a_change_of_the_file_ends_all_memory() {
    let home = Home::with_users(USERS);
    let passwords = home.passwords(&HandClock::at_noon());
    assert_eq!(passwords.verify("bob", &"s3cret".into(), &at_home()).await.unwrap(), bob());
    assert_eq!(passwords.verify("bob", &"a".into(), &at_home()).await.unwrap(), Verdict::WrongPassword);
    home.write("bob:$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe\n");
    assert_eq!(passwords.verify("bob", &"s3cret".into(), &at_home()).await.unwrap(), Verdict::WrongPassword);
    assert_eq!(passwords.verify("bob", &"a".into(), &at_home()).await.unwrap(), bob());
}

#[tokio::test]
async fn guessing_does_not_push_out_who_belongs_here() {
    let home = Home::with_users(USERS);
    let clock = HandClock::at_noon();
    let passwords = home.passwords(&clock);
    assert_eq!(passwords.verify("bob", &"s3cret".into(), &at_home()).await.unwrap(), bob());
    clock.set(NOON + 1);
    let table = passwords.users().current();
    for number in 0..2 * MOST_REMEMBERED {
        let guess = passwords.notes.fingerprint("bob", number.to_string().as_bytes());
        passwords.notes.remember(guess, &table, Verdict::WrongPassword);
    }
    assert_eq!(passwords.verify("bob", &"s3cret".into(), &at_home()).await.unwrap(), bob());
    assert_eq!(passwords.runs_done(), 1);
}

#[tokio::test]
async fn the_bound_between_user_and_password_is_part_of_the_question() {
    let home = Home::with_users(USERS);
    let notes = &home.passwords(&HandClock::at_noon()).notes;
    let questions =
        [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", ""), ("a\0b", "c"), ("a", "b\0c"), ("ab", "d")];
    let fingerprints: std::collections::HashSet<_> =
        questions.iter().map(|(user, password)| notes.fingerprint(user, password.as_bytes())).collect();
    assert_eq!(fingerprints.len(), questions.len());
    assert_eq!(notes.fingerprint("ab", b"c"), notes.fingerprint("ab", b"c"));
}

#[tokio::test]
async fn five_who_ask_the_same_at_once_share_one_run() {
    for (password, verdict) in [("s3cret", bob()), ("wrong", Verdict::WrongPassword)] {
        let home = Home::with_users(USERS);
        let passwords = home.passwords(&HandClock::at_noon());
        let password = Password::from(password);
        let origin = at_home();
        let ask = || passwords.verify("bob", &password, &origin);
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
    let origin = at_home();
    let mut asker = Box::pin(passwords.verify("bob", &password, &origin));
    // Polled once: the run has begun, and its asker goes.
    let answered_at_once = poll_fn(|context| Poll::Ready(asker.as_mut().poll(context).is_ready())).await;
    drop(asker);
    assert_eq!(passwords.verify("bob", &password, &at_home()).await.unwrap(), bob());
    assert_eq!(passwords.runs_done(), 1, "answered at once: {answered_at_once}");
    // The last run's turn ends on its own thread, a moment after its answer is there.
    while passwords.flights.len() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_leaves_the_queue_gives_up_the_place() {
    let flights = Arc::new(Flights::default());
    let seat = flights.board([1; 32]).seat().await;
    let waiting = tokio::time::timeout(Duration::ZERO, flights.board([1; 32]).seat()).await;
    assert!(waiting.is_err());
    assert_eq!(flights.len(), 1);
    drop(seat);
    assert_eq!(flights.len(), 0);
}

/// Somebody else in the world.
fn stranger(number: u8) -> Origin {
    Origin::at([203, 0, 113, number].into())
}

fn wait_of(outcome: Result<Verdict, AuthError>) -> Option<u64> {
    match outcome {
        Err(AuthError::TooManyGuesses { user, wait }) if user == "bob" => Some(wait.as_secs()),
        Ok(_) => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn guessing_locks_out_nobody_but_the_guesser() {
    let home = Home::with_users(USERS);
    let clock = HandClock::at_noon();
    let passwords = home.passwords(&clock);
    assert_eq!(passwords.verify("bob", &"s3cret".into(), &at_home()).await.unwrap(), bob());
    for number in 0..FREE {
        let guess = Password::from(format!("guess {number}").as_str());
        assert_eq!(passwords.verify("bob", &guess, &at_home()).await.unwrap(), Verdict::WrongPassword);
    }
    let runs = passwords.runs_done();
    // The next guess is not even looked at, and neither is a right password that wasn't used lately.
    assert_eq!(wait_of(passwords.verify("bob", &"guess".into(), &at_home()).await), Some(1));
    assert_eq!(passwords.runs_done(), runs);
    // Of what is remembered the answer is the same as ever.
    assert_eq!(passwords.verify("bob", &"guess 0".into(), &at_home()).await.unwrap(), Verdict::WrongPassword);
    // The others of the household, bob with his own password there, and bob elsewhere.
    let alice = Verdict::Verified("alice".into());
    assert_eq!(passwords.verify("alice", &"pass:word".into(), &at_home()).await.unwrap(), alice);
    assert_eq!(passwords.verify("bob", &"s3cret".into(), &at_home()).await.unwrap(), bob());
    let other = Home::with_users(USERS).passwords(&clock);
    for number in 0..FREE {
        other.verify("bob", &number.to_string().as_str().into(), &stranger(1)).await.unwrap();
    }
    assert_eq!(wait_of(other.verify("bob", &"s3cret".into(), &stranger(1)).await), Some(1));
    assert_eq!(other.verify("bob", &"s3cret".into(), &at_home()).await.unwrap(), bob());
}

#[tokio::test]
async fn a_password_that_was_right_lately_is_no_guess_when_it_is_forgotten() {
    let home = Home::with_users(USERS);
    let clock = HandClock::at_noon();
    let passwords = home.passwords(&clock);
    assert_eq!(passwords.verify("bob", &"s3cret".into(), &at_home()).await.unwrap(), bob());
    clock.set(NOON + REMEMBERED_FOR.as_secs());
    for number in 0..FREE {
        passwords.verify("bob", &number.to_string().as_str().into(), &at_home()).await.unwrap();
    }
    assert!(wait_of(passwords.verify("bob", &"x".into(), &at_home()).await).is_some());
    let runs = passwords.runs_done();
    assert_eq!(passwords.verify("bob", &"s3cret".into(), &at_home()).await.unwrap(), bob());
    assert_eq!(passwords.runs_done(), runs + 1, "it was looked at");
    // Changed meanwhile, it is what it is: wrong.
    home.write("bob:$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe\n");
    assert_eq!(passwords.verify("bob", &"s3cret".into(), &at_home()).await.unwrap(), Verdict::WrongPassword);
}

#[tokio::test]
async fn an_unknown_user_is_damped_like_a_known_one() {
    let home = Home::with_users(USERS);
    let passwords = home.passwords(&HandClock::at_noon());
    let mut outcomes = Vec::new();
    for user in ["bob", "nobody"] {
        let mut of_user = Vec::new();
        for number in 0..FREE + 2 {
            let runs = passwords.runs_done();
            let outcome = passwords.verify(user, &number.to_string().as_str().into(), &at_home()).await;
            of_user.push((outcome.is_ok(), passwords.runs_done() - runs));
        }
        outcomes.push(of_user);
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0].iter().filter(|(looked_at, _)| *looked_at).count(), FREE as usize);
}

#[tokio::test]
async fn a_flood_of_wrong_passwords_does_not_hold_up_an_honest_login() {
    let home = Home::with_users(USERS);
    let clock = HandClock::at_noon();
    let users = crate::users_file::UsersFile::open(home.users_path()).unwrap();
    let passwords = Arc::new(Passwords::new(users, [7; 32], NonZeroUsize::MIN, clock.clock()));
    let flood = |number: u8| {
        let passwords = Arc::clone(&passwords);
        tokio::spawn(async move {
            let user = format!("user {number}");
            passwords.verify(&user, &"guess".into(), &stranger(number % 4)).await
        })
    };
    let flood: Vec<_> = (0..200).map(flood).collect();
    while passwords.turns.waiting() < 150 {
        tokio::task::yield_now().await;
    }
    let runs = passwords.runs_done();
    assert_eq!(passwords.verify("bob", &"s3cret".into(), &at_home()).await.unwrap(), bob());
    // One that runs, one of each of the four, and his own; a run may end before it is counted here.
    assert!(passwords.runs_done() - runs <= 8, "{}", passwords.runs_done() - runs);
    for guess in flood {
        assert_eq!(guess.await.unwrap().unwrap(), Verdict::UnknownUser);
    }
    assert_eq!((passwords.turns.waiting(), passwords.turns.free()), (0, 1));
}

#[tokio::test]
async fn one_neighbourhood_has_so_many_places_and_no_more() {
    let home = Home::with_users(USERS);
    let passwords = home.passwords(&HandClock::at_noon());
    let origin = stranger(1).neighbourhood();
    let held = [
        passwords.turns.take(Lane::Quiet, origin).await.unwrap(),
        passwords.turns.take(Lane::Quiet, origin).await.unwrap(),
    ];
    let mut waiting = Vec::new();
    for _ in 0..MOST_OF_NEIGHBOURHOOD {
        let turns = Arc::clone(&passwords.turns);
        waiting.push(tokio::spawn(async move { turns.take(Lane::Quiet, origin).await }));
    }
    while passwords.turns.waiting() < MOST_OF_NEIGHBOURHOOD {
        tokio::task::yield_now().await;
    }
    let refused = passwords.verify("bob", &"s3cret".into(), &stranger(1)).await;
    assert!(matches!(refused, Err(AuthError::TooManyLogins)), "{refused:?}");
    for each in &waiting {
        each.abort();
    }
    drop(held);
    assert_eq!(passwords.verify("bob", &"s3cret".into(), &stranger(1)).await.unwrap(), bob());
}

#[test]
fn memory_is_bounded_and_forgets_the_oldest() {
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(NOON);
    let fingerprint = |number: usize| {
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&number.to_le_bytes());
        fingerprint
    };
    let mut memory = Memory::new(MOST_REMEMBERED, REMEMBERED_FOR);
    for number in 0..MOST_REMEMBERED + 10 {
        memory.remember(fingerprint(number), 1, noon + Duration::from_millis(number as u64), bob());
    }
    assert_eq!(memory.len(), MOST_REMEMBERED);
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
