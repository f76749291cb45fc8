use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::*;

fn file(bytes: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Arc::new(file)
}

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange { start, end }
}

#[test]
fn a_ticket_stands_for_a_stretch_of_its_file() {
    let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let outlet = Outlet::new();
    let file = file(&bytes);
    // Two wait at once, as a head and two pieces in hyper's queue do; each knows its own stretch.
    let mut first = outlet.piece(&file, range(1, 50_001)).unwrap();
    let mut second = outlet.piece(&file, range(60_000, 60_010)).unwrap();
    let slices = [IoSlice::new(b"head"), IoSlice::new(first.chunk()), IoSlice::new(second.chunk())];
    assert_eq!(Outlet::before_ticket(&slices), 1);
    let reader = std::thread::spawn(move || {
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).unwrap();
        received
    });
    for piece in [&mut first, &mut second] {
        while piece.has_remaining() {
            let ticket = Outlet::ticket_of(piece.chunk()).unwrap();
            let sent = outlet.send(ticket, piece.chunk().len(), &ours).unwrap();
            piece.advance(sent);
        }
    }
    outlet.check().unwrap();
    drop(ours);
    assert_eq!(reader.join().unwrap(), [&bytes[1..50_001], &bytes[60_000..60_010]].concat());
}

#[test]
fn what_was_taken_as_written_and_never_sent_ends_the_connection() {
    let outlet = Outlet::new();
    let mut piece = outlet.piece(&file(b"content"), range(0, 7)).unwrap();
    piece.advance(7);
    assert!(outlet.check().is_err());
    let (ours, _theirs) = UnixStream::pair().unwrap();
    assert!(outlet.send(piece.ticket, 7, &ours).is_err(), "nothing more is sent on it");
}

#[test]
fn a_ticket_counts_as_long_as_its_piece() {
    let outlet = Outlet::new();
    let piece = outlet.piece(&file(b"content"), range(0, 7)).unwrap();
    let ticket = Outlet::ticket_of(piece.chunk()).unwrap();
    drop(piece);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    assert!(outlet.send(ticket, 7, &ours).is_err());
    assert_eq!(Outlet::ticket_of(b"content"), None);
    assert_eq!(Outlet::ticket_of(b""), None);
}

#[test]
fn a_file_that_ends_early_is_an_error() {
    let outlet = Outlet::new();
    let piece = outlet.piece(&file(b"short"), range(0, 10)).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    assert_eq!(outlet.send(piece.ticket, 10, &ours).unwrap(), 5);
    let ended = outlet.send(piece.ticket, 5, &ours).unwrap_err();
    assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn pieces_beyond_what_may_wait_are_read_instead() {
    let outlet = Outlet::new();
    let file = file(b"content");
    let mut pieces: Vec<_> = (0..WAITING).map(|_| outlet.piece(&file, range(0, 7)).unwrap()).collect();
    assert!(outlet.piece(&file, range(0, 7)).is_none());
    pieces.pop();
    assert!(outlet.piece(&file, range(0, 7)).is_some());
}

#[test]
fn where_the_kernel_refuses_the_bytes_are_copied() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    assert_eq!(copy(&file(b"content"), 3, 100, &ours).unwrap(), 4);
    let mut received = [0; 4];
    theirs.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"tent");
}
