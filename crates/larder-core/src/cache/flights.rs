use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// Questions under way, each asked once however many wait for it.
///
/// A question is a task of its own: those who wait may leave, it is answered all the same.
pub(crate) struct Flights<Key, Answer> {
    running: Arc<Mutex<HashMap<Key, Flight<Answer>>>>,
}

/// A question under way. Cheap to clone.
pub(crate) struct Flight<Answer> {
    /// When it was asked.
    pub(crate) since: Instant,
    answer: watch::Receiver<Option<Answer>>,
}

impl<Answer> Clone for Flight<Answer> {
    fn clone(&self) -> Flight<Answer> {
        Flight { since: self.since, answer: self.answer.clone() }
    }
}

impl<Key, Answer> Default for Flights<Key, Answer> {
    fn default() -> Flights<Key, Answer> {
        Flights { running: Arc::default() }
    }
}

impl<Key, Answer> Flights<Key, Answer>
where
    Key: Clone + Eq + Hash + Send + 'static,
    Answer: Clone + Send + Sync + 'static,
{
    /// The question that is under way, or this one, begun.
    pub(crate) fn join<Asking>(
        &self,
        key: &Key,
        tasks: &TaskTracker,
        ask: impl FnOnce() -> Asking,
    ) -> Flight<Answer>
    where
        Asking: Future<Output = Answer> + Send + 'static,
    {
        let mut running = lock(&self.running);
        if let Some(flight) = running.get(key) {
            return flight.clone();
        }
        let (sender, answer) = watch::channel(None);
        let flight = Flight { since: Instant::now(), answer };
        running.insert(key.clone(), flight.clone());
        // Also when the question panics or is dropped: whoever comes then must be able to ask anew.
        let landing = Landing { running: Arc::clone(&self.running), key: key.clone() };
        let asking = ask();
        tasks.spawn(async move {
            let answer = asking.await;
            // Gone before it is told: who asks after the answer gets a new one.
            drop(landing);
            sender.send_replace(Some(answer));
        });
        flight
    }
}

impl<Answer: Clone> Flight<Answer> {
    /// The answer; `None` if the question was given up.
    pub(crate) async fn answer(mut self) -> Option<Answer> {
        self.answer.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone())
    }
}

struct Landing<Key: Eq + Hash, Answer> {
    running: Arc<Mutex<HashMap<Key, Flight<Answer>>>>,
    key: Key,
}

impl<Key: Eq + Hash, Answer> Drop for Landing<Key, Answer> {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_are_one_question_that_outlives_who_began_it() {
        let (flights, tasks) = (Flights::<u8, usize>::default(), TaskTracker::new());
        let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let join = || {
            let (asked, gate) = (Arc::clone(&asked), Arc::clone(&gate));
            flights.join(&1, &tasks, || async move {
                let number = asked.fetch_add(1, Ordering::SeqCst);
                drop(gate.acquire().await);
                number
            })
        };
        drop(join());
        let waiting: Vec<_> = (0..10).map(|_| tokio::spawn(join().answer())).collect();
        gate.add_permits(1);
        for each in waiting {
            assert_eq!(each.await.unwrap(), Some(0));
        }
        assert_eq!(join().answer().await, Some(1), "what is asked later is asked anew");
    }

    #[tokio::test]
    async fn a_question_that_panics_is_given_up_and_can_be_asked_again() {
        let (flights, tasks) = (Flights::<u8, u8>::default(), TaskTracker::new());
        let failed = flights.join(&1, &tasks, || async { panic!("a defect") });
        assert_eq!(failed.answer().await, None);
        assert_eq!(flights.join(&1, &tasks, || async { 2 }).answer().await, Some(2));
    }
}
