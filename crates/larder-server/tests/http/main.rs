//! The server as its clients see it: real requests over a socket, answers as they stand on the wire.
//!
//! Each file plays one part of the clients' page (`reference/clients.md`): what docker, containerd,
//! containers/image and the others send and what they need back. `hostile` plays those who mean harm.

#[cfg(test)]
mod access_log;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod base;
#[cfg(test)]
mod basic_auth;
#[cfg(test)]
mod conditions;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod debug;
#[cfg(test)]
mod deletes;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod explained;
#[cfg(test)]
mod guessing;
#[cfg(test)]
mod holders;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod large;
#[cfg(test)]
mod listings;
#[cfg(test)]
mod maintenance;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod mounts;
#[cfg(test)]
mod notifications;
#[cfg(test)]
mod problems;
#[cfg(test)]
mod proxied;
#[cfg(test)]
mod pulls;
#[cfg(test)]
mod pushes;
#[cfg(test)]
mod ranges;
#[cfg(test)]
mod referrers;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod certificates;
#[cfg(test)]
mod slow_clients;
#[cfg(test)]
mod support;
#[cfg(test)]
mod space;
#[cfg(test)]
mod status;
#[cfg(test)]
mod tokens;
mod usage;
