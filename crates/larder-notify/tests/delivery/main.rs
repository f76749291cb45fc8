//! Delivery as endpoints see it: in order, again after a failure, after a restart, and never in anybody's way.

#[cfg(test)]
mod world;

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use crate::world::*;

    #[tokio::test]
    async fn what_fails_is_sent_again_and_in_order() {
        let script =
            [Does::Answer(503), Does::Close, Does::Answer(429), Does::Answer(500), Does::Answer(204)];
        let hook = Hook::start(script).await;
        let world = World::new();
        let running = world.start(vec![hook.settings("hook")], LARGE).await;
        for number in 0..5 {
            running.change(number).await;
        }
        let messages = hook.messages(9).await;
        let tags: Vec<&str> = messages.iter().map(|message| message.tag.as_str()).collect();
        assert_eq!(tags, ["tag-0", "tag-0", "tag-0", "tag-0", "tag-0", "tag-1", "tag-2", "tag-3", "tag-4"]);
        let first = &messages[0].id;
        assert!(messages[..5].iter().all(|message| message.id == *first), "it is the same event each time");
        let snapshot = running.settled().await;
        assert_eq!((snapshot.events, snapshot.successes, snapshot.failures, snapshot.errors), (5, 5, 3, 1));
        assert_eq!(snapshot.statuses.get(&503), Some(&1));
        assert_eq!((snapshot.pending, snapshot.dropped, snapshot.refused), (0, 0, 0));
    }

    #[tokio::test]
    async fn what_waits_survives_a_restart() {
        let world = World::new();
        let hook = Hook::start([]).await;
        // An address at which nobody listens.
        let down = Hook::stopped().await;
        let running = world.start(vec![down.settings("hook")], LARGE).await;
        for number in 0..20 {
            running.change(number).await;
        }
        running.eventually(|snapshot| snapshot.errors > 0).await;
        assert_eq!(running.snapshot().pending, 20);
        running.stop().await;
        let running = world.start(vec![hook.settings("hook")], LARGE).await;
        running.change(20).await;
        let messages = hook.messages(21).await;
        let tags: Vec<String> = messages.into_iter().map(|message| message.tag).collect();
        assert_eq!(tags, (0..=20).map(|number| format!("tag-{number}")).collect::<Vec<_>>());
        running.settled().await;
        running.stop().await;
        // Nothing of it comes again.
        let running = world.start(vec![hook.settings("hook")], LARGE).await;
        running.change(21).await;
        assert_eq!(hook.messages(22).await[21].tag, "tag-21");
    }

    #[tokio::test]
    async fn an_endpoint_that_stalls_holds_up_neither_changes_nor_other_endpoints() {
        let world = World::new();
        let (stalls, works) = (Hook::start(vec![Does::Stall; 8]).await, Hook::start([]).await);
        let mut settings = stalls.settings("stalls");
        settings.timeout = Duration::from_millis(100);
        let running = world.start(vec![settings, works.settings("works")], LARGE).await;
        for number in 0..10 {
            running.change(number).await;
        }
        assert_eq!(works.messages(10).await[9].tag, "tag-9");
        // What stalled is tried again, and comes through when the endpoint answers.
        assert_eq!(stalls.messages(18).await[17].tag, "tag-9");
        running.stop().await;
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_an_endpoint_that_stalls() {
        let world = World::new();
        let stalls = Hook::start([Does::Stall]).await;
        let running = world.start(vec![stalls.settings("stalls")], LARGE).await;
        running.change(0).await;
        stalls.messages(1).await;
        running.stop().await;
        let running = world.start(vec![stalls.settings("stalls")], LARGE).await;
        assert_eq!(stalls.messages(2).await[1].tag, "tag-0");
        running.stop().await;
    }

    #[tokio::test]
    async fn a_full_queue_forgets_the_oldest_pulls_first_and_counts_them() {
        const MOST: usize = 64;
        let world = World::new();
        let down = Hook::stopped().await;
        let running = world.start(vec![down.settings("hook")], MOST).await;
        for _ in 0..30 {
            running.pull();
        }
        running.eventually(|snapshot| snapshot.events == 30).await;
        for number in 0..60 {
            running.change(number).await;
        }
        let snapshot = running.snapshot();
        assert!(snapshot.pending <= MOST as u64 && snapshot.dropped > 0, "{snapshot:?}");
        assert_eq!(snapshot.pending + snapshot.dropped, 90, "each is waiting or counted");
        running.stop().await;
        let hook = Hook::start([]).await;
        let running = world.start(vec![hook.settings("hook")], MOST).await;
        let pending = usize::try_from(snapshot.pending).unwrap();
        let messages = hook.messages(pending).await;
        let changes: Vec<_> = messages.iter().filter(|message| message.action == "delete").collect();
        let tags: Vec<&str> = changes.iter().map(|message| message.tag.as_str()).collect();
        assert_eq!(
            tags,
            (0..60).map(|number| format!("tag-{number}")).collect::<Vec<_>>(),
            "only pulls were forgotten"
        );
        running.stop().await;
    }

    #[tokio::test]
    async fn what_is_refused_for_a_day_is_set_aside_and_the_others_go_on() {
        let world = World::new();
        let hook = Hook::start([]).await;
        hook.refuse("tag-0");
        let running = world.start(vec![hook.settings("hook")], LARGE).await;
        running.change(0).await;
        running.change(1).await;
        // It has been refused often enough, and it is not yet a day.
        hook.messages(4).await;
        assert_eq!(running.snapshot().refused, 0);
        NOW.fetch_add(24 * 3600, Ordering::SeqCst);
        running.eventually(|snapshot| snapshot.refused == 1 && snapshot.pending == 0).await;
        let messages = hook.messages(5).await;
        assert_eq!(messages.last().unwrap().tag, "tag-1");
        assert_eq!(messages.iter().filter(|message| message.tag == "tag-1").count(), 1);
        let refused = std::fs::read_to_string(world.path("larder/notifications/hook/refused")).unwrap();
        let line: serde_json::Value = serde_json::from_str(refused.lines().next().unwrap()).unwrap();
        assert_eq!((&line["status"], &line["event"]["target"]["tag"]), (&400.into(), &"tag-0".into()));
        running.stop().await;
    }

    #[tokio::test]
    async fn nothing_goes_where_the_operator_did_not_send_it() {
        let world = World::new();
        let elsewhere = Hook::start([]).await;
        let to_elsewhere = Does::Redirect(elsewhere.url("/other"));
        let hook = Hook::start([to_elsewhere, Does::Redirect("/moved".to_owned()), Does::Answer(200)]).await;
        let mut settings = hook.settings("hook");
        settings.headers.insert("authorization", "Bearer secret".parse().unwrap());
        let running = world.start(vec![settings], LARGE).await;
        running.change(0).await;
        let messages = hook.messages(3).await;
        let paths: Vec<&str> = messages.iter().map(|message| message.path.as_str()).collect();
        assert_eq!(paths, ["/hook", "/hook", "/moved"], "on the same host it is followed");
        assert!(messages.iter().all(|message| message.authorization.as_deref() == Some("Bearer secret")));
        running.settled().await;
        assert_eq!(elsewhere.count(), 0);
    }
}
