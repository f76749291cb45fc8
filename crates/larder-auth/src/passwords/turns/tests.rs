use super::*;
use crate::origin::Origin;

fn neighbourhood(number: u8) -> Neighbourhood {
    Origin::at([198, 51, 100, number].into()).neighbourhood()
}

/// Takes the only turn, lines up these, and tells the order in which they are called.
async fn order(waiting: &[(Lane, u8)]) -> Vec<usize> {
    let turns = Arc::new(Turns::new(1));
    let held = turns.take(Lane::Quiet, neighbourhood(0)).await.unwrap();
    let called = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (index, (lane, number)) in waiting.iter().copied().enumerate() {
        let (each, called) = (Arc::clone(&turns), Arc::clone(&called));
        tasks.push(tokio::spawn(async move {
            let turn = each.take(lane, neighbourhood(number)).await.unwrap();
            called.lock().unwrap().push(index);
            drop(turn);
        }));
        while turns.waiting() <= index {
            tokio::task::yield_now().await;
        }
    }
    drop(held);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!((turns.waiting(), turns.free()), (0, 1));
    let called = called.lock().unwrap();
    called.clone()
}

#[tokio::test]
async fn neighbourhoods_take_turns_and_lanes_go_before_each_other() {
    use Lane::{Familiar, Noisy, Quiet};
    type Case = (&'static [(Lane, u8)], &'static [usize]);
    let cases: [Case; 4] = [
        (&[(Quiet, 1), (Quiet, 1), (Quiet, 2), (Quiet, 1), (Quiet, 3)], &[0, 2, 4, 1, 3]),
        (&[(Noisy, 1), (Quiet, 2), (Familiar, 1), (Quiet, 1)], &[2, 1, 3, 0]),
        (&[(Noisy, 1), (Noisy, 1), (Noisy, 2)], &[0, 2, 1]),
        (&[], &[]),
    ];
    for (waiting, expected) in cases {
        assert_eq!(order(waiting).await, expected, "{waiting:?}");
    }
}

#[tokio::test]
async fn noisy_ones_take_half_the_cores_and_leave_the_rest() {
    let turns = Arc::new(Turns::new(4));
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(turns.take(Lane::Noisy, neighbourhood(1)).await.unwrap());
    }
    let third = tokio::time::timeout(Duration::ZERO, turns.take(Lane::Noisy, neighbourhood(2))).await;
    assert!(third.is_err(), "two cores of four are all that they get");
    for _ in 0..2 {
        held.push(turns.take(Lane::Quiet, neighbourhood(1)).await.unwrap());
    }
    assert_eq!((turns.waiting(), turns.free()), (0, 0));
    drop(held);
    assert_eq!(turns.free(), 4);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_clients_do() {
    let turns = Arc::new(Turns::new(1));
    let held = turns.take(Lane::Quiet, neighbourhood(0)).await.unwrap();
    let began = tokio::time::Instant::now();
    let refused = turns.take(Lane::Familiar, neighbourhood(1)).await.err();
    assert!(matches!(refused, Some(AuthError::TooManyLogins)), "{refused:?}");
    assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
    assert_eq!(turns.waiting(), 0);
    drop(held);
    assert_eq!(turns.free(), 1);
}

#[tokio::test]
async fn a_lane_is_bounded_in_all() {
    let turns = Arc::new(Turns::new(1));
    let _held = turns.take(Lane::Quiet, neighbourhood(0)).await.unwrap();
    let mut waiting = Vec::new();
    for number in 0..MOST_IN_LANE {
        let turns = Arc::clone(&turns);
        let number = u8::try_from(number % 256).unwrap();
        waiting.push(tokio::spawn(async move { turns.take(Lane::Quiet, neighbourhood(number)).await }));
    }
    while turns.waiting() < MOST_IN_LANE {
        tokio::task::yield_now().await;
    }
    assert!(turns.take(Lane::Quiet, neighbourhood(1)).await.is_err());
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    while turns.waiting() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_leaves_when_he_was_just_called_passes_the_turn_on() {
    let turns = Arc::new(Turns::new(1));
    let held = turns.take(Lane::Quiet, neighbourhood(0)).await.unwrap();
    let mut called = Box::pin(turns.take(Lane::Quiet, neighbourhood(1)));
    let polled =
        std::future::poll_fn(|context| std::task::Poll::Ready(called.as_mut().poll(context).is_ready()));
    assert!(!polled.await);
    drop(held);
    assert_eq!(turns.free(), 0, "it is his");
    drop(called);
    assert_eq!(turns.free(), 1);
}
