use std::io::Write as _;

use http_body_util::BodyExt as _;

use super::*;

fn file(bytes: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Arc::new(file)
}

#[tokio::test]
async fn pieces_come_out_in_order_and_the_length_is_known() {
    let bytes: Vec<u8> = (0..700_000_u32).map(|at| (at % 251) as u8).collect();
    let mut body = Body::from_bytes("head");
    body.push_file(&file(&bytes), ByteRange { start: 1, end: 699_999 });
    body.push_file(&file(&bytes), ByteRange { start: 5, end: 5 });
    body.push_bytes("tail");
    assert_eq!(body.length(), 4 + 699_998 + 4);
    let collected = body.collect().await.unwrap().to_bytes();
    let expected = [b"head".as_slice(), &bytes[1..699_999], b"tail"].concat();
    assert_eq!(collected, expected);
}

#[tokio::test]
async fn a_file_that_ends_early_is_an_error_and_not_an_end() {
    let mut body = Body::empty();
    body.push_file(&file(b"short"), ByteRange { start: 0, end: 10 });
    assert!(body.collect().await.is_err());
}

#[tokio::test]
async fn small_parts_go_out_together_and_large_ones_alone() {
    let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
    let file = file(&bytes);
    let mut body = Body::empty();
    let mut expected = Vec::new();
    for at in 0..2000_u64 {
        body.push_bytes("--");
        body.push_file(&file, ByteRange { start: at, end: at + 3 });
        expected.extend([b"--", &bytes[at as usize..at as usize + 3]].concat());
    }
    body.push_file(&file, ByteRange { start: 0, end: 100_000 });
    expected.extend(&bytes);
    body.push_bytes("end");
    expected.extend(b"end");
    let (mut frames, mut received) = (0, Vec::new());
    while let Some(frame) = body.frame().await {
        received.extend(frame.unwrap().into_data().unwrap());
        frames += 1;
    }
    assert_eq!(received, expected);
    assert!(frames <= 4, "{frames} frames for 10 kB of small parts, a large one and a small one");
}

#[tokio::test]
async fn a_small_part_that_can_not_be_read_is_an_error_behind_the_rest() {
    let mut body = Body::from_bytes("head");
    body.push_file(&file(b"short"), ByteRange { start: 0, end: 10 });
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "headshort");
    assert!(body.frame().await.unwrap().is_err());
}
