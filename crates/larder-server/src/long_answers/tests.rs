use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn one_address_gets_half_and_all_together_get_the_whole() {
    let answers = Arc::new(LongAnswers::default());
    let mut shares = Vec::new();
    let mut take = |client: &str, bytes| match answers.take(address(client), bytes) {
        Some(share) => {
            shares.push(share);
            true
        }
        None => false,
    };
    assert!(take("192.0.2.1", MOST_OF_ONE - 10));
    assert!(take("192.0.2.1", 10));
    assert!(!take("192.0.2.1", 1));
    assert!(take("2001:db8::1", MOST_OF_ONE));
    assert!(!take("2001:db8::2", 1), "of the same /64");
    assert!(!take("192.0.2.3", 1), "nothing is left");
    shares.clear();
    assert!(answers.take(address("192.0.2.3"), MOST_OF_ONE).is_some());
    let held = answers.lock();
    assert_eq!((held.all, held.by_client.len()), (0, 0));
}

#[test]
fn a_single_answer_is_given_however_long_it_is() {
    let answers = Arc::new(LongAnswers::default());
    let share = answers.take(address("192.0.2.1"), 2 * MOST);
    assert!(share.is_some() && answers.take(address("192.0.2.1"), 1).is_none());
}

#[test]
fn bytes_count_as_long_as_a_slice_of_them_is_somewhere() {
    let answers = Arc::new(LongAnswers::default());
    let share = Arc::new(answers.take(address("192.0.2.1"), 5).unwrap());
    let bytes = Counted::wrap(Bytes::from_static(b"bytes"), &share);
    drop(share);
    let slice = bytes.slice(2..3);
    drop(bytes);
    assert_eq!((&slice[..], answers.lock().all), (&b"t"[..], 5));
    drop(slice);
    assert_eq!(answers.lock().all, 0);
}
