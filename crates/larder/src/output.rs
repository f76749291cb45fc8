//! Standard output, whose reader may leave before all is said: `larder du | head`.

use std::error::Error;
use std::fmt;
use std::io::{self, Stdout, Write};

/// What a command prints goes here, and never through `println!`, which panics when the reader has left.
pub(crate) struct Output<W = Stdout>(W);

/// Nobody reads standard output any more.
#[derive(Debug)]
struct ReaderLeft;

impl fmt::Display for ReaderLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads standard output any more")
    }
}

impl Error for ReaderLeft {}

/// The process's own.
pub(crate) fn standard() -> Output {
    Output(io::stdout())
}

/// Whether that is what ended the command. It is no fault, and there is nobody to be told.
pub(crate) fn reader_left(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<ReaderLeft>()) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The one break of a pipe that is meant is the output's own: that of a connection stays an error.
fn told(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, ReaderLeft),
        _ => error,
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(told)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_told_from_a_connection_that_broke() {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let error = writeln!(Output(writer), "a line").expect_err("nobody reads it");
        let error: Box<dyn Error> = error.into();
        assert!(reader_left(error.as_ref()), "{error}");
        let error: Box<dyn Error> = io::Error::from(io::ErrorKind::BrokenPipe).into();
        assert!(!reader_left(error.as_ref()));
    }
}
