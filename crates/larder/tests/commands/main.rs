//! Larder's commands as processes: beside a running server, and killed in the middle.

#![expect(clippy::disallowed_methods, reason = "tests disturb what the processes work on")]

#[cfg(test)]
mod support;

#[cfg(test)]
mod backups;
#[cfg(test)]
mod collecting;
#[cfg(test)]
mod images;
#[cfg(test)]
mod saying;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod undoing;
