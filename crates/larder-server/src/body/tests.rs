use std::io::Write as _;

use http_body_util::BodyExt as _;

use super::*;

fn file(bytes: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Arc::new(file)
}

/// The bytes of a frame that holds some.
fn memory(frame: io::Result<Frame<Piece>>) -> Bytes {
    match frame.unwrap().into_data() {
        Ok(Piece::Memory(bytes)) => bytes,
        Ok(Piece::File(_)) | Err(_) => panic!("not a piece of memory"),
    }
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
        received.extend(memory(frame));
        frames += 1;
    }
    assert_eq!(received, expected);
    assert!(frames <= 4, "{frames} frames for 10 kB of small parts, a large one and a small one");
}

#[tokio::test]
async fn a_small_part_that_can_not_be_read_is_an_error_behind_the_rest() {
    let mut body = Body::from_bytes("head");
    body.push_file(&file(b"short"), ByteRange { start: 0, end: 10 });
    assert_eq!(memory(body.frame().await.unwrap()), "headshort");
    assert!(body.frame().await.unwrap().is_err());
}

/// Memory, small stretches and what is long are told apart, and nothing is left out or given twice.
#[tokio::test]
async fn through_an_outlet_only_long_stretches_are_sent_by_the_kernel() {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let file = file(&bytes);
    let mut body = Body::from_bytes("head");
    body.push_file(&file, ByteRange { start: 0, end: 100 });
    body.push_file(&file, ByteRange { start: 100, end: 2_900_000 });
    body.push_bytes("tail");
    body.through(&Outlet::new());
    let (mut sent, mut read, mut left) = (0, Vec::new(), body.length());
    while let Some(frame) = body.frame().await {
        match frame.unwrap().into_data() {
            Ok(Piece::File(piece)) => {
                sent += piece.remaining();
                left -= piece.remaining() as u64;
            }
            Ok(Piece::Memory(piece)) => {
                left -= piece.len() as u64;
                read.extend(piece);
            }
            Err(_) => panic!("a frame without data"),
        }
        assert_eq!(body.length(), left);
    }
    assert_eq!((sent, left), (2_900_000 - 100, 0));
    assert_eq!(read, [b"head".as_slice(), &bytes[..100], b"tail"].concat());
}

#[test]
fn what_is_cached_is_counted_from_the_start_and_ends_with_the_file() {
    let file = file(&[7; 300_000]);
    assert_eq!(cached_length(&file, 0, 300_000), 300_000);
    assert_eq!(cached_length(&file, 250_000, 50_000), 50_000);
    assert_eq!(cached_length(&file, 0, 300_001), 2 * READ_AHEAD, "the last page isn't there");
    assert_eq!(cached_length(&file, 300_000, 10), 0);
}
