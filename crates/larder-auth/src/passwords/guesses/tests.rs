use super::*;
use crate::origin::Origin;

const NOON: SystemTime = SystemTime::UNIX_EPOCH;

fn at(seconds: u64) -> SystemTime {
    NOON + Duration::from_secs(1_000_000 + seconds)
}

fn here() -> Neighbourhood {
    Origin::at([192, 0, 2, 1].into()).neighbourhood()
}

/// One more wrong one, as soon as it is let in; says how long it had to wait.
fn guess(guesses: &Arc<Guesses>, pair: u8, now: &mut u64) -> u64 {
    let began = *now;
    loop {
        match guesses.admit([pair; 32], here(), at(*now)) {
            Ok(guess) => {
                guess.was_wrong(at(*now));
                return *now - began;
            }
            Err(wait) => *now += wait.as_secs(),
        }
    }
}

#[test]
fn each_guess_waits_twice_as_long_up_to_a_minute() {
    let (guesses, mut now) = (Arc::new(Guesses::default()), 0);
    let waits: Vec<u64> = (0..14).map(|_| guess(&guesses, 1, &mut now)).collect();
    assert_eq!(waits[..11], [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32]);
    assert!(waits[11..].iter().all(|wait| (32..=60).contains(wait)), "{waits:?}");
    let began = now;
    for _ in 0..100 {
        guess(&guesses, 1, &mut now);
    }
    assert!(now - began >= 100 * 50, "about one a minute, for ever: {}", now - began);
    assert_eq!(guess(&guesses, 2, &mut now), 0, "another user is another matter");
}

#[test]
fn what_was_wrong_is_forgotten_by_and_by_and_a_right_one_ends_it() {
    let (guesses, mut now) = (Arc::new(Guesses::default()), 0);
    for _ in 0..FREE {
        guess(&guesses, 1, &mut now);
    }
    assert_eq!(guesses.admit([1; 32], here(), at(0)).err(), Some(Duration::from_secs(1)));
    // One in ten minutes, as of a robot with an old password, costs nothing ever.
    now = FORGETTING.as_secs() * u64::from(FREE);
    for _ in 0..100 {
        now += 600;
        assert_eq!(guess(&guesses, 1, &mut now), 0);
    }
    for _ in 0..FREE {
        guess(&guesses, 1, &mut now);
    }
    now += 60;
    guesses.admit([1; 32], here(), at(now)).unwrap().was_right(at(now));
    for _ in 0..FREE {
        assert_eq!(guess(&guesses, 1, &mut now), 0);
    }
}

#[test]
fn a_thousand_at_once_are_no_more_than_a_few() {
    let guesses = Arc::new(Guesses::default());
    let admitted: Vec<_> = (0..1000).filter_map(|_| guesses.admit([1; 32], here(), at(0)).ok()).collect();
    assert_eq!(admitted.len(), FREE as usize);
    // Who leaves without an answer has found out nothing.
    drop(admitted);
    assert_eq!(guesses.counted(), 0);
    assert!(guesses.admit([1; 32], here(), at(0)).is_ok());
}

#[test]
fn a_clock_that_is_set_back_does_not_lengthen_the_pause() {
    let (guesses, mut now) = (Arc::new(Guesses::default()), 100_000);
    for _ in 0..12 {
        guess(&guesses, 1, &mut now);
    }
    let wait = guesses.admit([1; 32], here(), at(5)).err().unwrap();
    assert!(wait <= LONGEST_PAUSE, "{wait:?}");
    assert!(guesses.admit([1; 32], here(), at(5) + wait).is_ok());
}

#[test]
fn the_table_is_bounded_and_keeps_those_who_are_being_guessed_at() {
    let (guesses, mut now) = (Arc::new(Guesses::default()), 0);
    for _ in 0..9 {
        guess(&guesses, 1, &mut now);
    }
    for number in 0..3 * MOST_COUNTED {
        let mut pair = [9; 32];
        pair[..8].copy_from_slice(&number.to_le_bytes());
        let address: std::net::Ipv6Addr = ((0x2001 << 112) | (number as u128) << 64).into();
        let from = Origin::at(address.into()).neighbourhood();
        guesses.admit(pair, from, at(now)).unwrap().was_wrong(at(now));
        assert!(guesses.counted() <= MOST_COUNTED);
    }
    assert!(guesses.admit([1; 32], here(), at(now)).is_err(), "it is still remembered");
}

#[test]
fn many_wrong_ones_make_a_neighbourhood_noisy_for_a_while() {
    let (guesses, mut now) = (Arc::new(Guesses::default()), 0);
    assert_eq!(guesses.lane(here(), at(now)), Lane::Quiet);
    for user in 0..12 {
        guess(&guesses, user, &mut now);
    }
    assert_eq!(guesses.lane(here(), at(now)), Lane::Noisy);
    let elsewhere = Origin::at([192, 0, 2, 2].into()).neighbourhood();
    assert_eq!(guesses.lane(elsewhere, at(now)), Lane::Quiet);
    assert_eq!(guesses.lane(here(), at(now + 180)), Lane::Quiet);
}

#[test]
fn a_neighbourhood_is_an_address_or_half_of_one() {
    let of = |text: &str| Origin::at(text.parse().unwrap()).neighbourhood();
    assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
    assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    assert_ne!(of("192.0.2.2"), of("192.0.2.1"));
}
