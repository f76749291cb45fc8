use super::*;
use serde_json::json;

fn noon() -> SystemTime {
    humantime::parse_rfc3339("2026-06-26T12:00:00Z").unwrap()
}

#[test]
fn one_screen_has_it_all() {
    let status = json!({
        "version": "0.1.0", "started": "2026-06-26T09:00:00Z", "addresses": ["https://0.0.0.0:5000", "https://:5001"],
        "mode": {"is": "read-write", "since": null, "reason": null}, "failing": {},
        "repositories": 95, "tags": 1234, "manifests": 3456,
        "content": {"files": 4321, "bytes": 13_000_000_000_u64, "named_bytes": 54_100_000_000_u64, "counted_at": "2026-06-26T11:59:30Z"},
        "disk": {"free_bytes": 120_000_000_000_u64, "size_bytes": 500_000_000_000_u64},
        "quotas": [
            {"rule": "a", "repositories": ["lab/*"], "bytes": 1000, "max_bytes": 10_000, "tags": 9, "max_tags": null, "percent": 10},
            {"rule": "b", "repositories": ["team/**", "ci/*"], "bytes": 2000, "max_bytes": 4000, "tags": 19, "max_tags": 20, "percent": 95}],
        "cache": {"hits": 3, "misses": 1, "bytes_from_cache": 5_000_000, "bytes_from_upstream": 1_000_000},
        "stock": {"images": 90, "bytes": 12_000_000_000_u64},
        "upstreams": [
            {"name": "docker.io", "offline": false, "requests": [{"kind": "manifest", "outcome": "found", "count": 2}], "urls": [
                {"resting_seconds": null, "accounts": [
                    {"account": "ci", "remaining": 7, "limit": 100, "renews_in_seconds": null, "login_refused": false}]},
                {"resting_seconds": 12, "last_failure": "answers 503", "accounts": [
                    {"account": "anonymous", "remaining": null, "limit": null, "renews_in_seconds": 300, "login_refused": true}]}]},
            {"name": "ghcr.io", "offline": false, "requests": [{"kind": "tag", "outcome": "found", "count": 1}],
             "urls": [{"resting_seconds": null, "accounts": []}]},
            {"name": "quay.io", "offline": false, "requests": [], "urls": [{"resting_seconds": null, "accounts": []}]},
            {"name": "lab", "offline": true, "urls": []}],
        "collection": {"running": true, "last": {"at": "2026-06-26T11:50:00Z", "took": {"contents": 12, "bytes": 34_000_000}},
                       "freed_bytes": 34_000_000, "deletions_waiting": 3, "next_final_at": "2026-06-26T12:12:00Z"},
        "certificate": {"names": ["r.lan", "localhost", "10.0.0.2", "fd00::2", "::1"], "begin": "2026-05-01T00:00:00Z",
                        "end": "2026-07-30T00:00:00Z"},
        "problems": {"count": 5, "latest": [
            {"client": null, "reason": "the certificate ends", "count": 1},
            {"client": "10.0.0.7", "reason": "wrong password for user \"bob\"", "count": 3}]},
    });
    assert_eq!(
        page(&status, noon()),
        "registry      larder 0.1.0 at https://0.0.0.0:5000, https://:5001, up for 3 h\n\
         mode          read and write\n\
         repositories  95, 1234 tags, 3456 manifests\n\
         kept          13.0 GB in 4321 files; images name 54.1 GB, 4.1 times that (counted 30 s ago)\n\
         disk          120.0 GB free of 500.0 GB (24 %)\n\
         quotas        team/**, ci/*: 95 % full; 2.0 kB of 4.0 kB; 19 of 20 tags\n              \
         lab/*: 10 % full; 1.0 kB of 10.0 kB\n\
         cache         75 % of 4 questions were here; 5.0 MB from here, 1.0 MB fetched; 90 images, 12.0 GB\n\
         upstreams     docker.io: 1 of 2 URLs rests after a failure: answers 503; ci: 7 of 100 pulls left; \
         anonymous: used up, asked again in 5 min; the login of anonymous is refused\n              \
         ghcr.io: well\n              \
         quay.io: not asked yet\n              \
         lab: offline, nothing is asked\n\
         collection    10 min ago: 12 files, 34.0 MB freed; 3 deletions can all be undone, the next is final in 12 min; at work\n\
         certificate   ends in 33 d, at 2026-07-30T00:00:00Z; for r.lan, localhost, 10.0.0.2, fd00::2 and 1 more\n\
         problems      5; larder problems shows all\n              \
         this registry: the certificate ends\n              \
         10.0.0.7: wrong password for user \"bob\", 3 times\n"
    );
}

#[test]
fn a_new_registry_in_plain_http_has_a_short_screen() {
    let status = json!({
        "version": "0.1.0", "started": "2026-06-26T11:59:50Z", "addresses": ["http://127.0.0.1:5000"],
        "mode": {"is": "maintenance", "since": "2026-06-26T11:59:55Z", "reason": "a new disk"},
        "failing": {"storage": "it is gone"},
        "repositories": 0, "tags": 1, "manifests": 1, "content": null,
        "disk": {"free_bytes": 1000, "size_bytes": 0}, "cache": {}, "stock": null, "upstreams": [],
        "collection": {"running": false, "last": null, "freed_bytes": 0, "deletions_waiting": 1, "next_final_at": null},
        "certificate": null, "problems": {"count": 0, "latest": []},
    });
    assert_eq!(
        page(&status, noon()),
        "registry      larder 0.1.0 at http://127.0.0.1:5000, up for 10 s\n\
         mode          maintenance since 2026-06-26T11:59:55Z (a new disk): pulls only\n\
         failing       storage: it is gone\n\
         repositories  0, 1 tag, 1 manifest\n\
         kept          being counted for the first time\n\
         disk          1.0 kB free of 0 B\n\
         cache         no upstreams\n\
         collection    nothing taken away since the start; 1 deletion can be undone\n\
         certificate   none: plain HTTP\n\
         problems      none\n"
    );
}

#[test]
fn an_ended_certificate_and_a_count_of_this_moment_are_said() {
    let status = json!({
        "content": {"files": 1, "bytes": 10, "named_bytes": 10, "counted_at": "2026-06-26T12:00:00Z"},
        "mode": {"is": "read-only"}, "certificate": {"names": ["r.lan"], "end": "2026-06-26T11:00:00Z"},
        "collection": {"last": {"at": "2026-06-26T11:59:00Z", "took": {"contents": 0, "links": 2, "bytes": 0}}},
    });
    let screen = page(&status, noon());
    assert!(screen.contains("\ncertificate   ENDED at 2026-06-26T11:00:00Z; for r.lan\n"), "{screen}");
    assert!(
        screen.contains("\nkept          10 B in 1 file; images name 10 B, 1.0 times that\n"),
        "{screen}"
    );
    assert!(
        screen.contains("\ncollection    60 s ago: what went is needed elsewhere, and freed nothing\n"),
        "{screen}"
    );
    assert!(screen.contains("\nmode          read only (storage.maintenance.readonly)\n"), "{screen}");
    let deleted =
        json!({"content": {"files": 1, "bytes": 10, "named_bytes": 4, "counted_at": "2026-06-26T12:00:00Z"}});
    let kept = "\nkept          10 B in 1 file; images name 4 B of it, the rest none does right now\n";
    assert!(page(&deleted, noon()).contains(kept), "{}", page(&deleted, noon()));
}
