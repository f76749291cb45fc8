use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn one_client_has_its_share_and_gets_it_back() {
    let places = Arc::new(Places::default());
    let first = places.take(address("192.0.2.1"), 2).unwrap();
    let second = places.take(address("192.0.2.1"), 2).unwrap();
    assert!(places.take(address("192.0.2.1"), 2).is_none());
    let other = places.take(address("192.0.2.2"), 2).unwrap();
    assert_eq!(places.taken(), 3);
    drop(first);
    let again = places.take(address("192.0.2.1"), 2).unwrap();
    drop((second, other, again));
    assert_eq!(places.taken(), 0);
    assert!(places.lock().by_client.is_empty());
}

#[test]
fn a_network_of_ipv6_is_one_client() {
    let places = Arc::new(Places::default());
    let _first = places.take(address("2001:db8:0:1::1"), 1).unwrap();
    assert!(places.take(address("2001:db8:0:1:ffff::2"), 1).is_none());
    let _second = places.take(address("2001:db8:0:2::1"), 1).unwrap();
}

#[tokio::test]
async fn whoever_waits_is_woken_when_a_place_is_free_or_the_limit_is_raised() {
    tokio::time::pause();
    let places = Arc::new(Places::default());
    let place = places.take(address("192.0.2.1"), 1).unwrap();
    let waiting = tokio::spawn({
        let places = Arc::clone(&places);
        async move { places.wait(|| 1).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(place);
    waiting.await.unwrap();
    let _place = places.take(address("192.0.2.1"), 1).unwrap();
    let limit = std::sync::atomic::AtomicUsize::new(1);
    tokio::join!(places.wait(|| limit.load(std::sync::atomic::Ordering::Relaxed)), async {
        limit.store(2, std::sync::atomic::Ordering::Relaxed);
    });
}
